"""Examples as SeqIO caches them: `tf.train.Example` with token ids beside the text.

These are the features that `seqio.preprocessors.tokenize` gives, end of sequence not appended yet
(SeqIO does that after its cache), and for rank classification those that tell the choices apart.
Made with the protobuf runtime alone, no TensorFlow.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message, message_factory

from instrux.data.examples import RenderedExample
from instrux.data.vocabularies import Vocabulary

TOKENS = {"shape": [None], "dtype": "int32"}
_TEXT = {"shape": [], "dtype": "string"}
FEATURES = {
    "inputs": TOKENS,
    "inputs_pretokenized": _TEXT,
    "targets": TOKENS,
    "targets_pretokenized": _TEXT,
}
"""Shapes and types as SeqIO's `info.<split>.json` words them."""
RANK_FEATURES = FEATURES | {
    "idx": {"shape": [None], "dtype": "int32"},
    "is_correct": {"shape": [], "dtype": "bool"},
    "weight": {"shape": [], "dtype": "float32"},
}
"""The same for one example a choice; `idx` is (row, choice)."""


@dataclass
class CacheStats:
    """What SeqIO's `stats.<split>.json` counts. Tokens: neither padding nor end of sequence.

    Attributes:
        examples: number of examples.
        tokens: feature -> tokens in all.
        max_tokens: feature -> tokens of the longest.
    """

    examples: int
    tokens: dict[str, int]
    max_tokens: dict[str, int]

    @classmethod
    def none(cls) -> "CacheStats":
        """Of no example."""
        return cls(0, {"inputs": 0, "targets": 0}, {"inputs": 0, "targets": 0})

    def count(self, feature: str, ids: Sequence[int], vocabulary: Vocabulary) -> None:
        """Counts one example's feature."""
        tokens = len(ids) - ids.count(vocabulary.eos_id) - ids.count(vocabulary.pad_id)
        self.tokens[feature] += tokens
        self.max_tokens[feature] = max(self.max_tokens[feature], tokens)

    def add(self, other: "CacheStats") -> None:
        """Adds what another part of the split counted."""
        self.examples += other.examples
        for feature, tokens in other.tokens.items():
            self.tokens[feature] += tokens
            self.max_tokens[feature] = max(self.max_tokens[feature], other.max_tokens[feature])

    def to_seqio(self) -> dict[str, int]:
        """As SeqIO's `GetStats` names them; it names no tokens where there is no example."""
        counts = {"examples": self.examples}
        if self.examples:
            for feature, tokens in self.tokens.items():
                counts[f"{feature}_tokens"] = tokens
                counts[f"{feature}_max_tokens"] = self.max_tokens[feature]
        return counts


@dataclass(frozen=True)
class CacheEncoder:
    """Turns rendered examples into the records of a cache.

    Attributes:
        inputs: vocabulary of the inputs.
        targets: vocabulary of the targets.
        rank_choices: one example for each answer choice, as `<task>_score_eval` has.
    """

    inputs: Vocabulary
    targets: Vocabulary
    rank_choices: bool

    @property
    def features(self) -> Mapping[str, Mapping[str, Any]]:
        """Shapes and types of what a record holds."""
        return RANK_FEATURES if self.rank_choices else FEATURES

    def records(self, examples: Sequence[RenderedExample], stats: CacheStats) -> Iterator[bytes]:
        """Gives the records of some examples, in order, and counts them."""
        rows = list(self._rows(examples))
        inputs = self.inputs.encode_batch([row["inputs_pretokenized"] for row in rows])
        targets = self.targets.encode_batch([row["targets_pretokenized"] for row in rows])
        for row, inputs_ids, targets_ids in zip(rows, inputs, targets, strict=True):
            stats.examples += 1
            stats.count("inputs", inputs_ids, self.inputs)
            stats.count("targets", targets_ids, self.targets)
            yield _serialized({"inputs": inputs_ids, "targets": targets_ids, **row})

    def _rows(self, examples: Sequence[RenderedExample]) -> Iterator[dict[str, Any]]:
        for example in examples:
            if not self.rank_choices:
                yield {
                    "inputs_pretokenized": example.inputs,
                    "targets_pretokenized": example.targets,
                }
                continue
            row = int(example.example_id.rpartition("/")[2])
            for number, choice in enumerate(example.answer_choices or ()):
                yield {
                    "inputs_pretokenized": example.inputs,
                    "targets_pretokenized": choice,
                    "idx": [row, number],
                    "is_correct": [int(example.accepts(choice))],
                    "weight": [1.0],
                }


def _serialized(features: Mapping[str, str | list[int] | list[float]]) -> bytes:
    example: Any = _example_class()()
    for name, value in features.items():
        feature = example.features.feature[name]
        if isinstance(value, str):
            feature.bytes_list.value.append(value.encode(errors="replace"))
        elif value and isinstance(value[0], float):
            feature.float_list.value.extend(value)
        else:
            # Naming the list sets it, so that no tokens are told from no feature.
            feature.int64_list.SetInParent()
            feature.int64_list.value.extend(value)
    return example.SerializeToString(deterministic=True)


@cache
def _example_class() -> type[message.Message]:
    """The message class of `tf.train.Example`, made in a pool of its own beside TensorFlow's."""
    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(
        name="instrux/cached_example.proto", package="instrux", syntax="proto3"
    )
    for name, kind in (
        ("BytesList", kinds.TYPE_BYTES),
        ("FloatList", kinds.TYPE_FLOAT),
        ("Int64List", kinds.TYPE_INT64),
    ):
        values = file.message_type.add(name=name).field
        values.add(name="value", number=1, label=kinds.LABEL_REPEATED, type=kind)

    feature = file.message_type.add(name="Feature")
    for number, name in enumerate(("bytes_list", "float_list", "int64_list"), start=1):
        kind = "".join(part.capitalize() for part in name.split("_"))
        _add_message(feature, name, number, kinds.LABEL_OPTIONAL, kind)
    features = file.message_type.add(name="Features")
    entry = features.nested_type.add(name="FeatureEntry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, label=kinds.LABEL_OPTIONAL, type=kinds.TYPE_STRING)
    _add_message(entry, "value", 2, kinds.LABEL_OPTIONAL, "Feature")
    _add_message(features, "feature", 1, kinds.LABEL_REPEATED, "Features.FeatureEntry")
    example = file.message_type.add(name="Example")
    _add_message(example, "features", 1, kinds.LABEL_OPTIONAL, "Features")
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("instrux.Example"))


def _add_message(owner: Any, name: str, number: int, label: Any, kind: str) -> None:
    message_type = descriptor_pb2.FieldDescriptorProto.TYPE_MESSAGE
    owner.field.add(
        name=name, number=number, label=label, type=message_type, type_name=f".instrux.{kind}"
    )
