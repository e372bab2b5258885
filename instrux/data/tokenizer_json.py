"""The content of a `tokenizer.json`: its pieces and ids, and what of it no text may have.

`tokenizers` finds added tokens in any text, `</s>` and padding among them. Here neither may come
out of a text: a text would end in its middle, or hold what is taken for no token at all. So their
pieces are given a spelling that no text has before `tokenizers` sees the file; all other pieces
keep theirs, and so do the ids.
"""

import hashlib
import json
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from instrux.data.byte_pairs import byte_characters, unused_character


class BadTokenizerError(ValueError):
    """A `tokenizer.json` that cannot be used; the message says why and what to do."""


@dataclass(frozen=True)
class TokenizerContent:
    """What a `tokenizer.json` says.

    Attributes:
        settings: the file's object.
        pieces: id of every piece, added tokens included.
        added: ids of the added tokens.
        special: those of them that are special.
    """

    settings: dict[str, Any]
    pieces: dict[str, int]
    added: frozenset[int]
    special: frozenset[int]

    @classmethod
    def of(cls, serialized: bytes) -> "TokenizerContent":
        """Reads the file's content.

        Raises:
            BadTokenizerError: it is no tokenizer.json.
        """
        try:
            settings = json.loads(serialized)
            vocabulary = settings["model"]["vocab"]
            if isinstance(vocabulary, list):
                pieces = {piece: number for number, (piece, _) in enumerate(vocabulary)}
            else:
                pieces = dict(vocabulary)
            added = settings.get("added_tokens") or []
            pieces |= {token["content"]: token["id"] for token in added}
            special = frozenset(token["id"] for token in added if token.get("special"))
            found = cls(settings, pieces, frozenset(token["id"] for token in added), special)
            if not pieces or not all(map(_is_piece, pieces.items())):
                raise ValueError
            _ = found.unk_id, found.is_byte_level  # what they look at is there and of its kind
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise BadTokenizerError(
                "not a tokenizer.json, or a damaged one; copy the file anew, or give --vocabulary"
            ) from error
        return found

    @property
    def unk_id(self) -> int | None:
        """The id of what no piece has; None where there is none."""
        model = self.settings["model"]
        if model.get("unk_id") is not None:
            return model["unk_id"]
        return self.pieces.get(model.get("unk_token") or "")

    @property
    def is_byte_level(self) -> bool:
        """Whether a text becomes GPT-2's characters for its bytes before it is cut into pieces."""
        splitter = self.settings.get("pre_tokenizer") or {}
        if splitter.get("type") == "Sequence":
            splitter = (splitter.get("pretokenizers") or [{}])[-1]
        return splitter.get("type") == "ByteLevel"

    @property
    def knows_every_text(self) -> bool:
        """Whether no text has an unknown piece, for every byte is one."""
        if self.is_byte_level:
            return self.pieces.keys() >= {*byte_characters()}
        every_byte = {f"<0x{byte:02X}>" for byte in range(256)}
        return (
            bool(self.settings["model"].get("byte_fallback")) and self.pieces.keys() >= every_byte
        )

    def never_in_text(self) -> int | None:
        """The id of the piece of the byte 0xFF, which no UTF-8 text holds; None where there is none."""
        found = self.pieces.get(unused_character()) if self.is_byte_level else None
        return None if found in self.added else found

    def without_spelling(self, numbers: Collection[int]) -> dict[str, Any]:
        """Gives the file's object for `tokenizers`, in which no text is spelled as these ids are.

        Nothing cuts or fills texts, and pieces are not left to chance. Of the added tokens, these
        alone are special.
        """
        # A blank never stays one on its way to the pieces, and nobody writes the rest.
        mark = hashlib.sha256(
            repr(sorted(self.pieces.items())).encode("utf-8", "replace")
        ).hexdigest()
        new = {
            piece: f"{piece} {mark}" for piece, number in self.pieces.items() if number in numbers
        }
        model = dict(self.settings["model"])
        if isinstance(model["vocab"], list):
            model["vocab"] = [[new.get(piece, piece), score] for piece, score in model["vocab"]]
        else:
            model["vocab"] = {new.get(piece, piece): n for piece, n in model["vocab"].items()}
        if model.get("unk_token") in new:
            model["unk_token"] = new[model["unk_token"]]
        if "dropout" in model:
            model["dropout"] = None
        added = [
            token
            | {
                "content": new.get(token["content"], token["content"]),
                "special": token["id"] in numbers,
            }
            for token in self.settings.get("added_tokens") or []
        ]
        changed = {"model": model, "added_tokens": added}
        unused = dict.fromkeys(("truncation", "padding", "post_processor"))
        return self.settings | unused | changed


def _is_piece(item: tuple[Any, Any]) -> bool:
    piece, number = item
    return isinstance(piece, str) and type(number) is int and number >= 0
