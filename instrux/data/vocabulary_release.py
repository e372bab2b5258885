"""T5's public SentencePiece vocabulary, fetched once and checked by its digest."""

import hashlib
import os
import shutil
import tempfile
from pathlib import Path

from instrux.cache_folder import cache_folder
from instrux.errors import InputError

# The 32,000 pieces of T5 and T5 1.1, as published with both.
T5_VOCABULARY_SHA256 = "d60acb128cf7b7f2536e8f38a5b18a05535c9e14c7a355904270e15b0945ea86"
_HUB_REPOSITORY = "google/t5-v1_1-small"
_HUB_FILE = "spiece.model"


def t5_vocabulary_path() -> Path:
    """Gives where the fetched vocabulary lies, whether or not it does yet."""
    return cache_folder() / "vocab" / "t5_32000.model"


def fetch_t5_vocabulary(source: str | None = None) -> Path:
    """Puts T5's vocabulary into the cache folder, from the hub or a local file.

    Args:
        source: a local copy of the file; the Hugging Face hub where None.

    Raises:
        InputError: it cannot be had, or its digest is not that of T5's vocabulary.
    """
    target = t5_vocabulary_path()
    if target.exists() and _sha256(target) == T5_VOCABULARY_SHA256:
        return target
    found = Path(source) if source is not None else _from_hub()
    if not found.is_file():
        raise InputError(f"no vocabulary file {found}; give its path by --source")
    digest = _sha256(found)
    if digest != T5_VOCABULARY_SHA256:
        raise InputError(
            f"{found} is not T5's vocabulary: its sha256 is {digest}, not {T5_VOCABULARY_SHA256}"
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=target.parent, delete=False) as temporary:
        with found.open("rb") as file:
            shutil.copyfileobj(file, temporary)
    os.replace(temporary.name, target)
    return target


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _from_hub() -> Path:
    try:
        import huggingface_hub
    except ImportError as error:
        raise InputError(
            "fetching T5's vocabulary from the hub needs the extra `hf`: pip install 'instrux[hf]';"
            " or give a local copy by --source"
        ) from error
    try:
        return Path(huggingface_hub.hf_hub_download(_HUB_REPOSITORY, _HUB_FILE))
    except Exception as error:  # the hub's client raises errors of many libraries
        raise InputError(
            f"cannot fetch {_HUB_FILE} of {_HUB_REPOSITORY} from the hub ({error});"
            " give a local copy by --source"
        ) from error
