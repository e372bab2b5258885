"""Demonstrations that `instrux demonstrations` prepared, as SeqIO tasks.

    demonstrations_{NAME}

for whatever name a set was given, registered when first asked for. The command renders the task as
it prepares it; to read it with SeqIO alone, INSTRUX_MIRROR names the folder that the command wrote to.
"""

from instrux.data import registration
from instrux.data.demonstration_template import DemonstrationTemplate
from instrux.data.demonstrations import SPLITS
from instrux.data.prompted_task import PromptedTask
from instrux.data.sources import PythonSource

NAME = r"[A-Za-z0-9][A-Za-z0-9_.]*"


def demonstration_task(name: str, *, train_examples: int | None = None) -> PromptedTask:
    """Gives the task of a prepared set as plain data; reads nothing.

    Args:
        name: what the set is called.
        train_examples: size of its training split, for mixing rates.
    """
    return PromptedTask(
        name=f"demonstrations_{name}",
        source=PythonSource(
            f"demonstrations_{name}",
            function="instrux.data.demonstration_files:mirrored_rows",
            split_names=SPLITS,
            arguments={"name": name},
        ),
        template=DemonstrationTemplate(),
        splits={split: split for split in SPLITS},
        metrics=("rougeL",),
        cluster="demonstrations",
        train_examples=train_examples,
        truncate=False,
        strip=False,
    )


def add(name: str, *, train_examples: int | None = None) -> str:
    """Registers a prepared set, and gives its task's name."""
    task = demonstration_task(name, train_examples=train_examples)
    return registration.add_prompted_task(task, score_eval=False)[0]


registration.add_name_family(
    "demonstrations_{NAME}",
    rf"demonstrations_(?P<name>{NAME})",
    lambda match: add(match["name"]),
    kind="tasks",
)
