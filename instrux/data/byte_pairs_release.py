"""GPT-2's public merges, fetched once and checked by their digest."""

from pathlib import Path

from instrux.data.byte_pairs import default_merges_path
from instrux.data.published_file import PublishedFile

# 50,000 merges, as published with GPT-2.
GPT2_MERGES = PublishedFile(
    title="GPT-2's merges.txt",
    repository="openai-community/gpt2",
    name="merges.txt",
    sha256="fe36cab26d4f4421ed725e10a2e9ddb7f799449c603a96e7f29b5a3c82a95862",
)


def fetch_gpt2_merges(source: str | None = None) -> Path:
    """Puts GPT-2's `merges.txt` into the cache folder, from the hub or a local file.

    Args:
        source: a local copy of the file; the Hugging Face hub where None.

    Raises:
        InputError: it cannot be had, or its digest is not that of GPT-2's merges.
    """
    return GPT2_MERGES.fetch(default_merges_path(), source)
