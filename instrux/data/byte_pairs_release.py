"""GPT-2's public merges, fetched once and checked by their digest."""

import hashlib
from pathlib import Path

from instrux.data.byte_pairs import default_merges_path
from instrux.data.files import write_atomically
from instrux.errors import InputError

# merges.txt as published with GPT-2: 50,000 merges.
GPT2_MERGES_SHA256 = "fe36cab26d4f4421ed725e10a2e9ddb7f799449c603a96e7f29b5a3c82a95862"
_HUB_REPOSITORY = "openai-community/gpt2"
_HUB_FILE = "merges.txt"


def fetch_gpt2_merges(source: str | None = None) -> Path:
    """Puts GPT-2's `merges.txt` into the cache folder, from the hub or a local file.

    Args:
        source: a local copy of the file; the Hugging Face hub where None.

    Raises:
        InputError: it cannot be had, or its digest is not that of GPT-2's merges.
    """
    target = default_merges_path()
    if target.is_file() and _sha256(target.read_bytes()) == GPT2_MERGES_SHA256:
        return target
    found = Path(source).expanduser() if source is not None else _from_hub()
    try:
        content = found.read_bytes()
    except OSError as error:
        raise InputError(f"{found}: cannot be read ({error.strerror or error}).") from error
    if (digest := _sha256(content)) != GPT2_MERGES_SHA256:
        raise InputError(
            f"{found} is not GPT-2's merges.txt: its sha256 is {digest}, not {GPT2_MERGES_SHA256}"
        )
    try:
        write_atomically(target, [content])
    except OSError as error:
        raise InputError(
            f"{target}: cannot be written ({error.strerror or error});"
            " set INSTRUX_CACHE to a folder that can be"
        ) from error
    return target


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _from_hub() -> Path:
    try:
        import huggingface_hub
    except ImportError as error:
        raise InputError(
            "fetching GPT-2's merges from the hub needs the extra `hf`: pip install 'instrux[hf]';"
            " or give a local copy by --source"
        ) from error
    try:
        return Path(huggingface_hub.hf_hub_download(_HUB_REPOSITORY, _HUB_FILE))
    except Exception as error:  # the hub's client raises errors of many libraries
        raise InputError(
            f"cannot fetch {_HUB_FILE} of {_HUB_REPOSITORY} from the hub ({error});"
            " give a local copy by --source"
        ) from error
