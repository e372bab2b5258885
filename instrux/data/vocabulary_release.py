"""T5's public SentencePiece vocabulary, fetched once and checked by its digest."""

from pathlib import Path

from instrux.cache_folder import cache_folder
from instrux.data.published_file import PublishedFile

# The 32,000 pieces of T5 and T5 1.1, as published with both.
T5_VOCABULARY = PublishedFile(
    title="T5's vocabulary",
    repository="google/t5-v1_1-small",
    name="spiece.model",
    sha256="d60acb128cf7b7f2536e8f38a5b18a05535c9e14c7a355904270e15b0945ea86",
)


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
    return T5_VOCABULARY.fetch(t5_vocabulary_path(), source)
