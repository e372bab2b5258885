"""What a run's folder says about its model: `<model_dir>/model.json` and its own vocabulary file.

model.json          sizes and settings of the model, vocabulary and its digest, lengths of rows
vocabulary.model    a copy of the SentencePiece model or the merges, so that a run can be moved
tokenizer.json      the copy of such a vocabulary, and tokenizer_config.json, with what ends a text
checkpoints/        see `checkpoints`
metrics.jsonl       see `metrics_log`
config.gin          the configuration that took effect
"""

import dataclasses
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from instrux.data.tokenizer_json_vocabulary import TOKENIZER_CONFIG, config_with_ends
from instrux.data.vocabularies import VocabularySpec
from instrux.errors import InputError
from instrux.models.families import CONFIGS, ModelConfig, family_of

_DESCRIPTION = "model.json"
_VOCABULARY, _TOKENIZER_JSON = "vocabulary.model", "tokenizer.json"
VOCABULARY_FILES = (_VOCABULARY, _TOKENIZER_JSON, TOKENIZER_CONFIG)
"""All that a run's copy of its vocabulary may consist of."""

# Settings that change how a model is computed and not what it computes; a run may change them.
_CHANGEABLE = frozenset(
    {
        "dropout_rate",
        "dtype",
        "remat",
        "scan_layers",
        "random_bits",
        "attention",
        "logits_chunk_mib",
        "prompt_loss_weight",
        "prompt_examples",
        "lora_dropout",
    }
)


def is_run(folder: str | Path) -> bool:
    """Whether a folder is that of a run of ours."""
    return (Path(folder) / _DESCRIPTION).is_file()


@dataclass(frozen=True)
class RunDescription:
    """The model of a run.

    Attributes:
        model: its sizes and settings.
        vocabulary: the vocabulary of its tokens.
        vocabulary_digest: sha256 of the vocabulary's content.
        inputs_length: encoder positions of a training row.
        targets_length: decoder positions of a training row.
        inputs_eos: whether the inputs it was trained on end with the end-of-sequence id.
        base: where the parameters lie that a run of adapters does not hold; None where it holds
            all.
    """

    model: ModelConfig
    vocabulary: VocabularySpec
    vocabulary_digest: str
    inputs_length: int
    targets_length: int
    inputs_eos: bool = False
    base: str | None = None

    @classmethod
    def of(
        cls,
        model: ModelConfig,
        vocabulary: VocabularySpec,
        *,
        inputs_length: int,
        targets_length: int,
        inputs_eos: bool = False,
        base: str | None = None,
    ) -> "RunDescription":
        """Describes a model; reads the vocabulary's file for its digest."""
        digest = vocabulary.digest()
        return cls(model, vocabulary, digest, inputs_length, targets_length, inputs_eos, base)

    def write(self, model_dir: Path) -> None:
        """Writes `model.json`, atomically, and the copy of the vocabulary's file."""
        model_dir.mkdir(parents=True, exist_ok=True)
        _copy_vocabulary(self.vocabulary, model_dir)
        content = {
            "family": family_of(self.model),
            "model": dataclasses.asdict(self.model),
            "vocabulary": dataclasses.asdict(self.vocabulary),
            "vocabulary_digest": self.vocabulary_digest,
            "feature_lengths": {"inputs": self.inputs_length, "targets": self.targets_length},
            "inputs_eos": self.inputs_eos,
            "base": self.base,
        }
        _write(model_dir / _DESCRIPTION, json.dumps(content, indent=2) + "\n")

    @classmethod
    def read(cls, model_dir: str | Path) -> "RunDescription":
        """Reads `model.json`; the vocabulary is the run's own copy where there is one.

        Raises:
            InputError: the file is absent, or is not what `write` writes.
        """
        path = Path(model_dir) / _DESCRIPTION
        if not path.exists():
            raise InputError(
                f"{model_dir}: no run here ({_DESCRIPTION} is absent); give a MODEL_DIR."
            )
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            vocabulary = VocabularySpec(**content["vocabulary"])
            copy = path.with_name(_name_of_copy(vocabulary))
            if vocabulary.path is not None and copy.exists():
                vocabulary = dataclasses.replace(vocabulary, path=str(copy))
            return cls(
                model=CONFIGS[content.get("family", "t5")](**content["model"]),
                vocabulary=vocabulary,
                vocabulary_digest=content["vocabulary_digest"],
                inputs_length=content["feature_lengths"]["inputs"],
                targets_length=content["feature_lengths"]["targets"],
                inputs_eos=content.get("inputs_eos", False),
                base=content.get("base"),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"{path}: not a run's description ({type(error).__name__}: {error}); restore the file"
                " or give another MODEL_DIR."
            ) from error

    def check_continues(self, earlier: "RunDescription", model_dir: Path) -> None:
        """Checks that a run with this description can go on where `earlier` stopped.

        Raises:
            InputError: the first field that differs, with both values.
        """
        old, new = dataclasses.asdict(earlier.model), dataclasses.asdict(self.model)
        families = family_of(earlier.model), family_of(self.model)
        pairs: list[tuple[str, Any, Any]] = [("family", *families)]
        pairs += [
            (f"model.{name}", old[name], new[name])
            for name in old
            if name not in _CHANGEABLE and families[0] == families[1]
        ]
        for name in ("vocabulary_digest", "inputs_length", "targets_length", "inputs_eos", "base"):
            pairs.append((name, getattr(earlier, name), getattr(self, name)))
        for name, before, now in pairs:
            if before != now:
                raise InputError(
                    f"{model_dir / _DESCRIPTION}: the run there has {name} = {before}, this one has"
                    f" {now}; set it back or choose another MODEL_DIR."
                )


def _name_of_copy(vocabulary: VocabularySpec) -> str:
    return _TOKENIZER_JSON if vocabulary.kind == "tokenizer_json" else _VOCABULARY


def _copy_vocabulary(vocabulary: VocabularySpec, model_dir: Path) -> None:
    copy, source = model_dir / _name_of_copy(vocabulary), vocabulary.path
    if source is None or (copy.exists() and copy.samefile(source)):
        return
    if vocabulary.kind == "tokenizer_json":
        _write(model_dir / TOKENIZER_CONFIG, config_with_ends(source))
    partial = copy.with_name(copy.name + ".partial")
    shutil.copyfile(source, partial)
    partial.replace(copy)


def _write(file: Path, text: str) -> None:
    partial = file.with_name(file.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(file)
