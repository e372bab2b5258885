"""Made-up rows with the lengths of real instruction data, for benchmarks without a data folder.

Lengths follow those of 20,000 examples from seven chain-of-thought files and 1,654 tasks of
Natural Instructions, in tokens of a vocabulary of 32,000 pieces trained on them: inputs have a
median of 47 tokens, a 90th percentile of 145 and a 99th of 576, targets of 5, 60 and 116. (The
60 is not measured: it makes the mean come out at the measured 19.5.) Words are drawn by Zipf's law
from 20,000 made-up ones.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

Pair = tuple[str, str]

_QUANTILES = np.array([0.0, 0.5, 0.9, 0.99, 1.0])
_INPUTS = np.array([8, 47, 145, 576, 1200])
_TARGETS = np.array([1, 5, 60, 116, 160])
_TOKENS_A_WORD = 1.4
_WORDS = 20_000
_SYLLABLES = 90

_SENTENCE, _PASSAGE, _PHRASE = (15, 45), (60, 250), (1, 8)
_PROMPT_FIELDS: dict[tuple[str, str, str], dict[str, Any]] = {
    ("super_glue", "rte", "train"): {"premise": _PASSAGE, "hypothesis": _SENTENCE, "label": 2},
    ("ag_news", "default", "test"): {"text": _PASSAGE, "label": 4},
    ("cosmos_qa", "default", "validation"): {
        "context": _PASSAGE,
        "question": _SENTENCE,
        **{f"answer{number}": _SENTENCE for number in range(4)},
        "label": 4,
    },
    ("cos_e", "v1.11", "train"): {
        "id": _PHRASE,
        "question": _SENTENCE,
        "choices": [_PHRASE] * 5,
        "abstractive_explanation": _SENTENCE,
        "extractive_explanation": _PHRASE,
    },
    ("rotten_tomatoes", "default", "train"): {"text": _SENTENCE, "label": 2},
    ("glue", "mrpc", "test"): {"sentence1": _SENTENCE, "sentence2": _SENTENCE, "label": 2},
    ("imdb", "default", "train"): {"text": (150, 500), "label": 2},
    ("paws", "labeled_final", "train"): {
        "sentence1": _SENTENCE,
        "sentence2": _SENTENCE,
        "label": 2,
    },
}
"""Fields of datasets that `render_job.py` renders: lengths of a text, or the number of labels."""


def lengths(count: int, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Token lengths of inputs and of targets, each int64 `[count]`, neither cut."""
    draw = np.random.default_rng(seed)
    sides = []
    for points in (_INPUTS, _TARGETS):
        logs = np.interp(draw.random(count), _QUANTILES, np.log(points))
        sides.append(np.maximum(1, np.exp(logs).round()).astype(np.int64))
    return sides[0], sides[1]


def pairs(count: int, *, seed: int = 0) -> list[Pair]:
    """Inputs and targets as text."""
    draw = np.random.default_rng(seed + 1)
    words = _words(draw)
    return [
        (_text(words, draw, inputs), _text(words, draw, targets))
        for inputs, targets in zip(*lengths(count, seed=seed), strict=True)
    ]


def write_files(
    rows: list[Pair], folder: Path, *, files: int, stem: str = "rows"
) -> tuple[list[str], list[str]]:
    """Writes rows as JSON lines (`prompt`, `answer`) and as tab-separated lines of the same text.

    Text is put on one line each, so that both hold the same.

    Returns:
        The paths of the JSON lines and of the tab-separated files, the same rows in each pair.
    """
    json_paths, tsv_paths = [], []
    for number in range(files):
        part = [tuple(" ".join(text.split()) for text in row) for row in rows[number::files]]
        json_paths.append(folder / f"{stem}-{number:05d}.jsonl")
        tsv_paths.append(folder / f"{stem}-{number:05d}.tsv")
        with json_paths[-1].open("w") as file:
            file.writelines(json.dumps({"prompt": i, "answer": t}) + "\n" for i, t in part)
        tsv_paths[-1].write_text("".join(f"{i}\t{t}\n" for i, t in part))
    return [str(path) for path in json_paths], [str(path) for path in tsv_paths]


def write_prompt_rows(folder: Path, *, rows: int = 1000, seed: int = 0) -> None:
    """Writes rows of eight public datasets' fields as `dataset/config/split.jsonl`."""
    draw = np.random.default_rng(seed)
    words = _words(draw)

    def text(low: int, high: int) -> str:
        return _text(words, draw, int(draw.integers(low, high)))

    def value(kind: Any) -> Any:
        if isinstance(kind, list):
            return [value(each) for each in kind]
        return text(*kind) if isinstance(kind, tuple) else int(draw.integers(kind))

    for (dataset, config, split), fields in _PROMPT_FIELDS.items():
        path = folder / dataset / config / f"{split}.jsonl"
        path.parent.mkdir(parents=True)
        with path.open("w") as file:
            for row in range(rows):
                made = {name: value(kind) for name, kind in fields.items()}
                if "choices" in made:
                    made["answer"] = made["choices"][row % len(made["choices"])]
                file.write(json.dumps(made) + "\n")


def train_vocabulary(rows: list[Pair], folder: Path, *, size: int = 8000) -> str:
    """Trains a SentencePiece model with T5's special ids on some of the rows; gives its path."""
    import sentencepiece

    texts = (text for row in rows[:20_000] for text in row)
    prefix = folder / "made_up"
    sentencepiece.SentencePieceTrainer.Train(
        sentence_iterator=iter(texts),
        model_prefix=str(prefix),
        vocab_size=size,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        hard_vocab_limit=False,
        num_threads=1,
        minloglevel=2,
    )
    return f"{prefix}.model"


def _words(draw: np.random.Generator) -> np.ndarray:
    consonants, vowels = "bcdfghjklmnprstvwz", "aeiou"
    syllables = np.array([a + b for a in consonants for b in vowels][:_SYLLABLES])
    sizes = draw.integers(1, 5, _WORDS)
    return np.array(["".join(draw.choice(syllables, size)) for size in sizes])


def _text(words: np.ndarray, draw: np.random.Generator, tokens: int) -> str:
    count = max(1, round(tokens / _TOKENS_A_WORD))
    ranks = np.exp(draw.random(count) * np.log(len(words))).astype(np.int64) - 1
    return " ".join(words[ranks])
