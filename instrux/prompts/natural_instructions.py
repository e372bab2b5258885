"""Natural Instructions: task files, and the encodings that Tk-Instruct was trained on.

    from instrux.prompts import natural_instructions as ni

    task = ni.load_task("task020_mctaco_span_based_question.json")
    ni.encode(task, task.instance(0), num_pos_examples=2)

See docs/tk_instruct.md.
"""

from instrux.prompts.natural_instructions_encoding import (
    DEFAULT_ENCODING,
    ENCODINGS,
    MAX_SOURCE_LENGTH,
    MAX_TARGET_LENGTH,
    RANDOM_CHOICES,
    RANDOM_ENCODING,
    EncodedSource,
    Encoding,
    SourceTokenizer,
    draw_encoding,
    draw_reference,
    encode,
    encode_within,
    encoding_named,
    text_to_text,
    text_to_text_line,
)
from instrux.prompts.natural_instructions_task import (
    Example,
    Instance,
    Task,
    load_task,
    parse_task,
)

__all__ = [
    "DEFAULT_ENCODING",
    "ENCODINGS",
    "MAX_SOURCE_LENGTH",
    "MAX_TARGET_LENGTH",
    "RANDOM_CHOICES",
    "RANDOM_ENCODING",
    "EncodedSource",
    "Encoding",
    "Example",
    "Instance",
    "SourceTokenizer",
    "Task",
    "draw_encoding",
    "draw_reference",
    "encode",
    "encode_within",
    "encoding_named",
    "load_task",
    "parse_task",
    "text_to_text",
    "text_to_text_line",
]
