"""Rows of the public sets: drawn, paired, taken apart and given exemplars."""

import collections
import json

import pytest

from instrux.data import public_rows
from instrux.errors import InputError


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    """Writes rows of a dataset into a mirror."""
    monkeypatch.setenv("INSTRUX_MIRROR", str(tmp_path))

    def write(dataset, split, rows):
        path = tmp_path / dataset / "default" / f"{split}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))

    return write


def test_toxicity_is_drawn_evenly_over_its_range(mirror):
    # Nine in ten of the rows are hardly toxic, as in the real set.
    levels = [0.01] * 900 + [n / 100 for n in range(5, 105, 1)]
    rows = [{"prompt": {"text": str(n), "toxicity": min(t, 1.0)}} for n, t in enumerate(levels)]
    mirror("rtp", "train", [*rows, {"prompt": {"text": "unscored", "toxicity": None}}])
    drawn = list(public_rows.toxicity_rows("train", hub=("rtp", None), drawn=60, bins=20))
    parts = collections.Counter(min(19, int(r["prompt"]["toxicity"] * 20)) for r in drawn)
    assert len(drawn) == 60 and set(parts.values()) == {3}
    assert drawn == list(public_rows.toxicity_rows("train", hub=("rtp", None), drawn=60, bins=20))
    other = list(public_rows.toxicity_rows("train", hub=("rtp", None), drawn=60, seed=1))
    assert other != drawn


def test_toxicity_takes_all_where_there_are_not_enough(mirror):
    mirror("rtp", "train", [{"prompt": {"text": "a", "toxicity": 1.0}}] * 3)
    assert len(list(public_rows.toxicity_rows("train", hub=("rtp", None)))) == 3
    mirror("rtp", "train", [{"prompt": "a"}])
    with pytest.raises(InputError, match="row 1: no `prompt` with `text` and `toxicity`"):
        list(public_rows.toxicity_rows("train", hub=("rtp", None)))


def test_winogender_pairs_the_genders_of_named_participants(mirror):
    sentences = {
        f"clerk.{who}.{answer}.{gender}.txt": f"The clerk saw {who}, {gender} {answer}."
        for who in ("buyer", "someone")
        for answer in (0, 1)
        for gender in ("male", "female", "neutral")
    }
    rows = [{"sentid": key, "sentence": text} for key, text in sentences.items()]
    mirror("winogender", "test", rows)
    pairs = list(public_rows.winogender_pairs("test", hub=("winogender", None), files=()))
    assert pairs == [
        {"sentences": ["The clerk saw buyer, male 0.", "The clerk saw buyer, female 0."]},
        {"sentences": ["The clerk saw buyer, male 1.", "The clerk saw buyer, female 1."]},
    ]
    mirror("winogender", "test", rows[:1])
    with pytest.raises(InputError, match=r"clerk\.buyer\.0 has no sentence of both genders"):
        list(public_rows.winogender_pairs("test", hub=("winogender", None), files=()))


@pytest.fixture
def passages(mirror):
    rows = [{"context": f"p{n // 2}", "question": f"q{n}"} for n in range(12)]
    mirror("squad", "validation", rows)
    mirror("squad", "train", [{"context": f"t{n // 3}", "question": f"t{n}"} for n in range(15)])
    return {"rows": "instrux.data.public_rows:plain_rows", "arguments": {"hub": ("squad", None)}}


def test_exemplars_are_of_other_passages_and_drawn_by_seed(passages):
    def shots(**options):
        rows = public_rows.with_shots("validation", **passages, group="context", **options)
        return [(row["question"], row["context"], row["shots"]) for row in rows]

    own = shots(shots=4, shots_split="validation")
    for question, context, found in own:
        seen = [each["context"] for each in found]
        assert len(found) == len(set(seen)) == 4 and context not in seen, question
    assert own == shots(shots=4, shots_split="validation")
    assert own != shots(shots=4, shots_split="validation", seed=1)
    assert all(each["question"].startswith("t") for *_, found in shots(shots=5, shots_split="train") for each in found)  # fmt: skip
    with pytest.raises(InputError, match="6 exemplars are wanted and 5 rows can be drawn"):
        shots(shots=6, shots_split="train")


def test_a_row_is_never_its_own_exemplar(passages):
    rows = list(
        public_rows.with_shots("validation", **passages, shots=11, shots_split="validation")
    )
    for row in rows:
        assert row["question"] not in {each["question"] for each in row["shots"]}
    with pytest.raises(InputError, match="12 exemplars are wanted and 11"):
        list(public_rows.with_shots("validation", **passages, shots=12, shots_split="validation"))


def test_some_rows_are_drawn_in_order(mirror):
    mirror("any", "test", [{"n": n} for n in range(50)])
    drawn = [row["n"] for row in public_rows.plain_rows("test", hub=("any", None), drawn=20)]
    assert len(drawn) == 20 and drawn == sorted(drawn) and drawn != list(range(20))
