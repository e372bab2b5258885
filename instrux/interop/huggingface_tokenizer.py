"""The tokenizers of Hugging Face's folders, as far as they are known here."""

import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from instrux.interop.parameters import CheckpointFormatError

SENTENCEPIECE = "spiece.model"
_LLAMAS_SENTENCEPIECE = "tokenizer.model"
_MERGES = "merges.txt"
TOKENIZER_JSON = "tokenizer.json"
_TOKENIZER_CONFIG = "tokenizer_config.json"
FILES = (
    SENTENCEPIECE,
    _LLAMAS_SENTENCEPIECE,
    _MERGES,
    TOKENIZER_JSON,
    _TOKENIZER_CONFIG,
    "vocab.json",
)
"""All that a folder's tokens may be told by."""


@dataclass(frozen=True)
class Tokenizer:
    """The tokenizer of a folder.

    Attributes:
        kind: `sentencepiece`, `bytes`, `byte_pairs`, GPT-2's, or `tokenizer_json`, which may be GPT-2's.
        path: the SentencePiece model, or GPT-2's `merges.txt`, or a `tokenizer.json`; None for bytes,
            and where `files` has it.
        extra_ids: sentinels on top of the model's own ids.
        eos_id: the id that ends a text, None for that of the model's family.
        files: name -> content of further files that a folder gets; with a `tokenizer.json`, its
            `tokenizer_config.json`.
    """

    kind: Literal["sentencepiece", "bytes", "byte_pairs", "tokenizer_json"]
    path: Path | None
    extra_ids: int
    eos_id: int | None = field(default=None, compare=False)
    files: Mapping[str, str] = field(default_factory=dict, compare=False)


def find_tokenizer(folder: Path, model_type: str) -> Tokenizer | None:
    """The tokenizer that lies in a folder; None where none is known here.

    Raises:
        CheckpointFormatError: `tokenizer_config.json` is malformed.
    """
    said: dict[str, Any] = {}
    if (folder / _TOKENIZER_CONFIG).is_file():
        try:
            read = json.loads((folder / _TOKENIZER_CONFIG).read_bytes())
        except (ValueError, RecursionError) as error:
            raise CheckpointFormatError(
                f"{folder / _TOKENIZER_CONFIG}: its JSON is malformed."
            ) from error
        said = read if isinstance(read, dict) else {}
    extra_ids = said.get("extra_ids")
    if type(extra_ids) is not int:
        extra_ids = None
    if re.fullmatch("ByT5Tokenizer(Fast)?", str(said.get("tokenizer_class"))):
        return Tokenizer("bytes", None, 125 if extra_ids is None else extra_ids)
    if model_type == "gpt2" and (folder / _MERGES).is_file():
        return Tokenizer("byte_pairs", folder / _MERGES, 0)
    if model_type == "llama" and (folder / _LLAMAS_SENTENCEPIECE).is_file():
        return Tokenizer("sentencepiece", folder / _LLAMAS_SENTENCEPIECE, extra_ids or 0)
    if not (folder / SENTENCEPIECE).is_file():
        # All that transformers writes since its version 5.
        found = folder / TOKENIZER_JSON
        return Tokenizer("tokenizer_json", found, 0) if found.is_file() else None
    if extra_ids is None:
        extra_ids = 0 if model_type == "mt5" else 100
    return Tokenizer("sentencepiece", folder / SENTENCEPIECE, extra_ids)


def write_tokenizer(folder: Path, tokenizer: Tokenizer, model_type: str) -> None:
    """Writes a tokenizer's files as transformers names them for models of a type."""
    if tokenizer.kind == "tokenizer_json":
        _write_files(folder, tokenizer, TOKENIZER_JSON)
        return
    name, tokenizer_class = _file_and_class(tokenizer, model_type)
    settings: dict[str, Any] = {"tokenizer_class": tokenizer_class}
    if tokenizer.kind == "byte_pairs":
        settings |= dict.fromkeys(("bos_token", "eos_token", "unk_token"), "<|endoftext|>")
    else:
        settings |= {"extra_ids": tokenizer.extra_ids, "eos_token": "</s>", "unk_token": "<unk>"}
        other = {"bos_token": "<s>"} if name == _LLAMAS_SENTENCEPIECE else {"pad_token": "<pad>"}
        settings |= other
    _write_files(folder, tokenizer, name)
    text = json.dumps(settings, indent=2) + "\n"
    (folder / _TOKENIZER_CONFIG).write_text(text, encoding="utf-8")


def _write_files(folder: Path, tokenizer: Tokenizer, name: str) -> None:
    if tokenizer.path is not None:
        shutil.copyfile(tokenizer.path, folder / name)
    for further, content in tokenizer.files.items():
        (folder / further).write_text(content, encoding="utf-8")


def _file_and_class(tokenizer: Tokenizer, model_type: str) -> tuple[str, str]:
    if tokenizer.kind == "bytes":
        return "", "ByT5Tokenizer"
    if tokenizer.kind == "byte_pairs":
        return _MERGES, "GPT2Tokenizer"
    if model_type == "llama" and not tokenizer.extra_ids:
        return _LLAMAS_SENTENCEPIECE, "LlamaTokenizer"
    return SENTENCEPIECE, "T5Tokenizer"
