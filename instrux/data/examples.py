"""The rendered example: what a template made of one row, as `tf.train.Example` bytes.

The bytes are written by hand in the protocol buffer wire format and read with the protobuf
runtime, so neither way needs TensorFlow. The features are:

    inputs, targets: one UTF-8 string each.
    example_id: one string, `dataset/config/split/row`, stable over runs.
    template: one string, the template's name.
    answer_choices: the strings a model chooses among; absent where there are none.
    references: all acceptable answers; absent where there is only `targets`.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
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
    """

    inputs: str
    targets: str
    example_id: str
    template: str
    answer_choices: tuple[str, ...] | None = None
    references: tuple[str, ...] | None = None

    def to_bytes(self) -> bytes:
        """Serialises as `tf.train.Example`; the same example always gives the same bytes."""
        # In the order of the keys, which is what makes the bytes one of a kind.
        features = []
        if self.answer_choices:
            features.append(_feature(b"answer_choices", self.answer_choices))
        features.append(_feature(b"example_id", (self.example_id,)))
        features.append(_feature(b"inputs", (self.inputs,)))
        if self.references:
            features.append(_feature(b"references", self.references))
        features.append(_feature(b"targets", (self.targets,)))
        features.append(_feature(b"template", (self.template,)))
        return _delimited(_FIELD_1, b"".join(features))

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
    if value < 0x80:
        return bytes((value,))
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _delimited(tag: bytes, payload: bytes) -> bytes:
    return tag + _varint(len(payload)) + payload


def _feature(key: bytes, values: Iterable[str]) -> bytes:
    """One entry of the map `Features.feature`: a key and a `Feature` holding a `BytesList`."""
    # Lone surrogates (half of an emoji, cut by somebody upstream) become question marks, as
    # UTF-8 has no bytes for them.
    items = b"".join([_delimited(_FIELD_1, value.encode(errors="replace")) for value in values])
    feature = _delimited(_FIELD_1, items)
    return _delimited(_FIELD_1, _delimited(_FIELD_1, key) + _delimited(_FIELD_2, feature))


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
