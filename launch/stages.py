"""The stages of a recipe: what the rooms below compute, called with names in place of objects.

Each is a function of plain keyword arguments, bound by gin or called by a command. A stage whose
output is complete says so and returns. `train`, `evaluate` and `report` are those of their own
modules in this room.
"""

import importlib
import os
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from launch import declarations

if TYPE_CHECKING:
    from instrux.data.audit_settings import AuditSettings
    from instrux.data.packed import PackSettings
    from pipelines.export import ExportSettings

_FUNCTIONS = {
    "render": "launch.stages:render",
    "demonstrations": "launch.demonstrations:demonstrations",
    "vocab": "pipelines.vocab:vocab",
    "cache": "launch.stages:cache",
    "audit": "launch.stages:audit",
    "pack": "launch.stages:pack",
    "train": "launch.train:train",
    "select": "launch.select_checkpoint:select",
    "select_by_score": "launch.select_by_score:select_by_score",
    "evaluate": "launch.evaluate:evaluate",
    "score": "launch.natural_instructions:score",
    "scaling": "launch.natural_instructions:scaling",
    "report": "launch.report:report",
    "score_outputs": "launch.score_outputs:score_outputs",
    "compare": "launch.compare_mixtures:compare",
}
NAMES = tuple(_FUNCTIONS)
# The others read what lies on disk: they need no registry, and so no TensorFlow.
NAMES_USING_THE_REGISTRY = frozenset({"render", "cache", "audit", "pack"})
# These load it where they are given a mixture, by their argument `module_imports`.
NAMES_THAT_MAY_USE_THE_REGISTRY = frozenset({"select", "evaluate"})


def function(name: str) -> Callable[..., Any]:
    """Gives the function of a stage, one of `NAMES`."""
    module, _, attribute = _FUNCTIONS[name].partition(":")
    return getattr(importlib.import_module(module), attribute)


def render(
    *,
    names: Sequence[str],
    data_dir: str,
    splits: Sequence[str] | None = None,
    mirror: Sequence[str] = (),
    vocabulary: str | None = None,
    module_imports: Sequence[str] = (),
    beam_args: Sequence[str] = (),
    num_shards: int | None = None,
    max_bad_share: float = 0.01,
    allow_missing_fields: bool = False,
    skip_failing_sources: bool = False,
) -> Any:
    """Renders the tasks of the names: raw rows to TFRecords of prompts and targets.

    Args:
        names: tasks, mixtures, or globs over task names.
        data_dir: folder that holds `rendered/`, made if absent.
        splits: task splits to render; all that a task declares where None.
        mirror: folders with raw rows that are looked into before any network.
        vocabulary: what counts the tokens of tasks that have a budget (Natural Instructions), as
            `VocabularySpec.parse` reads it; INSTRUX_VOCABULARY or T5's where None.
        module_imports: modules of the user's own tasks.
        beam_args: options for Beam, such as `--runner=DaskRunner`.
        num_shards: files a split; chosen from the number of rows where None.
        max_bad_share: share of rows that may fail before the job does.
        allow_missing_fields: whether a template may name a field that no row has.
        skip_failing_sources: whether datasets that cannot be read are told, listed in
            `rendered/failed_sources.json`, and left out.
    """
    from pipelines.render import render as render_tasks

    if mirror:
        os.environ["INSTRUX_MIRROR"] = os.pathsep.join(mirror)
    if vocabulary is not None:
        os.environ["INSTRUX_VOCABULARY"] = vocabulary
    tasks = _prompted_tasks(names, module_imports)
    return render_tasks(
        tasks=tasks,
        splits=splits,
        data_dir=data_dir,
        beam_args=beam_args,
        num_shards=num_shards,
        max_bad_share=max_bad_share,
        allow_missing_fields=allow_missing_fields,
        skip_failing_sources=skip_failing_sources,
    )


def pack(
    *,
    settings: "PackSettings",
    data_dir: str,
    module_imports: Sequence[str] = (),
    beam_args: Sequence[str] = (),
) -> Any:
    """Packs a mixture: samples rendered tasks by its rates into rows of fixed length.

    Args:
        settings: what to pack, and how; names the folder that is written.
        data_dir: folder that holds `rendered/`, and gets `packed/`.
        module_imports: modules of the user's own mixtures.
        beam_args: options for Beam.
    """
    declarations.load(module_imports)
    from instrux.data import registration
    from pipelines.pack import pack as pack_mixture

    rates = registration.mixture_rates(settings.mixture)
    datasets = _datasets(rates) if settings.leave_out else None
    return pack_mixture(
        settings, data_dir=data_dir, rates=rates, datasets=datasets, beam_args=beam_args
    )


def audit(
    *,
    settings: "AuditSettings",
    data_dir: str,
    held_out: Sequence[str] | None = None,
    out: str | None = None,
    module_imports: Sequence[str] = (),
    beam_args: Sequence[str] = (),
) -> Any:
    """Audits a mixture of rendered tasks: lengths, duplicates, targets, overlap, licences.

    Args:
        settings: what to audit, and how.
        data_dir: folder that holds `rendered/`.
        held_out: mixtures or globs over tasks that the mixture is evaluated on; those declared
            for it where None.
        out: folder to write; one under `audit/` of `data_dir` where None.
        module_imports: modules of the user's own mixtures.
        beam_args: options for Beam.
    """
    declarations.load(module_imports)
    from instrux.data import registration
    from instrux.data.audit_settings import AuditTask
    from mixtures.held_out import evaluations_of
    from pipelines.audit import audit as audit_mixture

    licences = _licences(settings.mixture, data_dir)
    tasks = []
    for name, rate in registration.mixture_rates(settings.mixture).items():
        task = registration.prompted_task(name)
        dataset = task.source.label
        tasks.append(
            AuditTask(
                name=name,
                rendered=task.name,
                rate=rate,
                dataset=dataset,
                licence=licences.get(name),
            )
        )
    evaluated = evaluations_of(settings.mixture) if held_out is None else held_out
    rendered = (registration.prompted_task(name) for name in registration.resolve_names(evaluated))
    return audit_mixture(
        settings,
        data_dir=data_dir,
        tasks=tasks,
        held_out=[task.name for task in rendered] if evaluated else [],
        out=out,
        beam_args=beam_args,
    )


def export(
    *,
    settings: "ExportSettings",
    data_dir: str,
    out: str | None = None,
    module_imports: Sequence[str] = (),
) -> Any:
    """Exports a mixture of rendered tasks as JSON lines or Parquet, with a dataset card.

    Args:
        settings: what to export, and how.
        data_dir: folder that holds `rendered/`.
        out: folder to write; one under `exported/` of `data_dir` where None.
        module_imports: modules of the user's own mixtures.
    """
    declarations.load(module_imports)
    from instrux.data import registration
    from instrux.data.export_card import HeldOutData
    from launch.mixture_facts import mixture_facts
    from pipelines.export import ExportTask
    from pipelines.export import export as export_mixture

    facts = mixture_facts(settings.mixture, data_dir=data_dir)
    licences = {task.task: task.licence for task in facts.tasks}
    tasks = []
    for name, rate in registration.mixture_rates(settings.mixture).items():
        task = registration.prompted_task(name)
        tasks.append(
            ExportTask(
                name=name,
                rendered=task.name,
                rate=rate,
                dataset=task.source.label,
                licence=licences.get(name),
            )
        )
    held_out = [
        HeldOutData(dataset=each.dataset, cluster=each.cluster, prompts=each.prompts)
        for each in facts.held_out
        if not each.trained_on
    ]
    return export_mixture(settings, data_dir=data_dir, tasks=tasks, held_out=held_out, out=out)


def cache(
    *,
    names: Sequence[str],
    data_dir: str,
    splits: Sequence[str] | None = None,
    leave_out_missing: bool = False,
    module_imports: Sequence[str] = (),
    beam_args: Sequence[str] = (),
) -> Any:
    """Writes the SeqIO cache of rendered tasks, for plain SeqIO and upstream T5X.

    Args:
        names: tasks, mixtures, or globs over task names.
        data_dir: folder that holds `rendered/`, and gets `cache/`.
        splits: task splits; all that a task declares where None.
        leave_out_missing: whether tasks that are not rendered are left out, told by name.
        module_imports: modules of the user's own tasks.
        beam_args: options for Beam.
    """
    declarations.load(module_imports)
    from pipelines.cache import cache as cache_tasks

    return cache_tasks(
        tasks=names,
        data_dir=data_dir,
        splits=splits,
        leave_out_missing=leave_out_missing,
        beam_args=beam_args,
        module_imports=module_imports,
    )


def _licences(mixture: str, data_dir: str) -> dict[str, str | None]:
    """The licence tag of every task's dataset, None where none is known."""
    from launch.mixture_facts import mixture_facts

    return {task.task: task.licence for task in mixture_facts(mixture, data_dir=data_dir).tasks}


def _datasets(names: Iterable[str]) -> dict[str, str]:
    """The dataset of every task, as `super_glue/rte` or `imdb`."""
    from instrux.data import registration

    return {name: registration.prompted_task(name).source.label for name in names}


def _prompted_tasks(names: Sequence[str], module_imports: Sequence[str]) -> list[Any]:
    declarations.load(module_imports)
    from instrux.data import registration

    tasks = {}
    for name in registration.resolve_names(names):
        task = registration.prompted_task(name)
        tasks[task.name] = task
    return list(tasks.values())
