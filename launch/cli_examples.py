"""Examples that the commands' own --help ends with; a test parses every one of them."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Examples:
    """What the end of a command's help shows.

    Attributes:
        page: the page of docs/ that tells more, without its suffix.
        lines: commands, each with what it does.
    """

    page: str
    lines: tuple[tuple[str, str], ...]

    def epilog(self) -> str:
        """Words them as the help shows them."""
        shown = "\n\n".join(f"  {what}:\n    {line}" for line, what in self.lines)
        return f"examples:\n{shown}\n\nmore: docs/{self.page}.md"


EXAMPLES: Mapping[str, Examples] = {
    "run": Examples(
        "reproducing",
        (
            ("instrux run quickstart.gin --gin.TRAIN_STEPS=4000", "the bundled recipe, for longer"),
            ("instrux run t0/t0_tiny.gin --gin.OUT=\"'/runs/t0'\"", "a shipped recipe, elsewhere"),
        ),
    ),
    "quickstart": Examples(
        "tutorial", (("instrux quickstart --out first", "everything, into the folder first/"),)
    ),
    "render": Examples(
        "rendering",
        (
            (
                "instrux render --task 'super_glue_rte_*' --data_dir data",
                "every prompt of a dataset, read once",
            ),
            (
                "instrux render --mixture t0_train --data_dir data --direct_num_workers=8",
                "a whole mixture, on eight processes (options of Beam pass through)",
            ),
        ),
    ),
    "cache": Examples(
        "caching",
        (
            (
                "instrux cache --mixture t0_train --data_dir data",
                "for plain SeqIO and T5X, once it is rendered",
            ),
        ),
    ),
    "pack": Examples(
        "packing",
        (
            (
                "instrux pack --mixture t0_train --data_dir data --vocabulary t5_32000.model "
                "--num_examples 1000000",
                "a million examples, sampled by the mixture's rates",
            ),
        ),
    ),
    "export": Examples(
        "exporting",
        (
            (
                "instrux export --mixture t0_train --data_dir data --format parquet",
                "every rendered example, with a dataset card",
            ),
        ),
    ),
    "vocab": Examples(
        "lexicon",
        (
            (
                "instrux vocab --task '*' --data_dir data --size 8000",
                "8,000 pieces, from all that is rendered",
            ),
        ),
    ),
    "check": Examples(
        "tk_instruct",
        (("instrux check natural-instructions", "every task file of a checkout"),),
    ),
    "audit": Examples(
        "audit",
        (
            (
                "instrux audit --mixture t0_train --data_dir data --vocabulary t5_32000.model",
                "before anything is trained on it",
            ),
        ),
    ),
    "demonstrations": Examples(
        "demonstrations",
        (
            (
                "instrux demonstrations --name mine --data_dir data --input dolly=dolly.jsonl",
                "the mixture sft_mine, of one public file",
            ),
        ),
    ),
    "train": Examples(
        "training",
        (
            (
                "instrux train --gin_file runs/t0.gin --gin_file models/t5_1_1_xl.gin "
                "--gin.MODEL_DIR=\"'/runs/t0'\"",
                "a shipped run and model; what is still open is told, with its name",
            ),
        ),
    ),
    "select": Examples(
        "evaluation",
        (
            (
                "instrux select --gin_file select.gin --gin.MODEL_DIR=\"'/runs/t0'\"",
                "the best checkpoint on what the run was trained on",
            ),
        ),
    ),
    "select_by_score": Examples(
        "instructgpt",
        (
            (
                "instrux select_by_score --gin_file choose.gin --gin.MODEL_DIR=\"'/runs/sft'\"",
                "the checkpoint whose answers a scorer likes best",
            ),
        ),
    ),
    "evaluate": Examples(
        "evaluation",
        (
            (
                "instrux evaluate --hf flan-t5-small --data_dir data --task 'super_glue_rte_*'",
                "a Hugging Face folder, by the rules of the papers",
            ),
            (
                "instrux evaluate --gin_file evaluate.gin --gin.MODEL_DIR=\"'/runs/t0'\"",
                "a run",
            ),
            ("instrux evaluate --labels study.db --baseline sft", "what people said"),
        ),
    ),
    "predict": Examples(
        "evaluation",
        (("instrux predict --gin_file predict.gin", "JSON lines in, JSON lines out"),),
    ),
    "convert": Examples(
        "checkpoints",
        (
            (
                "instrux convert --from hf flan-t5-small --to instrux runs/flan-t5-small",
                "a published model, to train on",
            ),
            (
                "instrux convert --from instrux runs/mine --to hf exported --dtype bfloat16",
                "a run, to hand on",
            ),
        ),
    ),
    "score": Examples(
        "tk_instruct",
        (
            (
                "instrux score --baseline copy_demo --place natural-instructions",
                "what copying an example earns",
            ),
            ("instrux score --evaluation runs/tk/eval", "an evaluation of ours"),
        ),
    ),
    "show": Examples("lineage", (("instrux show quickstart", "what a report was made from"),)),
    "verify": Examples(
        "lineage", (("instrux verify data --chain", "all that a data folder holds"),)
    ),
    "tasks": Examples(
        "t0",
        (
            ("instrux tasks list 'super_glue_*'", "names"),
            ("instrux tasks show super_glue_rte_does_it_follow_that", "one prompt of a dataset"),
            ("instrux tasks preview lexicon_plural_short", "rows as the model sees them"),
        ),
    ),
    "mixtures": Examples(
        "t0", (("instrux mixtures show t0_train --json", "rates, licences, what is held out"),)
    ),
    "fetch": Examples(
        "sources",
        (
            ("instrux fetch promptsource", "the templates of P3"),
            ("instrux fetch vocab --source spiece.model", "T5's vocabulary, from a local copy"),
        ),
    ),
    "studio": Examples(
        "studio",
        (
            (
                "instrux studio --runs quickstart --data_dir quickstart/data",
                "everything of a quickstart, until Ctrl-C",
            ),
            ("instrux studio label create --db study.db", "a study for labellers"),
            ("instrux studio label --db study.db", "its pages alone"),
        ),
    ),
    "doctor": Examples(
        "first_minutes",
        (
            ("instrux doctor", "what there is, what is missing for what, how to get it"),
            (
                "instrux doctor --need promptsource --need accelerator",
                "exit status 2 unless both are there, before a long job",
            ),
        ),
    ),
    "completion": Examples(
        "first_minutes",
        (
            (
                "instrux completion bash > ~/.local/share/bash-completion/completions/instrux",
                "for bash, from the next shell on",
            ),
            ("instrux completion names", "so that names of tasks complete too"),
        ),
    ),
}
