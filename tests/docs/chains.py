"""Which commands of the pages are run, in which order, and what is changed in them.

A step names a command by its page and how its line begins. Its words stay those of the page; what
stands in `FOLDERS` is replaced in all of them, `/data` and `/runs` lie in the working folder, and
`behind` is put behind them.
"""

import re
from dataclasses import dataclass

from tests.docs.pages import ShownCommand

# A folder of the page, and the one of the working folder that stands for it.
FOLDERS = {
    "/data/p3": "mirror",
    "~/.cache/instrux/vocab/t5_32000.model": "t5_32000.model",
    "~/natural-instructions": "natural-instructions",
    "~/FLAN": "FLAN",
    "D": "data",
}
# Bare, or quoted as gin has it.
_FROM_ROOT = re.compile(r"(?<![^'])/(?=(data|runs)\b)")


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
        return [*map(_here, command.words), *self.behind]

    @staticmethod
    def environment(command: ShownCommand) -> dict[str, str]:
        """The variables to set."""
        return {name: _here(value) for name, value in command.environment.items()}


def _here(word: str) -> str:
    return FOLDERS.get(word) or _FROM_ROOT.sub("", word)


_MIRROR = ("--skip_failing_sources",)
_FEW = ("--leave_out_missing", "--num_examples", "20")
_TINY = (
    *("--gin.NUM_EXAMPLES=20", "--gin.training_data.pack_settings.leave_out_missing=True"),
    *("--gin.TRAIN_STEPS=3", "--gin.BATCH_SIZE=2"),
    *(f"--gin.t5.T5Config.{size}=8" for size in ("emb_dim", "head_dim", "mlp_dim")),
    *(
        f"--gin.t5.T5Config.{size}=1"
        for size in ("num_heads", "num_encoder_layers", "num_decoder_layers")
    ),
)
_ASKED = (
    *("--gin.evaluate.evaluate.max_examples=2", "--gin.evaluate.evaluate.inputs_length=64"),
    "--gin.evaluate.evaluate.allow_missing=True",
)
_SELECTED = (
    "--gin.select_checkpoint.select.max_examples=2",
    "--gin.select_checkpoint.select.inputs_length=64",
)
_ASKED_OF_HF = ("--max_examples", "2", "--inputs_length", "64")

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
    "fetching": (
        Step("docs/reproducing.md", "instrux fetch vocab", ("--source", "t5_32000.model"), "vocab"),
        Step("docs/instructgpt.md", "instrux fetch gpt2", ("--source", "merges.txt"), "gpt2"),
        Step("docs/tk_instruct.md", "instrux fetch natural-instructions", ("--source", "ni.tar.gz"), "natural-instructions"),
        Step("docs/flan.md", "instrux fetch flan-templates --source", shows="flan-templates"),
        Step("docs/flan.md", "instrux fetch flan-templates", ("--source", "FLAN"), "flan-templates"),
    ),
    "data": (
        Step("docs/evaluating_any_model.md", "instrux fetch promptsource", shows="promptsource"),
        Step("docs/reproducing.md", "instrux fetch promptsource", shows="promptsource"),
        Step("docs/launching/gpu_box.md", ".venv/bin/instrux fetch promptsource", shows="promptsource"),
        Step("docs/caching.md", "instrux render", _MIRROR),
        Step("docs/caching.md", "instrux cache", _FEW[:1], "LEFT OUT"),
        Step("docs/t5x_users.md", "instrux render", _MIRROR),
        Step("docs/t5x_users.md", "instrux cache", _FEW[:1], "LEFT OUT"),
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
        # A run, which stands for `runs/t0` too.
        Step("docs/training.md", "instrux train", _TINY, "step 3"),
        Step("docs/evaluation.md", "instrux evaluate --gin_file", _ASKED, "results.json"),
        Step("docs/evaluation.md", "instrux select", _SELECTED, "selected"),
        Step("docs/evaluation.md", "instrux predict", shows="1 inputs"),
        Step("docs/launching/gpu_box.md", ".venv/bin/instrux evaluate", _ASKED, "results.json"),
        Step("docs/launching/gpu_box.md", ".venv/bin/instrux convert", shows="one-hf"),
        # Models of others.
        Step("docs/checkpoints.md", "instrux convert --from hf", shows="runs/"),
        Step("docs/checkpoints.md", "instrux convert --from t5x", shows="runs/t5-lm"),
        Step("docs/checkpoints.md", "instrux convert --from instrux runs/mine", shows="exported"),
        Step("docs/checkpoints.md", "instrux convert --from instrux runs/lora", shows="adapter"),
        Step("docs/checkpoints.md", "instrux convert --from peft", shows="runs/lora-again"),
        Step("docs/checkpoints.md", "instrux evaluate", _ASKED_OF_HF, "evaluated"),
        Step("docs/evaluation.md", "instrux evaluate --hf", _ASKED_OF_HF, "results.json"),
        Step("docs/evaluating_any_model.md", "instrux evaluate --hf flan", _ASKED_OF_HF, "flan_t5"),
        Step("docs/evaluating_any_model.md", "instrux evaluate --hf t0-3b", _ASKED_OF_HF, "t0/eval"),
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
    "public sets": (
        Step("docs/public_sets.md", "instrux render", shows="render:"),
        Step("docs/public_sets.md", "instrux evaluate", ("--gin.MAX_EXAMPLES=2", "--gin.MAX_DECODE_LENGTH=2"), "12 examples"),
        # Toxicity is asked of Google.
        Step("docs/public_sets.md", "instrux run", ("--gin.recipe.Recipe.stages=('truth/score_outputs',)",), "All stages done"),
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
        Step("docs/tk_instruct.md", "instrux render", (*_MIRROR, "--split", "test"), "render:"),
        Step("docs/evaluating_any_model.md", "instrux export --mixture tk_instruct_test", _FEW[:1], "LEFT OUT"),
        Step("docs/evaluating_any_model.md", "instrux score", shows="100.00"),
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
