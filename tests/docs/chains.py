"""Which commands of the pages are run, in which order, and what is changed in them.

A step names a command by its page and how its line begins. Its words stay those of the page; what
stands in `FOLDERS` is replaced in all of them, and `behind` is put behind them.
"""

from dataclasses import dataclass

from tests.docs.pages import ShownCommand

# A folder of the page, and the one of the working folder that stands for it.
FOLDERS = {
    "/data": "data",
    "/data/p3": "mirror",
    "~/.cache/instrux/vocab/t5_32000.model": "t5_32000.model",
    "~/natural-instructions": "natural-instructions",
}


@dataclass(frozen=True)
class Step:
    """A command of a page.

    Attributes:
        page: its page.
        begins: how its line begins.
        behind: words put behind those of the page.
        shows: a text that must be on one of its screens.
    """

    page: str
    begins: str
    behind: tuple[str, ...] = ()
    shows: str = ""

    def is_of(self, command: ShownCommand) -> bool:
        """Is this the step of a command?"""
        return command.page == self.page and command.line.startswith(self.begins)

    def words(self, command: ShownCommand) -> list[str]:
        """The words to run."""
        return [*(FOLDERS.get(word, word) for word in command.words), *self.behind]

    @staticmethod
    def environment(command: ShownCommand) -> dict[str, str]:
        """The variables to set."""
        return {name: FOLDERS.get(value, value) for name, value in command.environment.items()}


_MIRROR = ("--skip_failing_sources",)
_FEW = ("--leave_out_missing", "--num_examples", "20")

CHAINS: dict[str, tuple[Step, ...]] = {
    "looking": (
        Step("docs/first_minutes.md", ".venv/bin/instrux doctor", ("--offline",), "cache_folder"),
        Step("docs/tutorial.md", ".venv/bin/instrux doctor", ("--offline",), "cache_folder"),
        Step("docs/first_minutes.md", "instrux completion bash", shows="instrux"),
        Step("docs/first_minutes.md", "instrux completion zsh", shows="instrux"),
        Step("docs/first_minutes.md", "instrux completion fish", shows="instrux"),
        Step("docs/first_minutes.md", "instrux completion names"),
        Step("docs/tutorial.md", ".venv/bin/instrux mixtures show", shows="lexicon"),
        Step("docs/tutorial.md", ".venv/bin/instrux mixtures preview", ("--split", "test")),
        Step("docs/flan.md", "instrux mixtures show flan_inter", shows="rte"),
        Step("docs/flan.md", "instrux tasks show rte_type_3", shows="rte"),
        Step("docs/flan.md", "instrux mixtures show flan_sample", shows="sample_"),
    ),
    "data": (
        Step("docs/caching.md", "instrux render", _MIRROR),
        Step("docs/packing.md", "instrux pack", _FEW, "pack "),
        Step("docs/exporting.md", "instrux export --mixture t0_train --data_dir data --format parquet", _FEW[:1], "exported"),
        Step("docs/exporting.md", "instrux export --mixture t0_train --data_dir data --format jsonl", _FEW, "t0_sample"),
        Step("docs/audit.md", "instrux audit", _FEW[:1], "duplicates"),
        Step("docs/t0.md", "instrux mixtures show t0_train --data_dir", ("--vocabulary", "t5_32000.model"), "tokens"),
        Step("docs/t0.md", "instrux mixtures show t0_train", shows="bias_and_fairness"),
        Step("docs/t0.md", "instrux tasks show", shows="sciq"),
        Step("docs/t0.md", "instrux tasks preview", shows="sciq"),
        Step("docs/rendering.md", "instrux render --task 'super_glue_rte_*' --data_dir data --direct", shows="render:"),
        Step("docs/rendering.md", "instrux render", shows="render:"),
        Step("docs/evaluating_any_model.md", "instrux render --mixture", _MIRROR),
        Step("docs/evaluating_any_model.md", "instrux render --task", shows="render"),
        Step("docs/evaluating_any_model.md", "instrux export --mixture t0_eval", _FEW[:1], "t0_questions"),
        Step("docs/flan.md", "INSTRUX_MIRROR=/data/p3", shows="sample_rte"),
        Step("docs/launching/dataflow.md", ".venv/bin/instrux tasks preview", shows="rte"),
        Step("docs/launching/dataflow.md", ".venv/bin/instrux verify", shows="rendered"),
        Step("docs/launching/dataflow.md", ".venv/bin/instrux pack", _FEW, "pack "),
        Step("docs/launching/gpu_box.md", ".venv/bin/instrux render", _MIRROR),
        Step("docs/launching/gpu_box.md", ".venv/bin/instrux pack", _FEW, "pack "),
        Step("docs/launching/gpu_box.md", ".venv/bin/instrux fetch vocab", ("--source", "t5_32000.model")),
    ),
    "labelling": (
        Step("docs/labelling.md", "instrux studio label create   --db study.db"),
        Step("docs/labelling.md", "instrux studio label import   --db study.db --outputs", shows="sft"),
        Step("docs/labelling.md", "instrux studio label labeller"),
        Step("docs/labelling.md", "instrux studio label status", shows="anna"),
        Step("docs/labelling.md", "instrux studio label create --db try.db"),
        Step("docs/labelling.md", "instrux studio label import --db try.db", shows="davinci"),
        Step("docs/labelling.md", "instrux studio label export --db study.db --out"),
        Step("docs/labelling.md", "instrux studio label export --db study.db --format argilla"),
        Step("docs/labelling.md", "instrux studio label export --db study.db --format label-studio"),
    ),
    "demonstrations": (
        Step("docs/demonstrations.md", "instrux fetch gpt2", ("--source", "merges.txt"), "gpt2"),
        Step("docs/demonstrations.md", "instrux demonstrations --name mine", shows="demonstrations"),
        Step("docs/demonstrations.md", "instrux mixtures show sft_mine", shows="demonstrations_mine"),
        Step("docs/demonstrations.md", "instrux pack", _FEW, "pack "),
    ),
    "natural instructions": (
        Step("docs/tk_instruct.md", "instrux check"),
        Step("docs/tk_instruct.md", "instrux score --baseline", shows="ROUGE-L"),
    ),
    # Their own parsers take the arguments; nothing is raced.
    "benchmarks": (
        Step("docs/performance.md", "python benchmarks/"),
        Step("docs/performance_data.md", "python benchmarks/"),
    ),
}  # fmt: skip


def steps_of(chain: str, commands: list[ShownCommand]) -> list[tuple[Step, ShownCommand]]:
    """Gives the steps of a chain with their commands, each command once, by the first step that names it."""
    found: dict[ShownCommand, Step] = {}
    for step in CHAINS[chain]:
        for command in commands:
            if step.is_of(command):
                found.setdefault(command, step)
    return [(step, command) for command, step in found.items()]
