import pytest

pytest.importorskip("seqio")

from instrux.data import registration
from instrux.data.prompted_task import Skipped
from instrux.errors import InputError
from mixtures import flan_2022  # noqa: F401


def rates(name):
    return registration.mixture_rates(name)


@pytest.mark.parametrize(
    ("form", "tasks"), [("zsopt", 69), ("zsnoopt", 69), ("fsopt", 138), ("fsnoopt", 138)]
)
def test_every_dataset_is_in_every_form(form, tasks):
    found = rates(f"flan69_{form}_train")
    assert len(found) == tasks
    assert len({name.partition("_template_")[0] for name in found}) == 69
    assert max(found.values()) == 30_000  # 2022's cap, where 2021's is 3,000


def test_forms_have_their_options():
    assert "rte_template_0to10_non_deter_opt_zero_shot" in rates("flan69_zsopt_train")
    assert "rte_template_0to10_no_opt_zero_shot" in rates("flan69_zsnoopt_train")
    assert "samsum_template_0to10_zero_shot" in rates("flan69_zsopt_train")
    assert "rte_template_mix_no_opt_five_shot" in rates("flan69_fsnoopt_train")
    assert "rte_template_0to10_x_shot" in rates("flan69_fsopt_train")


def test_drawn_layouts_differ_between_examples():
    task = registration.prompted_task("rte_template_0to10_non_deter_opt_zero_shot").resolve()
    row = {"premise": "It rains.", "hypothesis": "It is wet.", "label": 0}
    rendered = [task.render(row, f"x/default/train/{10 * n}") for n in range(8)]
    assert len({each.inputs for each in rendered if not isinstance(each, Skipped)}) > 4


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("rte_template_mix_zero_shot", "no such form"),
        ("rte_template_0to10_five_shot", "no such form"),
        ("rte_template_0_non_deter_opt_five_shot", "no such form"),
        ("samsum_template_0to10_no_opt_zero_shot", "shows no options"),
    ],
)
def test_forms_that_cannot_be_are_told(name, told):
    with pytest.raises(InputError, match=told):
        registration.find_name(name)


def test_all_four_forms_have_the_same_share():
    found = rates("flan69_2022_train")
    few_shot = sum(rate for name, rate in found.items() if not name.endswith("_zero_shot"))
    assert few_shot / sum(found.values()) == pytest.approx(0.5)
    drawn = sum(rate for name, rate in found.items() if "_non_deter_opt_" in name)
    assert 0 < drawn / sum(found.values()) < 0.25
