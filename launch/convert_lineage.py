"""What a converted checkpoint was made from: `lineage.json` in its folder, the last file that is written."""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from instrux.data.lineage_files import FILE_NAME, Source, source_of_files, write_lineage
from instrux.data.vocabularies import VocabularySpec
from instrux.interop import huggingface, huggingface_tokenizer, peft_folder, safetensors_files, t5x
from instrux.progress import tell
from instrux.training.checkpoints import CHECKPOINTS
from instrux.training.run_folder import VOCABULARY_FILES, RunDescription
from launch import foreign

_RUN_FILES = ("model.json", *VOCABULARY_FILES)
_HUGGING_FACE_FILES = (
    huggingface.CONFIG,
    "generation_config.json",
    safetensors_files.INDEX,
    *huggingface_tokenizer.FILES,
    "*.safetensors",
)
_PEFT_FILES = (peft_folder.CONFIG, peft_folder.TENSORS)


def write(
    folder: Path,
    source: tuple[str, str],
    target: tuple[str, str],
    settings: Any,
    *,
    sources: Sequence[Source],
    counts: dict[str, int],
    vocabulary: VocabularySpec | None = None,
    **further: Any,
) -> None:
    """Writes it, with a digest of every file that lies in the folder; reads each a block at a time.

    Args:
        folder: the new checkpoint, complete but for this file.
        source: kind and path of what is converted.
        target: the new checkpoint's kind, and the path that it is going to have.
        settings: a data class of the command's options.
        sources: the checkpoints that it was made from.
        counts: steps and tensors.
        vocabulary: that was named apart from the checkpoints; None where none was.
        further: options of the command beside the settings; None is left out.
    """
    tell("convert: checksums of what was read and written")
    arguments = {
        "from": " ".join(source),
        "to": " ".join(target),
        **dataclasses.asdict(settings),
        **further,
        "vocabulary": None if vocabulary is None else str(vocabulary),
    }
    write_lineage(
        folder / FILE_NAME,
        "run" if target[0] == foreign.OURS else target[0],
        files=[path for path in folder.rglob("*") if path.is_file()],
        sources=[*sources, *([] if vocabulary is None else [_vocabulary_source(vocabulary)])],
        arguments={name: value for name, value in arguments.items() if value is not None},
        packages=("jax", "numpy", "orbax-checkpoint"),
        counts=counts,
    )


def sources_of(kind: str, path: str | Path, step: int | None = None) -> list[Source]:
    """A checkpoint as a source, and the base that its adapters stand beside.

    Args:
        kind: `instrux`, `hf`, `t5x` or `peft`.
        path: where it lies.
        step: which of several checkpoints; the newest where None.
    """
    path = Path(path)
    if kind == foreign.OURS:
        return _of_run(path, step)
    if kind == foreign.T5X:
        return [_of_t5x(path, step)]
    known = _PEFT_FILES if kind == foreign.PEFT else _HUGGING_FACE_FILES
    return [_checkpoint(path, path, _there(path, known))]


def _vocabulary_source(vocabulary: VocabularySpec) -> Source:
    path = vocabulary.path or ""
    name = path or "bytes"
    return Source(kind="vocabulary", name=name, fingerprint=vocabulary.digest(), path=path)


def _of_run(path: Path, step: int | None) -> list[Source]:
    run, step = foreign.run_and_step(path, step)
    checkpoint = run / CHECKPOINTS / str(step)
    names = [*_there(run, _RUN_FILES), *_below(checkpoint, run)]
    found = [source_of_files("run", f"{run}, step {step}", folder=run, names=names)]
    base = RunDescription.read(run).base
    return found if base is None else [*found, *sources_of(foreign.kind_of(base), base)]


def _of_t5x(path: Path, step: int | None) -> Source:
    if step is not None and path.is_dir():
        path = path / f"checkpoint_{step}"
    index = t5x.find_index(path)
    folder = t5x.folder_of(index)
    if folder is None:
        return _checkpoint(index, index.parent, [index.name])
    root = path if path.is_dir() else folder
    return _checkpoint(path, root, _below(folder, root))


def _checkpoint(path: Path, folder: Path, names: Iterable[str]) -> Source:
    return source_of_files("checkpoint", str(path), folder=folder, names=names)


def _there(folder: Path, globs: Iterable[str]) -> list[str]:
    found = {path.name for glob in globs for path in folder.glob(glob) if path.is_file()}
    return sorted(found)


def _below(folder: Path, root: Path) -> Iterator[str]:
    for path in folder.rglob("*"):
        if path.is_file() and path.name != FILE_NAME:
            yield path.relative_to(root).as_posix()
