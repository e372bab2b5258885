"""What is asked of the Hugging Face libraries: splits and rows of one dataset, or why not.

The hub is asked once a minute at most whether it can be reached at all. Where it cannot, only what
the libraries have in their cache is looked at, so that a hundred datasets fail in seconds and not
after the libraries' own retries.
"""

import contextlib
import hashlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from instrux.data import mirror
from instrux.errors import InputError
from instrux.progress import tell

CONVERTED = "refs/convert/parquet"
"""The hub's own Parquet conversion of a dataset, which it keeps on a branch of this name."""

_TIMEOUT_SECS = 5.0
_SCRIPT = "scripts are no longer supported"


@dataclass(frozen=True)
class HubDataset:
    """One configuration of a dataset's repository, at one revision.

    Attributes:
        repository: `owner/name`, or a local folder.
        config: the configuration; None is the only one.
        revision: a commit, tag or branch; None is the newest.
        conversion: whether it is read from the hub's Parquet conversion.
    """

    repository: str
    config: str | None
    revision: str | None
    conversion: bool = False


class HubError(Exception):
    """Says in one line why a dataset cannot be had."""


def split_names(dataset: HubDataset) -> list[str]:
    """Gives the splits of a dataset.

    Raises:
        HubError: it cannot be had.
        InputError: the library is not installed.
    """
    return list(_asked(dataset, _converted_splits, _library_splits))


def load(dataset: HubDataset, split: str) -> Any:
    """Gives the rows of a split as a `datasets.Dataset`.

    Raises:
        HubError: it cannot be had.
        InputError: the library is not installed.
    """
    return _asked(
        dataset,
        lambda each: _converted_rows(each, split),
        lambda each: _library_rows(each, split),
    )


def _asked(dataset: HubDataset, converted: Any, by_library: Any) -> Any:
    """Asks for the converted files or through the library, and words what goes wrong."""
    library()
    local = Path(dataset.repository).expanduser().is_dir()
    reason = "" if local else unreachable()
    with _offline() if reason else contextlib.nullcontext():
        try:
            if dataset.conversion or dataset.revision == CONVERTED:
                return converted(dataset)
            try:
                return by_library(dataset)
            except RuntimeError as error:
                if _SCRIPT not in str(error) or dataset.revision not in (None, "main"):
                    raise
                tell(
                    f"{dataset.repository}: holds a loading script only; "
                    f"reading its Parquet conversion ({CONVERTED})"
                )
                return converted(HubDataset(dataset.repository, dataset.config, CONVERTED, True))
        except InputError:
            raise
        except Exception as error:  # the libraries raise a dozen kinds, down to OSError
            raise HubError(reason or first_line(error)) from error


def library() -> Any:
    """Gives the library `datasets`.

    Raises:
        InputError: it is not installed.
    """
    try:
        import datasets
    except ModuleNotFoundError as error:
        raise InputError(
            "Datasets of the Hugging Face hub need `pip install 'instrux[hf]'`, "
            f"or a copy in a folder that {mirror.VARIABLE} names."
        ) from error
    return datasets


def unreachable() -> str:
    """Why the hub cannot be reached, in one line; "" if it can. Asked once a minute at most."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set, and it is not in the cache of the Hugging Face libraries"
    return _unreachable(constants.ENDPOINT, int(time.monotonic() // 60))


@lru_cache(maxsize=2)
def _unreachable(endpoint: str, minute: int) -> str:
    del minute  # in the cache's key only
    from huggingface_hub.utils import get_session

    try:
        get_session().head(endpoint, timeout=_TIMEOUT_SECS)
    except Exception as error:
        return f"{endpoint} cannot be reached: {first_line(error)}"
    return ""


@contextlib.contextmanager
def _offline() -> Iterator[None]:
    """Has the libraries look into their cache only."""
    from datasets import config
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE, config.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = config.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE, config.HF_HUB_OFFLINE = before


# --- Through the library -------------------------------------------------------------------------


def _library_splits(dataset: HubDataset) -> list[str]:
    return list(
        library().get_dataset_split_names(
            dataset.repository, dataset.config, revision=dataset.revision
        )
    )


def _library_rows(dataset: HubDataset, split: str) -> Any:
    return library().load_dataset(
        dataset.repository, dataset.config, revision=dataset.revision, split=split
    )


# --- The hub's conversion: <config>/<split>/0000.parquet -----------------------------------------


def _converted_splits(dataset: HubDataset) -> list[str]:
    return sorted(path.name for path in _converted_folder(dataset).iterdir() if path.is_dir())


def _converted_rows(dataset: HubDataset, split: str) -> Any:
    folder = _converted_folder(dataset)
    files = sorted(map(str, (folder / split).glob("*.parquet")))
    if not files:
        raise HubError(f"its conversion has no split {split!r}")
    rows = library().load_dataset("parquet", data_files={split: files}, split=split)
    # The library's own fingerprint has the cache's path in it. The commit is the same everywhere.
    named = f"{dataset.repository} {folder.parent.name} {folder.name} {split}"
    rows._fingerprint = hashlib.sha256(named.encode()).hexdigest()[:16]
    return rows


def _converted_folder(dataset: HubDataset) -> Path:
    from huggingface_hub import snapshot_download

    snapshot = Path(
        snapshot_download(
            dataset.repository,
            repo_type="dataset",
            revision=dataset.revision or CONVERTED,
            allow_patterns=f"{dataset.config or '*'}/*/*.parquet",
            etag_timeout=_TIMEOUT_SECS,
        )
    )
    found = sorted(path.name for path in snapshot.iterdir() if path.is_dir())
    config = dataset.config or (found[0] if len(found) == 1 else None)
    if config is None or config not in found:
        raise HubError(f"its conversion has no configuration {config!r}; it has {found}")
    return snapshot / config


def first_line(error: Exception) -> str:
    """Words an error in one line, its class's name where it says nothing."""
    lines = str(error).strip().splitlines()
    return lines[0].strip() if lines else type(error).__name__
