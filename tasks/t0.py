"""T0's tasks: 592 prompted tasks and their 383 twins for rank classification.

Names, splits, metrics and post-processing follow T0's public registration (arXiv 2110.08207). A
task is one data(sub)set through one template of PromptSource 0.2.3; ANLI has one task for each
template and round. Importing this module registers them, and reads nothing but two small tables:
templates are references, and rows come from a mirror or the Hugging Face Hub when they are read.
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass

from instrux.data import registration, seqio_metrics
from instrux.data.prompted_task import PromptedTask
from instrux.data.task_names import SCORE_EVAL_SUFFIX, task_name
from instrux.prompts import TemplateReference
from tasks import t0_hub
from tasks.t0_table import RELEASE, T0Dataset, T0Template, datasets
from tasks.text_metrics import TextMetrics

ANLI_ROUNDS = ("r1", "r2", "r3")

# T0 scores tasks of GLUE and SuperGLUE as these benchmarks do, whatever their templates say; WSC
# and MultiRC by plain accuracy (T0's registration). Of MRPC's templates, two ask for a paraphrase and
# have no choices: these are scored by their own metrics, as GLUE's have no meaning there.
_BENCHMARK_METRICS: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("glue", "mrpc"): ("accuracy", "f1_macro"),
    ("glue", "qqp"): ("accuracy", "f1_macro"),
    ("super_glue", "axg"): ("accuracy",),
    ("super_glue", "boolq"): ("accuracy",),
    ("super_glue", "cb"): ("accuracy", "f1_macro"),
    ("super_glue", "copa"): ("accuracy",),
    ("super_glue", "multirc"): ("accuracy",),
    ("super_glue", "record"): ("squad_f1", "squad_exact_match"),
    ("super_glue", "rte"): ("accuracy",),
    ("super_glue", "wic"): ("accuracy",),
    ("super_glue", "wsc.fixed"): ("accuracy",),
    # Its templates say "Other". T0's model card: right if the target noun is in the answer.
    ("wino_bias", "type1_anti"): ("contains_target_noun", "accuracy"),
    ("wino_bias", "type1_pro"): ("contains_target_noun", "accuracy"),
    ("wino_bias", "type2_anti"): ("contains_target_noun", "accuracy"),
    ("wino_bias", "type2_pro"): ("contains_target_noun", "accuracy"),
}


@dataclass(frozen=True)
class T0Task:
    """A task and where it stands in T0's table.

    Attributes:
        name: its name in SeqIO.
        dataset: the row of the table of datasets.
        template: the row of the table of templates.
        round: ANLI's round, else None.
    """

    name: str
    dataset: T0Dataset
    template: T0Template
    round: str | None = None

    @property
    def score_eval_name(self) -> str | None:
        """Name of its twin for rank classification, None if its template has no choices."""
        return self.name + SCORE_EVAL_SUFFIX if self.template.has_answer_choices else None

    def prompted_task(self) -> PromptedTask:
        """Gives the task as plain data."""
        dataset, template = self.dataset, self.template
        return PromptedTask(
            name=self.name,
            source=t0_hub.source(dataset.dataset, dataset.subset),
            template=TemplateReference(RELEASE, dataset.dataset, dataset.subset, template.name),
            splits=self._splits(),
            metrics=self._metrics(),
            cluster=dataset.task_type,
            train_examples=dataset.train_examples,
            original_task=template.original_task,
        )

    def metric_fns(self) -> tuple[registration.MetricFn, ...]:
        """Gives the functions by which SeqIO scores it."""
        text_metrics = TextMetrics(self._metrics())
        if self.dataset.dataset == "glue" and self.template.has_answer_choices:
            return text_metrics, seqio_metrics.positive_class_f1
        return (text_metrics,)

    def _metrics(self) -> tuple[str, ...]:
        dataset = self.dataset
        if dataset.dataset == "glue" and not self.template.has_answer_choices:
            return self.template.metrics
        key = dataset.dataset, dataset.subset or ""
        return _BENCHMARK_METRICS.get(key, self.template.metrics)

    def _splits(self) -> Mapping[str, str]:
        if self.round is None:
            return {split: split for split in self.dataset.splits}
        return {
            "train": f"train_{self.round}",
            "validation": f"dev_{self.round}",
            "test": f"test_{self.round}",
        }


@functools.cache
def tasks() -> tuple[T0Task, ...]:
    """Gives all 592 tasks, sorted by dataset, subset and template."""
    return tuple(
        T0Task(_name(dataset, template, anli_round), dataset, template, anli_round)
        for dataset in datasets()
        for template in dataset.templates
        for anli_round in (ANLI_ROUNDS if dataset.dataset == "anli" else (None,))
    )


def _name(dataset: T0Dataset, template: T0Template, anli_round: str | None) -> str:
    name = task_name(dataset.dataset, dataset.subset, template.name)
    return name if anli_round is None else f"{name}_{anli_round}"


def _register() -> None:
    for task in tasks():
        prompted = task.prompted_task()
        registration.add_prompted_task(
            prompted,
            score_eval=task.template.has_answer_choices,
            metric_fns=task.metric_fns(),
        )


_register()
