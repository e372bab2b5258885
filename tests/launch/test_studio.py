"""What `instrux studio` puts together: registered names, and mistakes told at the start."""

from pathlib import Path

import pytest

from instrux.errors import InputError
from launch.studio import Shown, subjects
from launch.studio_declarations import RegisteredDeclarations


def test_declared_mixtures_and_those_of_a_rule_have_their_facts():
    declared = RegisteredDeclarations((), ())
    assert declared.ready(300)
    assert {"t0_train", "lexicon_train"} <= set(declared.mixtures())
    facts = declared.mixture("lexicon_train")
    assert sum(task.probability for task in facts.tasks) == pytest.approx(1)
    assert any(not each.trained_on for each in facts.held_out)
    families = declared.families("mixtures")
    clusters = families["flan_paper62[_paracrawl][_without_{cluster}]_{kind}_{train,eval}"]
    assert "flan_paper62_without_reading_comprehension_10templates_train" in clusters
    assert set(clusters) <= set(declared.mixtures())
    name = "t0_train_p1_seed91"
    assert name not in declared.mixtures()
    assert declared.mixture(name).mixture == name
    assert declared.task("super_glue_rte_can_we_infer_score_eval")["dataset"] == "super_glue"


def test_a_module_that_cannot_be_imported_is_told_by_every_page():
    declared = RegisteredDeclarations(("no_such_module_of_mine",), ())
    for _ in range(2):
        with pytest.raises(InputError, match="no_such_module_of_mine"):
            declared.ready(300)


def test_parts_follow_from_what_is_named(tmp_path):
    shown = Shown(
        runs=[tmp_path], templates=[str(tmp_path)], own_templates=tmp_path / "new" / "own"
    )
    titles = [subject.title for subject in subjects(shown)]
    assert titles == ["Templates", "Mixtures", "Runs", "Evaluations"]
    assert (tmp_path / "new" / "own").is_dir()
    with_data = [subject.title for subject in subjects(Shown(data_dirs=[tmp_path]))]
    assert "Packed" in with_data


@pytest.mark.parametrize(
    "shown",
    [
        Shown(runs=[Path("absent")]),
        Shown(data_dirs=[Path("absent")]),
        Shown(templates=["promptsource-9"]),
        Shown(study=Path("absent.db")),
    ],
)
def test_what_is_not_there_is_told_at_the_start(shown, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"absent|promptsource-9"):
        subjects(shown)
