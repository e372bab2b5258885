"""Evaluation of a small random model against plain scoring, one pair at a time."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from instrux.data.examples import RenderedExample
from instrux.data.manifest import CompletedFolder, FileRecord, Manifest
from instrux.data.tfrecord import write_records
from instrux.data.vocabularies import VocabularySpec
from instrux.errors import InputError
from instrux.evaluation import evaluate as evaluation
from instrux.evaluation import reader as reading
from instrux.evaluation.answering import ReadTask
from instrux.evaluation.evaluate import EvaluationSettings, evaluate_task, evaluate_tasks
from instrux.evaluation.predictions import read_predictions
from instrux.evaluation.reader import Reader, ReadingSettings
from instrux.evaluation.results import read_results
from instrux.evaluation.selection import select_tasks
from instrux.models.t5 import T5, T5Config

VOCABULARY = VocabularySpec.parse("bytes").load()
MODEL = T5(
    T5Config(
        vocab_size=VOCABULARY.vocab_size,
        emb_dim=16,
        num_heads=2,
        head_dim=8,
        mlp_dim=32,
        num_encoder_layers=1,
        num_decoder_layers=1,
    )
)
READING = ReadingSettings(inputs_length=32, targets_length=16, batch_size=4)


@pytest.fixture(scope="module")
def params():
    # Larger than at the start of training, so that choices differ by more than rounding.
    return jax.tree.map(lambda leaf: 3.0 * leaf, MODEL.init(jax.random.key(0)))


@pytest.fixture(scope="module")
def reader(params):
    return Reader(MODEL, params, VOCABULARY, READING)


def _render(data_dir, task, examples, *, split="validation", **metadata):
    folder = data_dir / "rendered" / task
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{split}.tfrecord-00000-of-00001"
    write_records(folder / name, [example.to_bytes() for example in examples])
    content = (folder / name).read_bytes()
    about = {
        "dataset": "acme",
        "config": None,
        "template": "a prompt",
        "cluster": "",
        "metrics": ["Accuracy"],
        "answer_choices": None,
        "original_task": True,
        "train_examples": None,
    }
    manifest = Manifest(
        stage="render",
        settings={},
        files=[FileRecord(name, len(content), str(hash(content)), len(examples))],
        counts={"examples": len(examples), "rows": len(examples)},
        metadata=about | metadata,
    )
    CompletedFolder(folder, manifest=f"manifest.{split}.json").complete(manifest)


def _example(row, inputs, targets, choices=None, references=None):
    return RenderedExample(
        inputs=inputs,
        targets=targets,
        example_id=f"acme/default/validation/{row}",
        template="a prompt",
        answer_choices=choices,
        references=references,
    )


# Inputs of two lengths, choices of two: the plain scoring compiles once a pair of lengths.
RANKED = [
    _example(0, "is it so", "yes", ("yes", "no.")),
    _example(1, "which is", "b", ("a", "b", "c", "dd.", "e")),
    _example(2, "what now", "may", ("no.", "yes", "may")),
    _example(3, "a longer question than the model can read", "no.", ("yes", "no.")),
    _example(4, "no match", "gone", ("yes", "no.")),  # no correct choice
    _example(5, "only one", "one", ("one",)),
    _example(6, "repeated", "two", ("two", "two", "two")),
    _example(7, "any will", "p", ("q", "r"), ("q", "r")),
]


@jax.jit
def _log_probs(params, inputs, decoder_inputs):
    encoded = MODEL.encode(params, inputs)
    hidden = MODEL.decode(params, encoded, inputs, decoder_inputs)
    return jax.nn.log_softmax(MODEL.logits(params, hidden)[0], axis=-1)


def _plain_score(params, inputs, choice):
    """One pair, no padding, no batch, teacher-forced."""
    tokens = jnp.array([VOCABULARY.encode(inputs)[:32]])
    target = [*VOCABULARY.encode(choice), VOCABULARY.eos_id]
    log_probs = np.asarray(_log_probs(params, tokens, jnp.array([[0, *target[:-1]]])))
    return float(sum(log_probs[i, token] for i, token in enumerate(target)))


def test_scores_are_those_of_each_pair_scored_alone(params, reader):
    inputs = reader.tokenize_inputs([e.inputs for e in RANKED])
    choices = [e.answer_choices for e in RANKED]
    found = reader.rank(inputs, choices)
    for example, scores in zip(RANKED, found, strict=True):
        expected = [_plain_score(params, example.inputs, c) for c in example.answer_choices]
        np.testing.assert_allclose(scores, expected, rtol=1e-4)
    assert np.ptp(found[1]) > 0.1  # a comparison of unlike numbers


def test_lengths_divide_scores_only_where_asked(params, reader):
    settings = dataclasses.replace(READING, normalize_lengths=True)
    normalized = Reader(MODEL, params, VOCABULARY, settings)
    inputs, choices = reader.tokenize_inputs(["q"]), [("abc", "a")]
    (plain,), (divided,) = reader.rank(inputs, choices), normalized.rank(inputs, choices)
    np.testing.assert_allclose(divided, plain / [4, 2], rtol=1e-5)  # end of sequence counted


@pytest.fixture
def ranked_task(tmp_path):
    _render(tmp_path, "acme_ranked", RANKED)
    return select_tasks(tmp_path, ["acme_ranked"], split="validation")[0]


def test_a_ranked_task(params, reader, ranked_task):
    result, predictions = evaluate_task(ranked_task, reader)
    assert [p.example_id[-1] for p in predictions] == list("01234567")
    for example, prediction in zip(RANKED, predictions, strict=True):
        scores = [_plain_score(params, example.inputs, c) for c in example.answer_choices]
        assert prediction.prediction == example.answer_choices[int(np.argmax(scores))]
        assert prediction.correct == (
            prediction.prediction in (example.targets, *(example.references or ()))
        )
    assert predictions[4].correct is False
    assert predictions[5].correct and predictions[6].correct and predictions[7].correct
    assert result.mode == "rank"
    assert result.num_examples == 8
    assert result.num_without_correct_choice == 1  # example 7 has references among its choices
    assert result.num_truncated_inputs == 1
    assert result.score == 100 * np.mean([p.correct for p in predictions])
    assert result.chance == pytest.approx(
        100 * np.mean([1 / 2, 1 / 5, 1 / 3, 1 / 2, 1 / 2, 1, 1 / 3, 1 / 2])
    )
    # "yes" is as frequent as any target and first: right for example 0 alone
    assert result.majority == pytest.approx(100 / 8)
    assert result.interval.low < result.score < result.interval.high


class _FixedReader(Reader):
    """Scores that are given, to see what is made of them."""

    def __init__(self, scores):
        self.settings = READING
        self._scores = scores

    def tokenize_inputs(self, texts):
        return [[5] for _ in texts]

    def rank(self, inputs, choices, *, whole_texts=False, on_done=lambda count: None):
        return [np.array(s, np.float32) for s in self._scores]


def test_ties_go_to_the_first_choice(tmp_path):
    choices = ("a", "b", "c")
    _render(tmp_path, "t", [_example(0, "q", "b", choices), _example(1, "q", "b", choices)])
    task = select_tasks(tmp_path, ["t"], split="validation")[0]
    _, predictions = evaluate_task(task, _FixedReader([[-2, -1, -1], [-1, -1, -1]]))
    assert [p.prediction for p in predictions] == ["b", "a"]
    assert [p.correct for p in predictions] == [True, False]


def test_any_of_several_correct_choices_counts_and_none_is_always_wrong(tmp_path):
    choices, several = ("a", "b", "c"), ("b", "c")
    examples = [
        _example(0, "q", "b", choices, several),
        _example(1, "q", "b", choices, several),
        _example(2, "q", "b", choices, several),
        _example(3, "q", "z", choices),  # no correct choice
        _example(4, "q", "b", ()),  # no choice at all
    ]
    _render(tmp_path, "t", examples)
    task = select_tasks(tmp_path, ["t"], split="validation")[0]
    scores = [[-1, -2, -3], [-2, -1, -3], [-3, -2, -1], [-1, -2, -3], []]
    result, predictions = evaluate_task(task, _FixedReader(scores))
    assert [p.prediction for p in predictions] == ["a", "b", "c", "a", ""]
    assert [p.correct for p in predictions] == [False, True, True, False, False]
    assert result.score == 40
    assert result.num_without_correct_choice == 2


def test_by_default_inputs_end_without_a_mark_and_scores_are_sums(params, reader):
    assert VOCABULARY.eos_id not in reader.tokenize_inputs(["a question"])[0]
    ended = Reader(MODEL, params, VOCABULARY, dataclasses.replace(READING, inputs_eos=True))
    assert ended.tokenize_inputs(["a question"])[0][-1] == VOCABULARY.eos_id
    assert ReadingSettings().normalize_lengths is False
    assert ReadingSettings().inputs_eos is False


def test_choices_and_targets_are_compared_without_surrounding_blanks(tmp_path):
    _render(tmp_path, "t", [_example(0, "q", " yes\n", ("no", "yes "))])
    task = select_tasks(tmp_path, ["t"], split="validation")[0]
    result, predictions = evaluate_task(task, _FixedReader([[-2, -1]]))
    assert predictions[0].correct
    assert result.num_without_correct_choice == 0


def test_padding_is_measured(reader, tmp_path):
    _render(tmp_path, "t", [_example(0, "four", "yes", ("yes", "no."))])
    result, _ = evaluate_task(select_tasks(tmp_path, ["t"], split="validation")[0], reader)
    # A batch of 4 rows of 32 positions of inputs, of which 4 bytes; one row of 8 for choices, of
    # which two choices of 3 bytes and the end: 12 tokens in 136 positions.
    assert result.padding_share == pytest.approx(1 - 12 / 136, abs=1e-6)


def test_inputs_of_a_large_model_are_padded_less(params, monkeypatch):
    settings = dataclasses.replace(READING, inputs_length=256)
    small = Reader(MODEL, params, VOCABULARY, settings)
    monkeypatch.setattr(reading, "PARAMETERS_WORTH_MORE_SHAPES", 1)
    large = Reader(MODEL, params, VOCABULARY, settings)
    scores = [each.rank([[5] * 130], [("yes", "no.")])[0] for each in (small, large)]
    # A batch of 4 rows of 192 positions of inputs against one row of 160; one of 8 for choices.
    assert (small.positions, large.positions) == (4 * 192 + 8, 160 + 8)
    np.testing.assert_allclose(*scores, rtol=1e-5)


def test_fixed_choices_give_classification_metrics(tmp_path):
    choices = ("no", "yes")
    examples = [_example(i, "q", t, choices) for i, t in enumerate(["yes", "no", "no"])]
    _render(tmp_path, "t", examples, answer_choices=list(choices))
    task = select_tasks(tmp_path, ["t"], split="validation")[0]
    result, _ = evaluate_task(task, _FixedReader([[-2, -1], [-1, -2], [-3, -1]]))
    # predicted yes, no, yes: yes 2*1/(2+1), no 2*1/(1+2)
    assert result.metrics["f1_macro"] == pytest.approx(200 / 3)
    # yes minus no: 1, -1, 2; the positive is the first: it outscores one of two
    assert result.metrics["auc"] == 50


def test_a_task_names_metrics_of_classes_for_ranked_answers_too(tmp_path):
    examples = [_example(i, "q", t, ("no", "yes")) for i, t in enumerate(["yes", "yes", "no"])]
    _render(tmp_path, "t", examples, metrics=["accuracy", "answer_f1"])
    task = select_tasks(tmp_path, ["t"], split="validation")[0]
    result, _ = evaluate_task(task, _FixedReader([[-2, -1], [-1, -2], [-3, -1]]))
    # predicted yes, no, yes: two say yes, two are, one of them is among both
    assert (result.metric, result.metrics["answer_f1"]) == ("accuracy", 50.0)


def test_a_question_is_judged_as_a_whole_where_all_its_answers_were_asked(tmp_path):
    texts, groups = ["yes", "yes", "no"], ["1/1", "1/2", "1/1"]
    examples = [
        dataclasses.replace(_example(i, "q", text, ("no", "yes")), group=group)
        for i, (text, group) in enumerate(zip(texts, groups, strict=True))
    ]
    _render(tmp_path, "t", examples, metrics=["accuracy", "question_exact_match"])
    scores = [[-2, -1], [-1, -2], [-1, -3]]  # yes, no, no: question 1/1 is right, 1/2 is not
    task = select_tasks(tmp_path, ["t"], split="validation")[0]
    result, _ = evaluate_task(task, _FixedReader(scores))
    assert result.metrics["question_exact_match"] == 50.0
    task = select_tasks(tmp_path, ["t"], split="validation", max_examples=2)[0]
    result, _ = evaluate_task(task, _FixedReader(scores[:2]))
    assert set(result.metrics) == {"accuracy"}  # a sample cuts questions apart


def test_scores_that_are_no_numbers_are_told(tmp_path):
    _render(tmp_path, "t", [_example(0, "q", "a", ("a", "b"))])
    task = select_tasks(tmp_path, ["t"], split="validation")[0]
    with pytest.raises(InputError, match=r"acme/default/validation/0.*not a finite number"):
        evaluate_task(task, _FixedReader([[float("nan"), -1]]))


def _plain_greedy(params, inputs):
    """Token by token, the whole decoder each time, without any cache."""
    tokens = jnp.array([VOCABULARY.encode(inputs)])
    made = np.zeros((1, 17), np.int32)  # behind the start, zeros that nothing before them sees
    for i in range(16):
        made[0, i + 1] = np.asarray(_log_probs(params, tokens, jnp.array(made[:, :16])))[i].argmax()
        if made[0, i + 1] == VOCABULARY.eos_id:
            break
    return VOCABULARY.decode(made[0, 1:]).strip()


def test_a_generated_task(params, reader, tmp_path):
    texts = ["say this", "and that", "then end", "go again", "number 5"]
    said = [_plain_greedy(params, text) for text in texts]
    examples = [
        _example(i, t, s if i else "else") for i, (t, s) in enumerate(zip(texts, said, strict=True))
    ]
    _render(tmp_path, "t", examples, metrics=["Accuracy", "ROUGE"])
    result, predictions = evaluate_task(
        select_tasks(tmp_path, ["t"], split="validation")[0], reader
    )
    assert [p.prediction for p in predictions] == said
    assert any(said)
    assert [p.correct for p in predictions] == [False, True, True, True, True]
    assert (result.mode, result.metric, result.chance) == ("generate", "accuracy", None)
    assert result.score == 80
    assert set(result.metrics) >= {"accuracy", "rougeL", "rouge2"}


def test_choices_are_generated_where_ranking_is_off(reader, ranked_task):
    result, predictions = evaluate_task(ranked_task, reader, rank_choices=False)
    assert result.mode == "generate"
    assert predictions[0].choices is None


# --- Whole evaluations ------------------------------------------------------------------------

SETTINGS = EvaluationSettings(
    model_dir="run",
    step=3,
    checkpoint="blake2b:1",
    reading=dataclasses.asdict(READING),
    split="validation",
)


@pytest.fixture
def data_dir(tmp_path):
    _render(tmp_path, "acme_one", RANKED[:4], cluster="nli")
    _render(tmp_path, "acme_two", RANKED[2:6], cluster="nli", template="another prompt")
    _render(tmp_path, "other", RANKED[:2], original_task=False)
    _render(tmp_path, "other", [], split="train")
    _render(tmp_path, "trained_only", RANKED[:1], split="train")
    return tmp_path


def _evaluate(data_dir, reader, patterns=("*",), settings=SETTINGS, **selection):
    opened = []
    tasks = select_tasks(data_dir, patterns, split="validation", **selection)

    def open_reader():
        opened.append(1)
        return reader

    folder = data_dir / "run" / "eval" / "3"
    found = evaluate_tasks(tasks, open_reader=open_reader, folder=folder, settings=settings)
    return found, folder, len(opened)


def test_results_and_predictions_lie_in_the_folder(data_dir, reader):
    found, folder, _ = _evaluate(data_dir, reader, groups={"acme_*": "held-out prompts"})
    stored = read_results(folder / "results.json")
    assert [task.task for task in stored.tasks] == ["acme_one", "acme_two", "other"]
    assert [task.group for task in stored.tasks] == ["held-out prompts", "held-out prompts", ""]
    assert stored.groups == ("held-out prompts", "")
    assert stored == found
    assert len(list(read_predictions(folder / "predictions" / "acme_one.jsonl"))) == 4
    summaries = {(s.scope, s.group): s for s in stored.summaries}
    group = summaries["group", "held-out prompts"]
    assert group.num_prompts == 2
    assert group.num_examples == 6  # rows 0 to 5; both prompts ask about rows 2 and 3
    assert group.score == np.mean([t.score for t in stored.tasks[:2]])
    leftovers = [p for p in folder.rglob("*") if p.name.startswith(".")]
    assert leftovers == []


def test_what_is_done_is_not_done_again(data_dir, reader, capsys):
    _evaluate(data_dir, reader, ["acme_one"])
    _, folder, opened = _evaluate(data_dir, reader, ["acme_*"])
    assert opened == 1
    assert "1 of 2 tasks are done already" in capsys.readouterr().err
    before = (folder / "results.json").stat().st_mtime_ns
    _, _, opened = _evaluate(data_dir, reader, ["acme_*"])
    assert opened == 0
    assert "complete, skipped" in capsys.readouterr().err
    assert (folder / "results.json").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    "change",
    [
        {"checkpoint": "blake2b:2"},
        {"max_examples": 2},
        {"rank_choices": False},
        {"reading": dataclasses.asdict(READING) | {"inputs_length": 16}},
    ],
)
def test_other_settings_are_evaluated_anew(data_dir, change):
    (task,) = select_tasks(data_dir, ["acme_one"], split="validation")
    assert dataclasses.replace(SETTINGS, **change).digest(task) != SETTINGS.digest(task)


def test_the_batch_size_makes_no_other_predictions(data_dir, params, reader):
    (task,) = select_tasks(data_dir, ["acme_one"], split="validation")
    other = dataclasses.asdict(READING) | {"batch_size": 3}
    assert dataclasses.replace(SETTINGS, reading=other).digest(task) == SETTINGS.digest(task)
    small = Reader(MODEL, params, VOCABULARY, dataclasses.replace(READING, batch_size=3))
    _, first = evaluate_task(task, reader)
    _, second = evaluate_task(task, small)
    for one, two in zip(first, second, strict=True):
        np.testing.assert_allclose(one.scores, two.scores, rtol=1e-4)


def test_rendered_anew_is_evaluated_anew(data_dir, reader):
    _evaluate(data_dir, reader, ["acme_one"])
    _render(data_dir, "acme_one", RANKED[:2], cluster="nli")
    found, _, opened = _evaluate(data_dir, reader, ["acme_one"])
    assert opened == 1
    assert found.tasks[0].num_examples == 2


def test_a_death_between_groups_of_tasks_loses_nothing_that_was_done(data_dir, reader, monkeypatch):
    class Dies(ReadTask):
        @classmethod
        def of(cls, task, *args, **kwargs):
            if task.name == "acme_two":
                raise KeyboardInterrupt
            return ReadTask.of(task, *args, **kwargs)

    monkeypatch.setattr(evaluation, "ReadTask", Dies)
    monkeypatch.setattr(evaluation, "_EXAMPLES_TOGETHER", 1)
    with pytest.raises(KeyboardInterrupt):
        _evaluate(data_dir, reader)
    folder = data_dir / "run" / "eval" / "3"
    assert not (folder / "results.json").exists()
    monkeypatch.undo()
    found, _, _ = _evaluate(data_dir, reader)
    done = json.loads((folder / "tasks" / "acme_one.json").read_text())
    assert found.tasks[0].seconds == done["seconds"]  # of the first time


def test_a_result_that_cannot_be_read_is_made_again(data_dir, reader):
    _, folder, _ = _evaluate(data_dir, reader, ["acme_one"])
    (folder / "tasks" / "acme_one.json").write_text("{")
    _, _, opened = _evaluate(data_dir, reader, ["acme_one"])
    assert opened == 1


def test_a_split_without_examples_does_no_harm(tmp_path, reader):
    _render(tmp_path, "empty", [])
    found, _, _ = _evaluate(tmp_path, reader)
    assert found.tasks[0].num_examples == 0
    assert found.summaries == ()


# --- Selection --------------------------------------------------------------------------------


def _names(data_dir, patterns, **options):
    return [t.name for t in select_tasks(data_dir, patterns, **{"split": "validation"} | options)]


def test_globs_names_and_twins_select_tasks(data_dir):
    assert _names(data_dir, ["acme_*"]) == ["acme_one", "acme_two"]
    assert _names(data_dir, ["other", "acme_one"]) == ["other", "acme_one"]
    assert _names(data_dir, ["acme_one_score_eval", "acme_one"]) == ["acme_one"]
    assert _names(data_dir, ["*"], original_task_only=True) == ["acme_one", "acme_two"]
    assert "trained_only" not in _names(data_dir, ["*"])


@pytest.mark.parametrize(
    ("patterns", "options", "message"),
    [
        (["acme_on"], {}, "named 'acme_on'.*Did you mean 'acme_one'"),
        (["nothing_*"], {}, "no rendered task .* named 'nothing_"),
        (["trained_only"], {}, "'validation' of task 'trained_only' is not rendered"),
        (["trained_*"], {}, "no task to evaluate"),
        (["other"], {"original_task_only": True}, "original-task prompt"),
        (["acme_one"], {"max_examples": 0}, "max_examples is 0"),
    ],
)
def test_a_selection_that_finds_nothing_is_told_in_one_line(data_dir, patterns, options, message):
    with pytest.raises(InputError, match=message) as caught:
        _names(data_dir, patterns, **options)
    assert "\n" not in str(caught.value)


def test_an_empty_data_folder_is_told(tmp_path):
    with pytest.raises(InputError, match="no rendered tasks"):
        _names(tmp_path, ["*"])


def test_a_sample_takes_the_same_rows_for_every_prompt(tmp_path):
    rows = [_example(i, f"question {i}", "yes", ("yes", "no")) for i in range(30)]
    _render(tmp_path, "a", rows)
    _render(tmp_path, "b", list(reversed(rows[5:])))
    first, second = select_tasks(tmp_path, ["*"], split="validation", max_examples=10)
    assert (first.num_examples, second.num_examples) == (10, 10)
    first_ids, second_ids = ({e.example_id for e in t.examples()} for t in (first, second))
    assert len(first_ids) == len(second_ids) == 10
    missing = {e.example_id for e in rows[:5]}
    assert first_ids - missing <= second_ids
    assert first_ids != {e.example_id for e in rows[:10]}
