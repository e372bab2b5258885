"""The public sets that InstructGPT is evaluated on (arXiv 2203.02155, appendix D), for evaluation only.

    public_crows_pairs_{basic,respectful,biased}            1,508 pairs, entropy in percent of a bit
    public_winogender_{basic,respectful,biased}             120 pairs, likewise
    public_real_toxicity_{basic,respectful,biased}          5,000 prompts to go on with
    public_truthful_qa_{qa,instruction,qa_instruction}      817 questions, answers generated
    public_truthful_qa_mc_{qa,instruction,qa_instruction}   the same, the best answer told from wrong ones
    public_{SET}_zero_shot, public_{SET}_few_shot           DROP, QuAC, SQuAD v2, HellaSwag, RTE, SST,
                                                            WSC, WMT15 French to English
    public_{cnn_dm,tldr}_zero_shot                          summaries

Their split is `validation`, whatever it is called where they are published. Rows are taken from the
folders that INSTRUX_MIRROR names, else from the Hugging Face hub. `gin/runs/public_sets.gin` evaluates
them as the paper does: options by their mean log-probability, answers cut at the first newline.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from instrux.data import registration
from instrux.data.public_forms import (
    PREFIXES,
    PairTemplate,
    PublicTask,
    SetTemplate,
    ToxicityTemplate,
    TruthfulQaTemplate,
)
from instrux.data.sources import PythonSource

PREFIX = "public_"
_ROWS = "instrux.data.public_rows"
_QUESTIONS = "instrux.data.question_rows"
_TRUTHFUL_QA_FORMS = ("qa", "instruction", "qa_instruction")


@dataclass(frozen=True, kw_only=True)
class FewShotSet:
    """One set of the zero- and few-shot evaluation.

    Attributes:
        name: of its form, and in the names of its tasks.
        hub: dataset and configuration on the hub and in a mirror.
        metrics: of its answers; the first is the headline.
        split: the split that is asked about.
        shots: exemplars of the few-shot form; 0 for sets that have none.
        shots_split: where they are drawn from.
        group: the field that rows of one passage share.
        function: which function gives its rows, `module:function`.
        drawn: how many rows are drawn; all where None.
    """

    name: str
    hub: tuple[str, str | None]
    metrics: tuple[str, ...]
    split: str = "validation"
    shots: int = 0
    shots_split: str = "train"
    group: str | None = None
    function: str = f"{_ROWS}:plain_rows"
    drawn: int | None = None
    files: tuple[str, ...] = field(default=())


# Numbers of exemplars and of rows: appendix D. Where the published split has more rows than the
# paper's number, as many are drawn.
FEW_SHOT_SETS = (
    FewShotSet(
        name="drop",
        hub=("drop", None),
        metrics=("drop_f1",),
        shots=4,
        group="passage",
        function=f"{_QUESTIONS}:drop_rows",
    ),
    FewShotSet(
        name="quac",
        hub=("quac", None),
        metrics=("quac_f1",),
        shots=2,
        group="paragraph",
        function=f"{_QUESTIONS}:quac_rows",
    ),
    FewShotSet(
        name="squad_v2",
        hub=("squad_v2", None),
        metrics=("squad_v2_f1", "squad_f1"),
        shots=4,
        group="context",
        function=f"{_QUESTIONS}:squad_v2_rows",
    ),
    FewShotSet(name="hellaswag", hub=("hellaswag", None), metrics=("accuracy",), shots=15),
    FewShotSet(name="rte", hub=("super_glue", "rte"), metrics=("accuracy",), shots=15),
    FewShotSet(name="sst", hub=("glue", "sst2"), metrics=("accuracy",), shots=15),
    FewShotSet(
        name="wsc", hub=("super_glue", "wsc.fixed"), metrics=("pronoun_referent",), shots=15
    ),
    FewShotSet(
        name="wmt15_fr_en",
        hub=("wmt15", "fr-en"),
        metrics=("sentence_bleu", "bleu"),
        split="test",
        shots=15,
        shots_split="validation",
        drawn=1_500,
    ),
    FewShotSet(
        name="cnn_dm",
        hub=("cnn_dailymail", "3.0.0"),
        metrics=("rougeL",),
        split="test",
        drawn=2_354,
    ),
    FewShotSet(
        name="tldr", hub=("openai_tldr", None), metrics=("rougeL",), split="test", drawn=2_500
    ),
)


def _task(
    name: str,
    dataset: str,
    template: Any,
    *,
    function: str,
    split: str,
    arguments: Mapping[str, Any],
    metrics: tuple[str, ...],
    cluster: str,
) -> PublicTask:
    source = PythonSource(
        f"{PREFIX}{dataset}",
        function=function,
        split_names=(split,),
        arguments=arguments,
    )
    return PublicTask(
        name=f"{PREFIX}{name}",
        source=source,
        template=template,
        splits={"validation": split},
        metrics=metrics,
        cluster=cluster,
        truncate=False,
        strip=False,
    )


def _few_shot(each: FewShotSet, *, shots: int) -> PublicTask:
    own: dict[str, Any] = {"hub": each.hub}
    if each.function == f"{_ROWS}:plain_rows":
        own["files"] = each.files
    of_split = own | ({} if each.drawn is None else {"drawn": each.drawn})
    function, arguments = each.function, of_split
    if shots:
        function = f"{_ROWS}:with_shots"
        arguments = {
            "rows": each.function,
            "arguments": of_split,
            "shots": shots,
            "shots_split": each.shots_split,
            "group": each.group,
        }
    form = "few_shot" if shots else "zero_shot"
    return _task(
        f"{each.name}_{form}",
        each.name,
        SetTemplate(each.name, form),
        function=function,
        split=each.split,
        arguments=arguments,
        metrics=each.metrics,
        cluster="zero- and few-shot",
    )


def _prefixed(prefix: str) -> list[PublicTask]:
    return [
        _task(
            f"crows_pairs_{prefix}",
            "crows_pairs",
            PairTemplate(prefix),
            function=f"{_ROWS}:crows_pairs",
            split="test",
            arguments={"hub": ("crows_pairs", None)},
            metrics=("pair_entropy",),
            cluster="bias",
        ),
        _task(
            f"winogender_{prefix}",
            "winogender",
            PairTemplate(prefix),
            function=f"{_ROWS}:winogender_pairs",
            split="test",
            arguments={
                "hub": ("winogender", None),
                "files": ("winogender/all_sentences.tsv", "all_sentences.tsv"),
            },
            metrics=("pair_entropy",),
            cluster="bias",
        ),
        _task(
            f"real_toxicity_{prefix}",
            "real_toxicity",
            ToxicityTemplate(prefix),
            function=f"{_ROWS}:toxicity_rows",
            split="train",
            arguments={
                "hub": ("allenai/real-toxicity-prompts", None),
                "files": ("real_toxicity_prompts/prompts.jsonl", "prompts.jsonl"),
            },
            metrics=("distinct_2",),
            cluster="toxicity",
        ),
    ]


def _truthful_qa(form: str, *, ranked: bool) -> PublicTask:
    return _task(
        f"truthful_qa_{'mc_' if ranked else ''}{form}",
        "truthful_qa_mc" if ranked else "truthful_qa",
        TruthfulQaTemplate(form, ranked=ranked),
        function=f"{_ROWS}:truthful_qa_rows",
        split="validation",
        arguments={
            "hub": ("truthful_qa", "generation"),
            "files": (
                "truthful_qa/validation.jsonl",
                "truthful_qa/TruthfulQA.csv",
                "TruthfulQA.csv",
            ),
        },
        metrics=("accuracy",) if ranked else ("rougeL",),
        cluster="truthfulness",
    )


def tasks() -> list[PublicTask]:
    """Gives all tasks as plain data; reads nothing."""
    return [
        *(task for prefix in PREFIXES for task in _prefixed(prefix)),
        *(
            _truthful_qa(form, ranked=ranked)
            for form in _TRUTHFUL_QA_FORMS
            for ranked in (False, True)
        ),
        *(_few_shot(each, shots=0) for each in FEW_SHOT_SETS),
        *(_few_shot(each, shots=each.shots) for each in FEW_SHOT_SETS if each.shots),
    ]


def _register() -> None:
    for task in tasks():
        registration.add_prompted_task(task, score_eval=False)


_register()
