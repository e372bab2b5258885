"""Names that a rule defines are registered when they are first asked for, and not before."""

import pytest

seqio = pytest.importorskip("seqio")

from instrux.data import name_families, registration  # noqa: E402
from instrux.data.prompted_task import PromptedTask  # noqa: E402
from instrux.data.sources import JsonLinesSource  # noqa: E402
from instrux.errors import InputError  # noqa: E402
from instrux.prompts import Template  # noqa: E402

SOURCE = JsonLinesSource("shop", files={"train": "/nowhere/rows.jsonl"})


@pytest.fixture(autouse=True)
def own_registries(monkeypatch):
    monkeypatch.setattr(seqio.TaskRegistry, "_REGISTRY", {})
    monkeypatch.setattr(seqio.MixtureRegistry, "_REGISTRY", {})
    monkeypatch.setattr(name_families, "_FAMILIES", {})
    monkeypatch.setenv("INSTRUX_VOCABULARY", "bytes:0")


@pytest.fixture
def tasks():
    template = Template("ask", "{{question}}|||{{answer}}")
    for number in range(3):
        registration.add_prompted_task(
            PromptedTask(f"acme:t{number}", SOURCE, template, {"train": "train"})
        )


@pytest.fixture
def asked(tasks):
    """A family of mixtures of the first N tasks; gives the names that it was asked to add."""
    names = []

    def add(match):
        names.append(match[0])
        if not 1 <= int(match[1]) <= 3:
            raise InputError(f"{match[0]}: give 1 to 3 tasks")
        rates = {f"acme:t{number}": 1 + number for number in range(int(match[1]))}
        return registration.add_mixture(match[0], rates)

    registration.add_name_family("acme:first{N}", r"acme:first(\d+)", add)
    return names


def test_declaring_registers_nothing(asked):
    assert not asked
    assert not list(seqio.MixtureRegistry.names())
    assert [family.spelling for family in name_families.name_families()] == ["acme:first{N}"]


@pytest.mark.parametrize(
    ("look_up", "expected"),
    [
        (registration.mixture_rates, {"acme:t0": 1.0, "acme:t1": 2.0}),
        (lambda name: registration.resolve_names([name]), ["acme:t0", "acme:t1"]),
        (registration.find_name, "acme:first2"),
    ],
)
def test_looking_a_name_up_registers_it_with_seqio(asked, look_up, expected):
    assert look_up("acme:first2") == expected
    assert list(seqio.MixtureRegistry.names()) == ["acme:first2"]
    names = [task.name for task in seqio.get_mixture_or_task("acme:first2").tasks]
    assert names == ["acme:t0", "acme:t1"]


def test_a_name_is_added_once(asked):
    for _ in range(3):
        registration.mixture_rates("acme:first3")
    assert asked == ["acme:first3"]


def test_members_of_a_mixture_may_be_of_a_family(asked):
    registration.add_mixture("acme:all", {"acme:first2": 3, "acme:t2": 1})
    assert registration.mixture_rates("acme:all") == {"acme:t0": 1, "acme:t1": 2, "acme:t2": 1}


def test_what_a_family_refuses_is_said_in_its_words_and_registers_nothing(asked):
    with pytest.raises(InputError, match=r"^acme:first7: give 1 to 3 tasks$"):
        registration.mixture_rates("acme:first7")
    assert not list(seqio.MixtureRegistry.names())


def test_a_name_that_no_family_matches_whole_is_unknown(asked):
    with pytest.raises(InputError, match="unknown task or mixture 'acme:first2b'"):
        registration.find_name("acme:first2b")
    assert not asked


def test_a_mixture_of_a_family_is_no_task(asked):
    with pytest.raises(InputError, match="'acme:first2' is a mixture, and a task is needed"):
        registration.prompted_task("acme:first2")


def test_a_registered_name_goes_before_a_family(asked):
    registration.add_mixture("acme:first1", {"acme:t2": 1})
    assert registration.mixture_rates("acme:first1") == {"acme:t2": 1.0}
    assert not asked


@pytest.mark.parametrize(
    ("spelling", "values", "names"),
    [
        ("a{1..3}_{train,eval}", {}, {f"a{n}_{use}" for n in "123" for use in ("train", "eval")}),
        ("a{n}[_most]", {"n": (1, 10)}, {"a1", "a1_most", "a10", "a10_most"}),
        ("a[_without_{set}]", {"set": "xy"}, {"a", "a_without_x", "a_without_y"}),
        ("a{N}", {}, set()),
        ("a[_seed{S}]", {}, {"a"}),
        ("a", {}, {"a"}),
    ],
)
def test_a_spelling_stands_for_names(spelling, values, names):
    assert set(name_families.spelled(spelling, values)) == names


def test_names_of_families_are_listed_by_kind_and_none_is_registered(asked):
    add = registration.add_mixture
    registration.add_name_family("acme:{x,y}", "acme:[xy]", lambda match: add(match[0], {}))
    registration.add_name_family("acme:t_{1..2}", r"acme:t_\d", lambda match: "", kind="tasks")
    assert name_families.listed_names("mixtures") == {"acme:x", "acme:y"}
    assert name_families.listed_names("tasks") == {"acme:t_1", "acme:t_2"}
    assert not list(seqio.MixtureRegistry.names())


def test_a_glob_that_matches_nothing_registered_is_matched_against_listed_names(tasks):
    add = registration.add_mixture
    registration.add_name_family(
        "acme:{both,one}", "acme:(both|one)", lambda match: add(match[0], {"acme:t1": 1})
    )
    assert registration.resolve_names(["acme:*"]) == ["acme:t0", "acme:t1", "acme:t2"]
    assert registration.resolve_names(["acme:b*"]) == ["acme:t1"]
    with pytest.raises(InputError, match=r"unknown .*'acme:bothh'. Did you mean 'acme:both'"):
        registration.find_name("acme:bothh")
