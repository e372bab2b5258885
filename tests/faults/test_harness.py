"""A few seeded rounds of the harness, and the faults that it found, each by itself."""

import pytest

from instrux.errors import InputError
from instrux.training.checkpoints import load_run
from tests.faults.harness import damage, disturbed, fuzz, hostile, stages, trials
from tests.faults.harness.__main__ import table
from tests.faults.harness.trials import Kind, Outcome, Result, WrongError

ROUNDS = 8
OFTEN = [
    kind
    for kind in (*damage.kinds(), *fuzz.kinds(), *hostile.kinds())
    if "trained on" not in kind.name  # each trial takes a second or two
]
STAGES = [kind for kind in disturbed.kinds() if not kind.costly]
QUICK = [(kind, ROUNDS) for kind in OFTEN] + [(kind, 6) for kind in STAGES]


@pytest.mark.parametrize(("kind", "rounds"), QUICK, ids=lambda each: getattr(each, "name", ""))
def test_a_seeded_round_finds_no_fault(kind, rounds, monkeypatch):
    monkeypatch.setenv("INSTRUX_CACHE", "")  # the trials set their own; this brings it back
    monkeypatch.setenv(trials.CANARY, "")
    results = [trials.run(kind, seed) for seed in range(rounds)]
    assert [r for r in results if r.outcome is Outcome.FAULT] == []


def attempt_of(raises):
    def attempt(draw, folder):
        raise raises

    return attempt


@pytest.mark.parametrize(
    "raised", [WrongError("lost a row"), KeyError("x"), InputError("two\nlines"), InputError("bad")]
)
def test_the_harness_tells_what_must_not_be(raised, monkeypatch):
    monkeypatch.setenv("INSTRUX_CACHE", "")
    monkeypatch.setenv(trials.CANARY, "")
    kind = Kind("group", "kind", attempt_of(raised), ("name",))
    assert trials.run(kind, 0).outcome is Outcome.FAULT
    named = Kind("group", "kind", attempt_of(InputError("name: mend it")), ("name",))
    assert trials.run(named, 0).outcome is Outcome.REFUSED


def test_code_that_ran_is_a_fault(monkeypatch):
    monkeypatch.setenv("INSTRUX_CACHE", "")
    monkeypatch.setenv(trials.CANARY, "")

    def attempt(draw, folder):
        hostile.Outside().method()
        return Outcome.HELD

    assert trials.run(Kind("group", "kind", attempt), 0).what == "hostile code ran"


def test_figures_are_counted_by_kind():
    kind = Kind("group", "kind", attempt_of(KeyError()))
    page = table({kind: [Result(kind, 0, Outcome.HELD), Result(kind, 1, Outcome.FAULT)]})
    assert "| kind | 2 | 0 | 1 | 0 | 0 | 1 |" in page


# --- What it found ---------------------------------------------------------------------------------


def test_a_changed_count_in_a_manifest_is_refused(tmp_path):
    damage.make_rendered(tmp_path)
    (path,) = tmp_path.glob("rendered/*/manifest.*")
    text = path.read_text()
    assert '"rows": 80' in text
    path.write_text(text.replace('"rows": 80', '"rows": 90'))
    with pytest.raises(InputError, match="damaged"):
        damage.read_rendered(tmp_path)


def test_changed_parameters_of_a_model_alone_are_refused(tmp_path):
    import jax
    import orbax.checkpoint as ocp

    damage.make_parameters(tmp_path)
    params = jax.tree.map(lambda leaf: leaf + 1, load_run(tmp_path).params)
    item = tmp_path / "checkpoints" / "3" / "params"
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(item, params, force=True)
    with pytest.raises(InputError, match="is not what was saved"):
        load_run(tmp_path)


def test_training_on_a_damaged_cache_is_told(tmp_path):
    damage.make_cached(tmp_path)
    path = sorted(tmp_path.glob("cache/*/*.tfrecord-*"))[0]
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match="harness_numbers: its examples cannot be read") as error:
        damage.train_on_cache(tmp_path)
    assert "\n" not in str(error.value)


def test_a_vocabulary_that_cannot_be_written_is_told(tmp_path):
    damage.make_rendered(tmp_path)
    (tmp_path / "vocab").write_text("a file where a folder should be")
    with pytest.raises(InputError, match=r"vocab.*cannot be used"):
        stages.by_name("vocab").run(tmp_path, ())
