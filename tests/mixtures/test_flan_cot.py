import pytest

pytest.importorskip("seqio")

from instrux.data import registration
from instrux.data.prompted_task import Skipped
from instrux.errors import InputError
from mixtures import flan_cot  # noqa: F401


def rates(name):
    return registration.mixture_rates(name)


def test_inverted_twins_have_three_tenths():
    found = rates("cot_zsopt_train")
    assert len(found) == 18
    assert found["cot_gsm8k_zero_shot"] == 7_473 - 200
    assert found["cot_gsm8k_inverted_zero_shot"] == pytest.approx(0.3 * (7_473 - 200))
    assert len(rates("cot_fsopt_train")) == 18


def test_one_set_of_the_sample_is_left_out():
    assert set(rates("cot_sample_without_qasc_train")) == {
        f"cot_{name}_zero_shot" for name in ("aqua", "ecqa", "gsm8k", "sensemaking")
    }
    assert set(rates("cot_sample_without_qasc_eval")) == {"cot_qasc_zero_shot"}
    assert all(
        n.endswith("_no_template") for n in rates("cot_sample_without_qasc_no_template_train")
    )


def test_real_rows_give_reasons_before_the_answer(shared_data, monkeypatch):
    monkeypatch.setenv("INSTRUX_MIRROR", str(shared_data))
    for name in rates("cot_sample_train"):
        task = registration.prompted_task(name).resolve()
        number, row = next(iter(task.source.rows("train")))
        for n in range(10):
            example = task.render(row, task.source.example_id("train", n))
            assert not isinstance(example, Skipped)
            assert row["question"] in example.inputs
            assert example.targets.index(row["rationale"]) == 0
            assert row["answer"] in example.targets[len(row["rationale"]) :]
        bare = registration.prompted_task(name.replace("zero_shot", "no_template"))
        example = bare.render(row, task.source.example_id("train", number))
        assert not isinstance(example, Skipped)
        assert example.inputs == row["question"]
        assert example.targets == f"{row['rationale']}\n{row['answer']}"


def test_a_mirror_without_the_file_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("INSTRUX_MIRROR", str(tmp_path))
    source = registration.prompted_task("cot_qed_zero_shot").source
    with pytest.raises(InputError, match=r"cot_qed: no qed_train\.tsv in the folders"):
        source.shards("train")
