"""A SentencePiece model from rendered text: unigram, T5's special ids, the same bytes each time."""

import dataclasses
import fnmatch
import hashlib
import heapq
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from instrux.data.files import as_path, write_atomically
from instrux.data.manifest import (
    CompletedFolder,
    FileRecord,
    Manifest,
    library_versions,
)
from instrux.data.rendered import RenderedSplit, rendered_task_names
from instrux.data.vocabularies import VocabularySpec
from instrux.errors import InputError, did_you_mean
from instrux.progress import progress, tell

MODEL_NAME = "spiece.model"


@dataclass(frozen=True)
class VocabResult:
    """What was trained.

    Attributes:
        path: the model file.
        spec: how to name it to other stages.
        skipped: whether it was complete already.
    """

    path: Path
    spec: VocabularySpec
    skipped: bool


@dataclass(frozen=True)
class _Settings:
    """What the model's bytes depend on, besides the text."""

    size: int
    split: str
    max_sentences: int
    character_coverage: float
    byte_fallback: bool
    split_digits: bool
    user_defined_symbols: tuple[str, ...]
    seed: int


def vocab(
    *,
    tasks: Sequence[str],
    data_dir: str | Path,
    size: int,
    name: str | None = None,
    split: str = "train",
    max_sentences: int = 1_000_000,
    character_coverage: float = 0.9995,
    byte_fallback: bool = False,
    split_digits: bool = False,
    user_defined_symbols: Sequence[str] = (),
    seed: int = 0,
) -> VocabResult:
    """Trains a vocabulary into `<data_dir>/vocab/<name>/spiece.model`; a complete one is skipped.

    As T5's: a unigram model with padding 0, end of sequence 1, unknown 2, no beginning of
    sequence, and NFKC normalisation. Extra ids are not in it: `VocabularySpec` adds them.

    Args:
        tasks: names of rendered tasks, or globs over them; those that lack the split are left out.
        data_dir: the folder that holds `rendered/` and gets `vocab/`.
        size: number of ids in the model, the three special ones included.
        name: of the folder; made of the size and a hash of the settings if None.
        split: the rendered split that is read.
        max_sentences: how many lines of text are used, chosen by a seeded hash of the text.
        character_coverage: share of the text's characters that get an id of their own.
        byte_fallback: whether other characters become bytes in place of the unknown id.
        split_digits: whether every digit is a piece of its own.
        user_defined_symbols: strings that are always one piece.
        seed: chooses the lines.

    Raises:
        InputError: no rendered task has such a name, the text does not do for the size, or the
            folder cannot be written.
    """
    settings = _Settings(
        size=size,
        split=split,
        max_sentences=max_sentences,
        character_coverage=character_coverage,
        byte_fallback=byte_fallback,
        split_digits=split_digits,
        user_defined_symbols=tuple(user_defined_symbols),
        seed=seed,
    )
    _check(settings)
    splits = _with_text(
        [RenderedSplit(data_dir, each, split) for each in _matching(tasks, data_dir)]
    )
    identity = dataclasses.asdict(settings) | {
        "sources": {each.task_name: each.manifest().fingerprint for each in splits}
    }
    folder = as_path(data_dir) / "vocab" / (name if name is not None else _folder_name(identity))
    completed = CompletedFolder(folder)
    path = folder / MODEL_NAME
    if completed.is_complete(identity):
        tell(f"vocab {folder.name}: complete, skipped")
        return VocabResult(path, VocabularySpec("sentencepiece", str(path)), skipped=True)
    if completed.completed_path.exists():
        tell(f"vocab {folder.name}: the text or the settings changed, training again")
    try:
        completed.start()
        lines = _chosen_lines(splits, settings)
        written, digest = write_atomically(path, [_train(lines, settings)])
        completed.complete(
            Manifest(
                stage="vocab",
                settings=identity,
                files=(FileRecord(path.name, written, digest, size),),
                counts={"lines": len(lines), "characters": sum(map(len, lines))},
                versions=library_versions("sentencepiece"),
                arguments={"tasks": list(tasks), "data_dir": str(data_dir)},
            )
        )
    except OSError as error:
        raise InputError(
            f"{error.filename or folder}: cannot be used ({error.strerror or error})"
        ) from error
    tell(f"vocab {folder.name}: {size:,} pieces from {len(lines):,} lines")
    return VocabResult(path, VocabularySpec("sentencepiece", str(path)), skipped=False)


def _check(settings: _Settings) -> None:
    if settings.size < 8:
        raise InputError(f"vocab: size is {settings.size}; give 8 or more")
    if settings.byte_fallback and settings.size < 300:
        raise InputError(
            f"vocab: size is {settings.size}; byte_fallback alone takes 256, give 300 or more"
        )
    if settings.max_sentences < 1:
        raise InputError(f"vocab: max_sentences is {settings.max_sentences}; give 1 or more")
    if not 0 < settings.character_coverage <= 1:
        raise InputError(
            f"vocab: character_coverage is {settings.character_coverage}; give a share above 0, at most 1"
        )


def _matching(patterns: Sequence[str], data_dir: str | Path) -> list[str]:
    known = rendered_task_names(data_dir)
    names: set[str] = set()
    for pattern in patterns:
        matched = fnmatch.filter(known, pattern)
        if not matched:
            raise InputError(
                f"vocab: no task rendered in {data_dir} matches {pattern!r}; "
                f"run `instrux render` first.{did_you_mean(pattern, known)}"
            )
        names.update(matched)
    if not names:
        raise InputError("vocab: no task is named; name at least one rendered task")
    return sorted(names)


def _with_text(splits: Sequence[RenderedSplit]) -> list[RenderedSplit]:
    """Leaves out tasks that a glob matches and that have other splits only, unless all do."""
    return [each for each in splits if each.exists()] or list(splits)


def _folder_name(identity: dict[str, Any]) -> str:
    digits = hashlib.sha256(repr(sorted(identity.items())).encode()).hexdigest()[:12]
    return f"spiece-{identity['size']}-{digits}"


def _chosen_lines(splits: Sequence[RenderedSplit], settings: _Settings) -> list[str]:
    """Gives the lines whose seeded hashes are smallest, each once, in the order of the hashes.

    What is chosen depends on the text alone, not on how it lies in files, and the memory needed
    does not grow with it.
    """
    key = settings.seed.to_bytes(8, "little", signed=True)
    smallest: list[tuple[int, str]] = []  # a heap, largest first
    held: set[str] = set()
    for line in _lines(splits):
        if line in held:
            continue
        digest = hashlib.blake2b(line.encode(errors="replace"), digest_size=8, key=key).digest()
        entry = (-int.from_bytes(digest), line)
        if len(smallest) < settings.max_sentences:
            heapq.heappush(smallest, entry)
            held.add(line)
        elif entry > smallest[0]:
            held.add(line)
            held.discard(heapq.heappushpop(smallest, entry)[1])
    if not smallest:
        raise InputError("vocab: the rendered tasks hold no text; name tasks that have examples")
    return [line for _, line in sorted(smallest, reverse=True)]


def _lines(splits: Sequence[RenderedSplit]) -> Iterator[str]:
    total = sum(split.count for split in splits)
    done = 0
    with progress("vocab, reading", total=total, unit="examples") as shown:
        for split in splits:
            for example in split.read():
                for text in (example.inputs, example.targets):
                    yield from (line for line in text.splitlines() if line.strip())
                done += 1
                shown.update(done)


def _train(lines: Sequence[str], settings: _Settings) -> bytes:
    import sentencepiece

    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.Train(
            sentence_iterator=iter(lines),
            model_writer=model,
            model_type="unigram",
            vocab_size=settings.size,
            character_coverage=settings.character_coverage,
            byte_fallback=settings.byte_fallback,
            split_digits=settings.split_digits,
            user_defined_symbols=list(settings.user_defined_symbols),
            pad_id=0,
            eos_id=1,
            unk_id=2,
            bos_id=-1,
            max_sentence_length=1 << 20,
            input_sentence_size=0,
            num_threads=1,  # more of them add up floats in another order
            minloglevel=2,  # errors only: the trainer writes its log to stderr
        )
    except (RuntimeError, ValueError, OSError) as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"vocab: SentencePiece cannot train {settings.size} pieces on this text ({reason}); "
            "give another size or more text"
        ) from error
    return model.getvalue()
