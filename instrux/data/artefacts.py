"""Whatever we write, read back as one thing: what it is, what made it, from what, and its files.

`artefact_search` finds it, `artefact_checks` holds it against what lies there.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from instrux.data.lineage_files import FILE_NAME as LINEAGE_NAME
from instrux.data.lineage_files import SCHEMA as LINEAGE_SCHEMA
from instrux.data.lineage_files import Source
from instrux.data.seal import digest_of, seal_holds
from instrux.errors import InputError

_MANIFEST = "manifest.json"
_COMPLETED = "COMPLETED"
_STAGES = {
    "render": "rendered",
    "cache": "cache",
    "vocab": "vocabulary",
    "export": "export",
    "audit": "audit",
}
CONVERTED = ("hf", "t5x", "peft")
"""Kinds of checkpoints that `instrux convert` writes for others to read."""


@dataclass(frozen=True)
class ListedFile:
    """A file that belongs to an artefact.

    Attributes:
        name: relative to the artefact's folder.
        bytes: its size.
        sha256: its digest.
        records: records it holds, None where that was not counted.
    """

    name: str
    bytes: int
    sha256: str
    records: int | None


@dataclass(frozen=True, kw_only=True)
class Artefact:
    """One thing that we wrote.

    Attributes:
        kind: `rendered`, `cache`, `vocabulary`, `packed`, `export`, `audit`, `run`, `evaluation`,
            `report`, a checkpoint's format (`hf`, `t5x`, `peft`), `selection`, `predictions`, `scores`,
            `labels` or `fetched`; of another stage, its name.
        folder: where it lies.
        name: what people call it.
        manifest: the file that describes it.
        fingerprint: what those that were made from it recorded of it.
        sealed: whether the manifest is as it was written; None where it does not tell.
        complete: whether it was finished.
        versions: package -> version that made it.
        arguments: what the command was called with.
        settings: what its bytes depend on.
        counts: what was counted.
        dropped: reason -> number of records left out.
        files: what belongs to it.
        sources: what it was made from.
        companions: globs of other files that may lie in its folder.
        mend: what to do if it is damaged.
    """

    kind: str
    folder: Path
    name: str
    manifest: Path
    fingerprint: str
    sealed: bool | None
    complete: bool
    versions: Mapping[str, str]
    arguments: Mapping[str, Any]
    settings: Mapping[str, Any]
    counts: Mapping[str, Any]
    dropped: Mapping[str, int]
    files: tuple[ListedFile, ...]
    sources: tuple[Source, ...]
    companions: tuple[str, ...] = field(default=())
    mend: str


def read_artefact(manifest: Path) -> Artefact:
    """Reads what a manifest describes.

    Raises:
        InputError: it is absent, cannot be read, or is no manifest of ours.
    """
    content = _json(manifest)
    try:
        return _reader(manifest, content)(manifest, content)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{manifest}: not a manifest of ours, or damaged ({type(error).__name__}: {error}); "
            "delete the folder and run the stage that writes it."
        ) from error


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(
            f"{path}: absent, so {path.parent.name} was never finished; run its stage again."
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(
            f"{path}: cannot be read ({str(error).splitlines()[0]}); delete it and run the stage "
            "that writes it."
        ) from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: not a manifest of ours; it is a {type(content).__name__}.")
    return content


Reader = Callable[[Path, dict[str, Any]], Artefact]


def _reader(manifest: Path, content: Mapping[str, Any]) -> Reader:
    if content.get("schema") == LINEAGE_SCHEMA:
        return _with_lineage
    if manifest.name in ("model.json", "results.json"):
        return _without_lineage
    if "shards" in content and "rows_lower_bound" in content:
        return _packed
    if {"stage", "files", "settings"} <= set(content):
        return _of_stage
    raise InputError(f"{manifest}: not a manifest of ours; Instrux wrote no such folder.")


# --- Stages with a manifest --------------------------------------------------------------------


def _of_stage(manifest: Path, content: dict[str, Any]) -> Artefact:
    folder = manifest.parent
    stage = str(content["stage"])
    kind = _STAGES.get(stage, stage)
    about = _ABOUT.get(kind, _about_other)
    if folder.parent.name == "rendered":  # whichever stage filled it
        kind = "rendered"
    files = [ListedFile(**file) for file in content["files"]]
    if dead := content["metadata"].get("dead_letters_file"):
        files.append(ListedFile(**dead))
    sources, companions, name, mend = about(folder, content, manifest)
    return Artefact(
        kind=kind,
        folder=folder,
        name=name,
        manifest=manifest,
        fingerprint=rendered_fingerprint(content) if kind == "rendered" else digest_of(content),
        sealed=seal_holds(content),
        complete=(folder / _COMPLETED).exists(),
        versions=content["versions"],
        arguments=content["arguments"],
        settings=content["settings"],
        counts=content["counts"],
        dropped=content["dropped"],
        files=tuple(files),
        sources=tuple(sources),
        companions=companions,
        mend=mend,
    )


def rendered_fingerprint(content: Mapping[str, Any]) -> str:
    """Gives what `RenderManifest.fingerprint` does, of a manifest's JSON."""
    digests = "".join(file["sha256"] for file in content["files"])
    return f"sha256:{hashlib.sha256(digests.encode()).hexdigest()}"


About = tuple[Sequence[Source], tuple[str, ...], str, str]


def _about_rendered(folder: Path, content: dict[str, Any], manifest: Path) -> About:
    settings, metadata = content["settings"], content["metadata"]
    split = manifest.name.removeprefix("manifest.").removesuffix(".json")
    dataset = "/".join(filter(None, (metadata["dataset"], metadata["config"])))
    release = metadata.get("template_release")
    template = f"{metadata['template']} ({release})" if release else metadata["template"]
    sources = [
        Source(
            kind="dataset",
            name=f"{dataset}, {settings.get('source_split', split)}",
            fingerprint=settings.get("fingerprint", ""),
        ),
        Source(kind="template", name=template, fingerprint=metadata.get("template_digest") or ""),
    ]
    others = ("manifest.*.json", "failed.*.json", _COMPLETED)
    mend = f"`instrux render --task {folder.name}`"
    return sources, others, f"{folder.name}, {split}", mend


def _about_cache(folder: Path, content: dict[str, Any], manifest: Path) -> About:
    metadata, settings = content["metadata"], content["settings"]
    split = manifest.name.removeprefix("manifest.").removesuffix(".json")
    task = metadata.get("task", folder.name)
    sources = []
    if rendered := metadata.get("rendered"):
        data_dir = _above(folder, "cache")
        sources.append(_rendered_source(data_dir, rendered, split, settings["source"]))
    else:
        sources.append(Source(kind="dataset", name=str(settings["source"])))
    vocabularies = settings["vocabularies"]
    sources += [
        Source(kind="vocabulary", name=feature, fingerprint=str(digest))
        for feature, digest in vocabularies.items()
    ]
    others = ("manifest.*.json", _COMPLETED)
    return sources, others, f"{task}, {split}", f"`instrux cache --task {task}`"


def _about_vocabulary(folder: Path, content: dict[str, Any], manifest: Path) -> About:
    data_dir = _data_dir(folder, "vocab", content)
    split = content["settings"]["split"]
    sources = [
        _rendered_source(data_dir, task, split, fingerprint)
        for task, fingerprint in content["settings"]["sources"].items()
    ]
    return sources, (manifest.name, _COMPLETED), folder.name, "`instrux vocab`"


def _about_export(folder: Path, content: dict[str, Any], manifest: Path) -> About:
    return _about_mixture(folder, content, manifest, "exported", "export")


def _about_audit(folder: Path, content: dict[str, Any], manifest: Path) -> About:
    sources, others, name, mend = _about_mixture(folder, content, manifest, "audit", "audit")
    data_dir = _data_dir(folder, "audit", content)
    settings = content["settings"]
    held_out = [_rendered_source(data_dir, *each) for each in settings["held_out"]]
    vocabulary = Source(
        kind="vocabulary", name="lengths", fingerprint=settings["vocabulary"]["digest"]
    )
    return [*sources, *held_out, vocabulary], others, name, mend


def _about_mixture(
    folder: Path, content: dict[str, Any], manifest: Path, container: str, stage: str
) -> About:
    settings = content["settings"]
    data_dir = _data_dir(folder, container, content)
    # A task is [name, rendered name, …, fingerprint].
    sources = [
        _rendered_source(data_dir, task[1], settings["split"], task[-1])
        for task in settings["tasks"]
    ]
    if settings.get("exclude"):
        sources.append(_excluded_source(settings["exclude"], content["arguments"].get("exclude")))
    mend = f"`instrux {stage} --mixture {settings['mixture']}`"
    return sources, (manifest.name, _COMPLETED), folder.name, mend


def _about_other(folder: Path, content: dict[str, Any], manifest: Path) -> About:
    """A stage that reads files of its user, such as `demonstrations`."""
    inputs = content["settings"].get("inputs", ())
    # What bytes depend on are digests; where the files lay is among the arguments.
    named = content["arguments"].get("inputs") or [given.get("format", "input") for given in inputs]
    sources = [
        Source(kind="dataset", name=str(name), fingerprint=given["path"])
        for name, given in zip(named, inputs, strict=True)
    ]
    split = manifest.name.removeprefix("manifest").removesuffix(".json").removeprefix(".")
    name = f"{folder.name}, {split}" if split else folder.name
    others = ("manifest.*.json", manifest.name, _COMPLETED)
    return sources, others, name, f"the stage {content['stage']}"


_ABOUT: dict[str, Callable[[Path, dict[str, Any], Path], About]] = {
    "rendered": _about_rendered,
    "cache": _about_cache,
    "vocabulary": _about_vocabulary,
    "export": _about_export,
    "audit": _about_audit,
}


def _packed(manifest: Path, content: dict[str, Any]) -> Artefact:
    settings, folder = content["settings"], manifest.parent
    data_dir = _above(folder, "packed")
    sources = [
        _rendered_source(data_dir, task["name"], settings["split"], task["source_digest"])
        for task in content["tasks"]
    ]
    sources.append(
        Source(
            kind="vocabulary",
            name=content["vocabulary_path"] or "bytes",
            fingerprint=settings["vocabulary"]["digest"],
            path=content["vocabulary_path"] or "",
        )
    )
    if settings.get("exclude"):
        sources.append(_excluded_source(settings["exclude"], None))
    excluded = sum(task.get("excluded", 0) for task in content["tasks"])
    tokens = {
        side: sum(task[f"{side}_tokens"] for task in content["tasks"])
        for side in ("inputs", "targets")
    }
    counts = {
        "rows": content["rows"],
        "examples": content["examples"],
        "tasks": len(content["tasks"]),
        "inputs_tokens": tokens["inputs"],
        "targets_tokens": tokens["targets"],
    }
    dropped = {"excluded": excluded, "tasks_left_out": len(content.get("left_out", ()))}
    return Artefact(
        kind="packed",
        folder=folder,
        name=folder.name,
        manifest=manifest,
        fingerprint=digest_of(content),
        sealed=seal_holds(content),
        complete=(folder / _COMPLETED).exists(),
        versions=content.get("versions") or {"instrux": content["instrux_version"]},
        arguments={},
        settings=settings,
        counts=counts,
        dropped={reason: count for reason, count in dropped.items() if count},
        files=tuple(
            ListedFile(shard["name"], shard["size"], shard["sha256"], shard["rows"])
            for shard in content["shards"]
        ),
        sources=tuple(sources),
        companions=(_MANIFEST, _COMPLETED),
        mend=f"`instrux pack --mixture {settings['mixture']}`",
    )


def _rendered_source(data_dir: Path | None, task: str, split: str, fingerprint: str) -> Source:
    path = "" if data_dir is None else str(data_dir / "rendered" / task)
    return Source(kind="rendered", name=task, split=split, fingerprint=fingerprint, path=path)


def _excluded_source(digest: str, paths: Any) -> Source:
    name = ", ".join(paths) if paths else "list of rows that are left out"
    return Source(kind="exclude", name=name, fingerprint=digest)


def _data_dir(folder: Path, container: str, content: Mapping[str, Any]) -> Path | None:
    """The folder that holds `rendered/`: above the artefact's, or as the command was given it."""
    above = _above(folder, container)
    given = content["arguments"].get("data_dir")
    return above if above is not None or given is None else Path(given)


def _above(folder: Path, container: str) -> Path | None:
    # As it was given first: a relative path stays relative.
    parents = [*folder.parents, *folder.absolute().parents]
    return next((parent.parent for parent in parents if parent.name == container), None)


# --- Folders that have a lineage.json ----------------------------------------------------------

_MENDS = {
    "run": "train it again",
    "evaluation": "delete the folder and run `instrux evaluate` again",
    "report": "run the stage that writes the page again",
    "selection": "run `instrux select` again",
    "predictions": "run `instrux predict` again",
    "scores": "score again",
    "labels": "run `instrux studio label export` again",
    "fetched": "delete it and run `instrux fetch` again",
    **dict.fromkeys(CONVERTED, "delete the folder and run `instrux convert` again"),
}
# Of most, whatever else its user keeps in the folder; whoever publishes weights adds a card and the like.
_ANYTHING = ("**/*",)
_COMPANIONS = {
    # Scores of its answers are written into it later.
    "evaluation": (
        f"*{LINEAGE_NAME}",
        "output_scores.json",
        "output_scores/*",
        "natural_instructions.json",
        "predicted_examples.jsonl",
    ),
    # Their own lineage says whether other files may lie there.
    "scores": (f"*{LINEAGE_NAME}",),
    "t5x": (LINEAGE_NAME,),
    "fetched": (f"*{LINEAGE_NAME}",),
}


def _with_lineage(manifest: Path, content: dict[str, Any]) -> Artefact:
    kind = content["kind"]
    folder = manifest.parent
    name = folder.name
    if kind == "evaluation":
        name = "/".join(folder.absolute().parts[-3:])
    elif manifest.name != LINEAGE_NAME:
        name = manifest.name.removesuffix(f".{LINEAGE_NAME}")
        name = f"{name}.html" if kind == "report" and "." not in name else name
    return Artefact(
        kind=kind,
        folder=folder,
        name=name,
        manifest=manifest,
        fingerprint=digest_of(content),
        sealed=seal_holds(content),
        complete=True,
        versions=content["versions"],
        arguments=content["arguments"],
        settings={},
        counts=content["counts"],
        dropped={},
        files=tuple(ListedFile(**file) for file in content["files"]),
        sources=tuple(_source(source) for source in content["sources"]),
        companions=_companions(kind, folder),
        mend=_MENDS[kind],
    )


def _companions(kind: str, folder: Path) -> tuple[str, ...]:
    # Of a single file, the folder is its user's.
    alone = kind in ("scores", "fetched") and not (folder / LINEAGE_NAME).exists()
    return _ANYTHING if alone else _COMPANIONS.get(kind, _ANYTHING)


def _source(content: Mapping[str, Any]) -> Source:
    return Source(**{**content, "files": tuple(content.get("files", ()))})


def _without_lineage(manifest: Path, content: dict[str, Any]) -> Artefact:
    """A run or an evaluation of an earlier version, or one that still goes on."""
    is_run = manifest.name == "model.json"
    if not ({"model", "feature_lengths"} if is_run else {"tasks", "schema"}) <= set(content):
        raise InputError(f"{manifest}: not a file of ours; Instrux wrote no such folder.")
    kind = "run" if is_run else "evaluation"
    return Artefact(
        kind=kind,
        folder=manifest.parent,
        name=manifest.parent.name,
        manifest=manifest,
        fingerprint="",
        sealed=None,
        complete=True,
        versions=content.get("versions", {}),
        arguments={},
        settings=content.get("settings", {}),
        counts={},
        dropped={},
        files=(),
        sources=(),
        companions=("**/*",),
        mend=_MENDS[kind],
    )
