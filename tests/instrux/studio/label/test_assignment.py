"""Who is asked what."""

from hypothesis import given
from hypothesis import strategies as st

from instrux.studio.label import labellers
from instrux.studio.label.answers import (
    progress_of,
    records_of,
)
from instrux.studio.label.assignment import assigned, overlap
from instrux.studio.label.study import StudySettings, opened

NAMES = st.lists(st.text("abcdef", min_size=1, max_size=3), unique=True, min_size=1, max_size=5)


@given(NAMES, st.floats(0, 1), st.integers(0, 3))
def test_every_task_is_asked_once_in_a_group_and_the_overlap_twice(group, share, seed):
    tasks = [f"t{i}" for i in range(40)]
    settings = StudySettings(share=share, seed=seed)
    several = overlap(tasks, settings)
    assert len(several) == round(share * 40)
    times = dict.fromkeys(tasks, 0)
    for name in group:
        for task in assigned(tasks, name, group=group, answered={}, settings=settings):
            times[task] += 1
    assert times == {t: min(len(group), 2 if t in several else 1) for t in tasks}


def test_a_labeller_who_joins_takes_only_what_becomes_theirs():
    tasks, settings = [f"t{i}" for i in range(200)], StudySettings(share=0.0)

    def of(name, group, answered=None):
        return set(assigned(tasks, name, group=group, answered=answered or {}, settings=settings))

    before, after = of("ann", ["ann", "bob"]), of("ann", ["ann", "bob", "cy"])
    assert after < before
    assert before - after <= of("cy", ["ann", "bob", "cy"])
    kept = {task: {"ann"} for task in before}
    assert of("ann", ["ann", "bob", "cy"], kept) == before


def test_the_groups_are_asked_apart(make):
    path = make(share=0.0)
    with opened(path, write=True) as database:
        for name, group in (("ann", "training"), ("bob", "held-out")):
            labellers.add(database, name=name, group=group)
        for name in ("ann", "bob"):
            assert len(progress_of(database, labellers.named(database, name)).tasks) == 4


def test_whoever_is_let_go_leaves_open_tasks_to_others_and_keeps_answers(make, answer_all):
    path = make(share=0.0)
    answer_all(path, "ann")
    with opened(path, write=True) as database:
        labellers.add(database, name="bob")
        assert not progress_of(database, labellers.named(database, "bob")).tasks
        labellers.retire(database, "ann")
        assert not progress_of(database, labellers.named(database, "bob")).tasks
        assert len(list(records_of(database))) == 4
