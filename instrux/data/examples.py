"""The rendered example: what a template made of one row, as `tf.train.Example` bytes.

The bytes are written by hand in the protocol buffer wire format and read with the protobuf
runtime, so neither way needs TensorFlow. The features are:

    inputs, targets: one UTF-8 string each.
    example_id: one string, `dataset/config/split/row`, stable over runs.
    template: one string, the template's name.
    answer_choices: the strings a model chooses among; absent where there are none.
    references: all acceptable answers; absent where there is only `targets`.
    group: one string, what the example is one part of; absent where it stands alone.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message, message_factory

from instrux.errors import InputError


@dataclasses.dataclass(frozen=True, slots=True)
class RenderedExample:
    """One prompted example.

    Attributes:
        inputs: what the model reads.
        targets: what the model should write.
        example_id: `dataset/config/split/row`.
        template: name of the template that made it.
        answer_choices: texts that rank classification scores, or None.
        references: all acceptable answers where there may be several, or None.
        group: names what several examples are parts of, such as the question whose answers are
            judged one by one; None for an example that stands alone.
    """

    inputs: str
    targets: str
    example_id: str
    template: str
    answer_choices: tuple[str, ...] | None = None
    references: tuple[str, ...] | None = None
    group: str | None = None

    def accepts(self, choice: str) -> bool:
        """Whether a choice is the target or one of the references, outer white space apart."""
        answers = (self.targets, *(self.references or ()))
        return choice.strip() in {answer.strip() for answer in answers}

    def to_bytes(self) -> bytes:
        """Serialises as `tf.train.Example`; the same example always gives the same bytes."""
        # In the order of the keys, which is what makes the bytes one of a kind.
        return _delimited(
            b"".join(
                (
                    _many(_ANSWER_CHOICES, self.answer_choices) if self.answer_choices else b"",
                    _single(_EXAMPLE_ID, self.example_id),
                    b"" if self.group is None else _single(_GROUP, self.group),
                    _single(_INPUTS, self.inputs),
                    _many(_REFERENCES, self.references) if self.references else b"",
                    _single(_TARGETS, self.targets),
                    _single(_TEMPLATE, self.template),
                )
            )
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> "RenderedExample":
        """Reads what `to_bytes` (or any writer of `tf.train.Example`) wrote.

        Raises:
            InputError: the bytes are no `tf.train.Example`, or a feature is missing or not text.
        """
        features = parse_features(data)
        return cls(
            inputs=_one(features, "inputs"),
            targets=_one(features, "targets"),
            example_id=_one(features, "example_id"),
            template=_one(features, "template"),
            answer_choices=tuple(_texts(features, "answer_choices")) or None,
            references=tuple(_texts(features, "references")) or None,
            group=_one(features, "group") if "group" in features else None,
        )


def parse_features(data: bytes) -> dict[str, Sequence[bytes]]:
    """Reads a `tf.train.Example` whose features are all lists of bytes.

    Raises:
        InputError: the bytes are no `tf.train.Example`.
    """
    example: Any = _example_class()()
    try:
        example.ParseFromString(data)
    except message.DecodeError as error:
        raise InputError(
            f"A record of {len(data)} bytes is not a tf.train.Example: was it rendered by Instrux?"
        ) from error
    return {key: feature.bytes_list.value for key, feature in example.features.feature.items()}


# --- Writing -----------------------------------------------------------------------------------

_FIELD_1 = b"\x0a"  # field 1, length-delimited
_FIELD_2 = b"\x12"  # field 2, length-delimited


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


_VARINTS = [_varint(value) for value in range(1 << 13)]


def _length(value: int) -> bytes:
    return _VARINTS[value] if value < 1 << 13 else _varint(value)


def _delimited(payload: bytes) -> bytes:
    """The payload as field 1 of a message."""
    return b"".join((_FIELD_1, _length(len(payload)), payload))


_ANSWER_CHOICES = _delimited(b"answer_choices")
_EXAMPLE_ID = _delimited(b"example_id")
_GROUP = _delimited(b"group")
_INPUTS = _delimited(b"inputs")
_REFERENCES = _delimited(b"references")
_TARGETS = _delimited(b"targets")
_TEMPLATE = _delimited(b"template")


def _single(key: bytes, value: str) -> bytes:
    """The entry of the map `Features.feature` for a feature of one text.

    Four messages lie in each other: the entry (key, feature), the feature (bytes list), the list
    (values). Their lengths are worked out first, so that the text is copied once.
    """
    text = _encoded(value)
    text_length = _length(len(text))
    list_bytes = 1 + len(text_length) + len(text)
    list_length = _length(list_bytes)
    feature_bytes = 1 + len(list_length) + list_bytes
    feature_length = _length(feature_bytes)
    entry_bytes = len(key) + 1 + len(feature_length) + feature_bytes
    return b"".join(
        (
            *(_FIELD_1, _length(entry_bytes), key),
            *(_FIELD_2, feature_length),
            *(_FIELD_1, list_length),
            *(_FIELD_1, text_length, text),
        )
    )


@lru_cache(maxsize=256)
def _many(key: bytes, values: tuple[str, ...]) -> bytes:
    """The same for several texts; most datasets have the same few choices for every row."""
    feature = _delimited(b"".join([_delimited(_encoded(value)) for value in values]))
    return _delimited(b"".join((key, _FIELD_2, _length(len(feature)), feature)))


def _encoded(value: str) -> bytes:
    # Lone surrogates (half of an emoji, cut by somebody upstream) become question marks, as
    # UTF-8 has no bytes for them.
    return value.encode("utf-8", "replace")


# --- Reading -----------------------------------------------------------------------------------


@cache
def _example_class() -> type[message.Message]:
    """The message class of `tf.train.Example`, made in a pool of its own beside TensorFlow's."""
    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(
        name="instrux/example.proto", package="instrux", syntax="proto3"
    )

    def declare(owner: Any, name: str, number: int, label: int, kind: int, of: str = "") -> None:
        field = owner.field.add(name=name, number=number, label=label, type=kind)
        if of:
            field.type_name = f".instrux.{of}"

    one, many = kinds.LABEL_OPTIONAL, kinds.LABEL_REPEATED
    text, blob, submessage = kinds.TYPE_STRING, kinds.TYPE_BYTES, kinds.TYPE_MESSAGE
    declare(file.message_type.add(name="BytesList"), "value", 1, many, blob)
    declare(file.message_type.add(name="Feature"), "bytes_list", 1, one, submessage, "BytesList")
    features = file.message_type.add(name="Features")
    entry = features.nested_type.add(name="FeatureEntry")
    entry.options.map_entry = True
    declare(entry, "key", 1, one, text)
    declare(entry, "value", 2, one, submessage, "Feature")
    declare(features, "feature", 1, many, submessage, "Features.FeatureEntry")
    declare(file.message_type.add(name="Example"), "features", 1, one, submessage, "Features")
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("instrux.Example"))


def _texts(features: Mapping[str, Sequence[bytes]], key: str) -> list[str]:
    try:
        return [value.decode() for value in features.get(key, ())]
    except UnicodeDecodeError as error:
        raise InputError(f"Feature {key!r} of a rendered example is not UTF-8 text.") from error


def _one(features: Mapping[str, Sequence[bytes]], key: str) -> str:
    values = _texts(features, key)
    if len(values) != 1:
        raise InputError(
            f"A rendered example needs one value in feature {key!r}, and has {len(values)}; "
            f"its features are {sorted(features)}."
        )
    return values[0]
