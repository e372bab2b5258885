"""Other forms of tasks and mixtures by a suffix to their names."""

import pytest

seqio = pytest.importorskip("seqio")

from instrux.data import registration  # noqa: E402
from instrux.errors import InputError  # noqa: E402
from instrux.prompts import Template, TemplateCollection, TemplateReference  # noqa: E402
from instrux.prompts.mends import MendedReference  # noqa: E402
from mixtures import t0 as t0_mixtures  # noqa: E402, F401
from tasks import t0, t0_table, variants  # noqa: E402

# Row counts and sums of rates of the public registration; see tests/mixtures/test_t0.py.
T0_TASKS, T0_RATES = 313, 17_277_798


@pytest.fixture(autouse=True)
def own_copies_of_the_registries(monkeypatch):
    for registry in (seqio.TaskRegistry, seqio.MixtureRegistry):
        monkeypatch.setattr(registry, "_REGISTRY", dict(registry._REGISTRY))


@pytest.fixture
def older_release():
    try:
        return TemplateCollection.load(variants.PAPER_RELEASE)
    except InputError as error:
        pytest.skip(f"no templates: {error}")


@pytest.fixture
def release():
    try:
        return TemplateCollection.load(t0_table.RELEASE)
    except InputError as error:
        pytest.skip(f"no templates: {error}")


def test_a_form_is_registered_with_its_twin_when_it_is_asked_for(monkeypatch):
    names = {"sciq_Multiple_Choice_mended", "sciq_Multiple_Choice_mended_score_eval"}
    others = {name: seqio.TaskRegistry.get(name) for name in seqio.TaskRegistry.names()}
    for name in names & set(others):  # another test may have asked for them
        del others[name]
    monkeypatch.setattr(seqio.TaskRegistry, "_REGISTRY", others)
    assert not names & set(seqio.TaskRegistry.names())
    task = registration.prompted_task("sciq_Multiple_Choice_mended")
    assert names <= set(seqio.TaskRegistry.names())
    plain = registration.prompted_task("sciq_Multiple_Choice")
    assert isinstance(task.template, MendedReference)
    assert task.template.reference == plain.template
    assert (task.source, task.metrics, task.train_examples) == (
        plain.source,
        plain.metrics,
        plain.train_examples,
    )


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("sciq_Multiple_Choice_mended_score_eval", "sciq_Multiple_Choice_mended_score_eval"),
        ("sciq_Multiple_Choice_score_eval_mended", "sciq_Multiple_Choice_mended_score_eval"),
        ("cos_e_v1_11_rationale_unstripped", "cos_e_v1.11_rationale_unstripped"),
        ("samsum_Summarize__promptsource_0_1_0", "samsum_Summarize__promptsource_0.1.0"),
        ("sciq_Multiple_Choice_mended_unstripped", "sciq_Multiple_Choice_mended_unstripped"),
        ("t0_train_mended_unstripped", "t0_train_mended_unstripped"),
        ("t0_train_p2_mended", "t0_train_p2_mended"),
    ],
)
def test_names_of_forms_in_their_spellings(asked, found):
    from mixtures import t0_ablations  # noqa: F401

    assert registration.find_name(asked) == found


@pytest.mark.parametrize(
    ("asked", "complaint"),
    [
        ("xsum_DOC_tldr_mended", "task 'xsum_DOC_tldr' has no known defect that can be mended"),
        (
            "super_glue_copa__which_may_be_caused_by_mended",
            "has no known defect that can be mended",
        ),
        ("xsum_DOC_tldr_unstripped_score_eval", "has no twin for rank classification"),
        ("bias_fairness_eval_score_eval_mended", "every task of mixture .* has no known defect"),
        ("xsum_DOC_tldx_mended", "'xsum_DOC_tldx_mended': unknown .* Did you mean 'xsum_DOC_tldr'"),
        ("t0_train_mended_score_eval", "the mixture 't0_train' in this form is 't0_train_mended'"),
        ("xsum_DOC_tldr_unstripped_unstripped", "is unstripped already"),
    ],
)
def test_a_form_that_there_is_not_is_refused_in_one_line(asked, complaint):
    with pytest.raises(InputError, match=complaint) as caught:
        registration.find_name(asked)
    assert "\n" not in str(caught.value)


def test_a_mixture_keeps_its_rates_and_tasks_without_a_mend_stay():
    plain = registration.mixture_rates("t0_train")
    mended = registration.mixture_rates("t0_train_mended")
    assert (len(mended), sum(mended.values())) == (T0_TASKS, T0_RATES)
    changed = {name.removesuffix("_mended") for name in mended if name not in plain}
    assert {name: rate for name, rate in plain.items() if name in changed} == {
        name.removesuffix("_mended"): rate for name, rate in mended.items() if name not in plain
    }
    datasets = {registration.prompted_task(name).source.dataset for name in changed}
    assert datasets == {
        "imdb",
        "sciq",
        "social_i_qa",
        "wiqa",
        "trec",
        "multi_news",
        "qasc",
        "cosmos_qa",
        "glue",
    }


def test_the_evaluation_of_winogrande_can_be_mended_and_of_nli_stays():
    mended = registration.resolve_names(["t0_eval_score_eval_mended"])
    assert len(mended) == 116
    changed = {name for name in mended if name.endswith("_mended_score_eval")}
    labels = {registration.prompted_task(name).source.label for name in changed}
    assert labels == {"winogrande/winogrande_xl", "hellaswag"}


def test_unstripped_texts_keep_their_outer_white_space_as_the_published_p3_has_them(release):
    del release
    row = {
        "context": "Kai fell.",
        "question": "What next?",
        "answerA": "gets up",
        "answerB": "flies",
        "answerC": "sings",
        "label": "1",
    }
    name = "social_i_qa_Generate_answer"
    stripped = registration.prompted_task(name).resolve().render(row, "x")
    raw = registration.prompted_task(f"{name}_unstripped").resolve().render(row, "x")
    assert stripped.inputs == "Kai fell.\n\nGiven the context: What next?"
    assert raw.inputs == f"{stripped.inputs}\n\n"
    assert (stripped.targets, raw.targets) == ("gets up", "\n\ngets up")
    assert raw.answer_choices == stripped.answer_choices == ("gets up", "flies", "sings")


def test_ranking_unstripped_texts_finds_the_answer_among_the_choices(
    release, shared_data, monkeypatch
):
    del release
    monkeypatch.setenv("INSTRUX_MIRROR", str(shared_data / "p3"))
    name = registration.find_name("super_glue_rte_should_assume_unstripped_score_eval")
    dataset = seqio.get_mixture_or_task(name).source.get_dataset("validation")
    examples = list(dataset.as_numpy_iterator())
    assert len(examples) == 2 * 277  # two choices for each of RTE's rows
    assert sum(bool(example["is_correct"]) for example in examples) == 277


def test_the_paper_chose_checkpoints_on_87_tasks(older_release):
    """PromptSource 0.1.0 has no choices for two of the 89 tasks' templates (tz#31: 87)."""
    name = "t0_train_score_eval_promptsource_0.1.0"
    tasks = [registration.prompted_task(each) for each in registration.resolve_names([name])]
    assert len(tasks) == 87
    assert not any(task.source.dataset == "wiqa" for task in tasks)
    for task in tasks:
        reference = task.template
        assert isinstance(reference, TemplateReference)
        assert reference.resolve().answer_choices is not None
        assert reference.release == older_release.name


def test_of_the_papers_release_971_tasks_can_be_had(older_release):
    """592 plain ones and 379 twins."""
    without = []
    for task in t0.tasks():
        key = task.prompted_task().source.label
        template = older_release[key][task.template.name]
        assert isinstance(template, Template)
        if task.template.has_answer_choices and template.answer_choices is None:
            without.append(task)
    assert sum(task.score_eval_name is not None for task in t0.tasks()) - len(without) == 379
    for task in without:
        names = registration.resolve_names([f"{task.name}_promptsource_0.1.0"])
        assert names == [f"{task.name}_promptsource_0.1.0"]
        with pytest.raises(InputError, match="no twin"):
            registration.find_name(f"{task.name}_promptsource_0.1.0_score_eval")


def test_ai2_arc_had_fixed_letters_in_the_papers_release(release, older_release):
    del release, older_release
    row = {
        "question": "Which?",
        "choices": {"label": ["1", "2", "3", "4"], "text": ["a", "b", "c", "d"]},
        "answerKey": "2",
    }
    name = "ai2_arc_ARC_Challenge_heres_a_problem"
    now = registration.prompted_task(name).resolve().render(row, "x")
    then = registration.prompted_task(f"{name}_promptsource_0.1.0").resolve().render(row, "x")
    assert now.answer_choices == ("1", "2", "3", "4")
    assert then.answer_choices == ("A", "B", "C", "D")
