"""What made a run: `lineage.json` in its folder, written when training ends."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from instrux.data.lineage_files import FILE_NAME, Source, write_lineage
from instrux.data.packed_manifest import MANIFEST_NAME
from instrux.data.seal import seal_of
from instrux.training.checkpoints import CHECKPOINTS, latest_step
from instrux.training.run_folder import VOCABULARY_FILES

_OWN_FILES = ("model.json", "config.gin", *VOCABULARY_FILES, "metrics.jsonl")


def write(
    folder: Path,
    *,
    pack: Path | None,
    initial_checkpoint_path: str | None,
    arguments: Mapping[str, Any],
    stopped: str,
) -> None:
    """Writes a run's sources, and digests of its files and of its newest checkpoint.

    Args:
        folder: the run's.
        pack: the packed set that it was trained on, or None.
        initial_checkpoint_path: where its first parameters came from, or None.
        arguments: what training was called with.
        stopped: why it ended.
    """
    step = latest_step(folder)
    checkpoint = folder / CHECKPOINTS / str(step)
    files = [folder / name for name in _OWN_FILES if (folder / name).exists()]
    files += [path for path in checkpoint.rglob("*") if path.is_file()]
    sources = []
    if pack is not None:
        fingerprint = seal_of(pack / MANIFEST_NAME)
        sources.append(
            Source(kind="packed", name=pack.name, fingerprint=fingerprint, path=str(pack))
        )
    if initial_checkpoint_path is not None:
        sources.append(_initial(initial_checkpoint_path))
    write_lineage(
        folder / FILE_NAME,
        "run",
        files=files,
        sources=sources,
        arguments={**arguments, "stopped": stopped},
        packages=("jax", "flax", "optax", "orbax-checkpoint", "grain"),
        counts={"steps": step or 0},
    )


def _initial(path: str) -> Source:
    # Its content is not read for a digest: every process has just read what its devices hold.
    return Source(kind="checkpoint", name=path, path=path)
