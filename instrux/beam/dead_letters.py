"""Dead letters: rows that could not be rendered, kept with the reason."""

import json

_LONGEST_DETAIL = 500

BAD_ROW = "bad_row"
RENDER_ERROR = "render_error"


def dead_letter(*, example_id: str, template: str, reason: str, detail: str) -> bytes:
    """One line of a dead-letter file.

    Args:
        example_id: the row, as `dataset/config/split/row`.
        template: name of the template.
        reason: `bad_row` (it cannot be read) or `render_error` (the template failed on it).
        detail: what went wrong, in words.
    """
    letter = {
        "example_id": example_id,
        "template": template,
        "reason": reason,
        "detail": detail[:_LONGEST_DETAIL],
    }
    return json.dumps(letter, ensure_ascii=False).encode(errors="replace") + b"\n"
