"""Tasks and mixtures in SeqIO's registries, against examples worked out by hand."""

import json

import pytest

seqio = pytest.importorskip("seqio")

from instrux.data import registration, seqio_metrics  # noqa: E402
from instrux.data.prompted_task import PromptedTask  # noqa: E402
from instrux.data.sources import JsonLinesSource  # noqa: E402
from instrux.errors import InputError  # noqa: E402
from instrux.prompts import TemplateCollection  # noqa: E402

LENGTHS = {"inputs": 64, "targets": 16}
ROWS = [
    {"question": "Open late?", "answer": "yes"},
    {"question": "Closed?", "answer": "no"},
    {"question": "", "answer": "yes"},  # the template says nothing of it
    {"question": "Hidden?", "answer": ""},
    {"question": "Free?", "answer": "no"},
]
TEMPLATES = """\
dataset: shop
templates:
  00000000-0000-0000-0000-000000000001: !Template
    id: 00000000-0000-0000-0000-000000000001
    name: yes or no
    jinja: "{% if question %}{{question}} Yes or no?|||{{answer}}{% endif %}"
    answer_choices: yes ||| no
    metadata: !TemplateMetadata
      original_task: true
      choices_in_prompt: true
      metrics: [Accuracy]
    reference: ''
  00000000-0000-0000-0000-000000000002: !Template
    id: 00000000-0000-0000-0000-000000000002
    name: ask back!
    jinja: "Answer: {{answer}}|||{{question}}"
    answer_choices: null
    metadata: !TemplateMetadata
      original_task: false
      choices_in_prompt: false
      metrics: [BLEU, ROUGE]
    reference: ''
"""


@pytest.fixture(autouse=True)
def own_registry(monkeypatch):
    """Registries of this test alone, and a vocabulary whose ids can be worked out by hand."""
    monkeypatch.setattr(seqio.TaskRegistry, "_REGISTRY", {})
    monkeypatch.setattr(seqio.MixtureRegistry, "_REGISTRY", {})
    monkeypatch.setenv("INSTRUX_VOCABULARY", "bytes:0")


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return JsonLinesSource("shop", files={"train": str(path), "dev": str(path)})


@pytest.fixture
def templates(tmp_path):
    folder = tmp_path / "templates" / "shop"
    folder.mkdir(parents=True)
    (folder / "templates.yaml").write_text(TEMPLATES)
    return TemplateCollection.load(str(tmp_path / "templates"))["shop"]


@pytest.fixture
def names(source, templates):
    return registration.add_dataset(
        source,
        templates,
        splits={"train": "train", "validation": "dev"},
        prefix="acme:",
        train_examples=5,
    )


def texts(name, split="train", **arguments):
    dataset = seqio.get_mixture_or_task(name).get_dataset(
        LENGTHS, split=split, shuffle=False, **arguments
    )
    return [
        (example["inputs_pretokenized"].decode(), example["targets_pretokenized"].decode())
        for example in dataset.as_numpy_iterator()
    ]


def test_a_dataset_becomes_a_task_for_each_template_and_a_twin_where_there_are_choices(names):
    assert names == [
        "acme:shop_ask_back_",
        "acme:shop_yes_or_no",
        "acme:shop_yes_or_no_score_eval",
    ]
    assert set(names) == set(seqio.TaskRegistry.names())


def test_seqio_reads_what_the_template_says(names):
    # No row for the empty question; a hidden answer is "<NO LABEL>", as T0 trains on it.
    expected = [
        ("Open late? Yes or no?", "yes"),
        ("Closed? Yes or no?", "no"),
        ("Hidden? Yes or no?", "<NO LABEL>"),
        ("Free? Yes or no?", "no"),
    ]
    assert texts("acme:shop_yes_or_no") == expected
    assert texts("acme:shop_yes_or_no", split="validation") == expected


def test_inputs_have_no_end_of_sequence_and_targets_have_one(names):
    dataset = seqio.get_mixture_or_task("acme:shop_yes_or_no").get_dataset(
        {"inputs": 64, "targets": 3}, split="train", shuffle=False
    )
    first = next(dataset.as_numpy_iterator())
    # A byte's id is its value plus 3; "yes" is cut to two ids so that the 1 at the end fits.
    assert first["inputs"].tolist() == [byte + 3 for byte in b"Open late? Yes or no?"]
    assert first["targets"].tolist() == [ord("y") + 3, ord("e") + 3, 1]


@pytest.mark.parametrize("num_shards", [1, 2, 3, 7])
def test_shards_deal_out_every_row_once(names, num_shards):
    shards = [
        texts("acme:shop_ask_back_", shard_info=seqio.ShardInfo(index, num_shards))
        for index in range(num_shards)
    ]
    dealt = [text for shard in shards for text in shard]
    assert sorted(dealt) == sorted(texts("acme:shop_ask_back_"))
    assert len(dealt) == len(ROWS)
    assert max(map(len, shards)) - min(map(len, shards)) <= 1


def test_a_twin_has_one_example_for_each_choice(names):
    dataset = seqio.get_mixture_or_task("acme:shop_yes_or_no_score_eval").get_dataset(
        LENGTHS, split="validation", shuffle=False
    )
    found = [
        (
            example["idx"].tolist(),
            example["inputs_pretokenized"].decode(),
            example["targets_pretokenized"].decode(),
            bool(example["is_correct"]),
            float(example["weight"]),
        )
        for example in dataset.as_numpy_iterator()
    ]
    assert found[:4] == [
        ([0, 0], "Open late? Yes or no?", "yes", True, 1.0),
        ([0, 1], "Open late? Yes or no?", "no", False, 1.0),
        ([1, 0], "Closed? Yes or no?", "yes", False, 1.0),
        ([1, 1], "Closed? Yes or no?", "no", True, 1.0),
    ]
    # Row 2 was not applicable; the hidden answer of row 3 is none of the choices.
    assert [(idx, correct) for idx, _, _, correct, _ in found[4:6]] == [
        ([3, 0], False),
        ([3, 1], False),
    ]


def test_seqio_evaluates_a_twin_by_rank_classification(names, tmp_path):
    # The score of a choice is minus its length: "no" wins every time, which is right for rows 1
    # and 4 of the rows 0, 1, 3, 4.
    def score(dataset):
        return [
            (index, -float((features["decoder_target_tokens"] > 0).sum()))
            for index, features in dataset.as_numpy_iterator()
        ]

    evaluator = seqio.Evaluator(
        "acme:shop_yes_or_no_score_eval",
        feature_converter=seqio.EncDecFeatureConverter(pack=False),
        eval_split="validation",
    )
    metrics, *_ = evaluator.evaluate(compute_metrics=True, predict_fn=lambda _: [], score_fn=score)
    assert metrics.result()["acme:shop_yes_or_no_score_eval"]["accuracy"] == 50.0


def test_seqio_evaluates_a_plain_task_by_its_fixed_choices(names):
    task = seqio.get_mixture_or_task("acme:shop_yes_or_no")
    assert [task.postprocess_fn(text) for text in (" no ", "yes", "maybe")] == [1, 0, -1]
    assert seqio.get_mixture_or_task("acme:shop_ask_back_").postprocess_fn(" So? ") == "So?"
    (metric,) = task.predict_metric_fns
    assert metric([0, 1, 1, 0], [0, 1, -1, 1]) == {"accuracy": 50.0}


def test_rank_classification_counts_an_example_once():
    target = seqio_metrics.RankTarget
    targets = [
        target((0, 0), False, 1.0),
        target((0, 1), True, 1.0),  # the best
        target((1, 1), True, 1.0),
        target((1, 0), False, 1.0),  # ties with the one before; the first choice counts
        target((2, 0), True, 2.0),  # the best, and both are correct
        target((2, 1), True, 2.0),
    ]
    scores = [-2.0, -1.0, -3.0, -3.0, -4.0, -5.0]
    assert seqio_metrics.rank_classification(targets, scores) == {"accuracy": 75.0}
    with pytest.raises(ValueError, match="choice 1 of example 0 was scored twice"):
        seqio_metrics.rank_classification([*targets, targets[1]], [*scores, 0.0])
    with pytest.raises(ValueError, match="not a number"):
        seqio_metrics.rank_classification(targets, [float("nan"), *scores[1:]])


def test_registering_reads_nothing(templates, monkeypatch):
    monkeypatch.setenv("INSTRUX_VOCABULARY", "/nowhere/at/all.model")
    added = registration.add_dataset(
        JsonLinesSource("shop", files={"train": "/nowhere/rows.jsonl"}), templates, splits=["train"]
    )
    registration.add_mixture("acme:all", dict.fromkeys(added[:2], 1))
    with pytest.raises(Exception, match="/nowhere"):
        texts(added[0])


def test_the_number_of_examples_is_the_declared_one(names):
    task = seqio.get_mixture_or_task("acme:shop_ask_back_")
    assert task.num_input_examples("train") == 5
    assert task.num_input_examples("validation") is None


def test_adding_the_same_twice_does_nothing(names, source, templates):
    again = registration.add_dataset(
        source,
        templates,
        splits={"train": "train", "validation": "dev"},
        prefix="acme:",
        train_examples=5,
    )
    assert again == names
    registration.add_mixture("acme:all", {names[0]: 2})
    assert registration.add_mixture("acme:all", {names[0]: 2}) == "acme:all"


def test_a_conflict_names_both_and_registers_nothing(names, source, templates):
    other = PromptedTask(
        "acme:shop_yes_or_no", source, templates["ask back!"], splits={"train": "train"}
    )
    with pytest.raises(InputError) as caught:
        registration.add_prompted_task(other)
    message = str(caught.value)
    assert "'acme:shop_yes_or_no'" in message
    assert "'ask back!' over shop" in message and "'yes or no' over shop" in message
    assert message.count(__file__) == 2

    registration.add_mixture("acme:all", {names[0]: 2})
    with pytest.raises(InputError, match=r"'acme:all' is added in .* with other members or rates"):
        registration.add_mixture("acme:all", {names[0]: 3})
    with pytest.raises(InputError, match="a mixture has that name"):
        registration.add_prompted_task(
            PromptedTask("acme:all", source, templates["ask back!"], splits={"train": "train"})
        )
    with pytest.raises(InputError, match=r"'ask back!' over shop .* has that name"):
        registration.add_mixture(names[0], {names[0]: 3})


def test_a_task_has_one_vocabulary_in_a_process(names, source, templates, monkeypatch):
    monkeypatch.setenv("INSTRUX_VOCABULARY", "bytes:100")
    with pytest.raises(InputError) as caught:
        registration.add_dataset(
            source,
            templates,
            splits={"train": "train", "validation": "dev"},
            prefix="acme:",
            train_examples=5,
        )
    message = str(caught.value)
    assert "other output features" in message and "name one vocabulary" in message
    assert "vocabulary bytes:100" in message and message.count("with vocabulary") == 2
    assert message.count(__file__) == 2


def test_one_bad_name_among_many_registers_none(source, templates):
    with pytest.raises(InputError, match="use letters, digits and"):
        registration.add_dataset(source, templates, splits=["train"], prefix="acme/")
    assert not seqio.TaskRegistry.names()


@pytest.mark.parametrize(
    ("rates", "complaint"),
    [
        ({}, "has no members"),
        ({"acme:shop_ask_back": 1}, "Did you mean 'acme:shop_ask_back_'"),
        ({"acme:shop_ask_back_": 0}, "is 0; give one above 0"),
        ({"acme:shop_ask_back_": float("nan")}, "is nan"),
    ],
)
def test_a_wrong_mixture_is_refused(names, rates, complaint):
    with pytest.raises(InputError, match=complaint):
        registration.add_mixture("acme:all", rates)


def test_names_are_found_by_glob_mixture_and_spelling(names, source, templates):
    registration.add_mixture("acme:inner", {names[0]: 1, names[1]: 3})
    registration.add_mixture("acme:outer", {"acme:inner": 8, names[1]: 2})
    assert registration.resolve_names(["acme:shop_y*"]) == names[1:]
    assert registration.resolve_names(["acme:outer", names[2]]) == names
    # Eight parts are shared one to three, and two are added: 2 and 6 + 2.
    assert registration.mixture_rates("acme:outer") == {names[0]: 2.0, names[1]: 8.0}

    registration.add_prompted_task(
        PromptedTask("news_3.0.0_sum", source, templates["ask back!"], splits={"train": "train"})
    )
    assert registration.prompted_task("news_3_0_0_sum").name == "news_3.0.0_sum"
    assert registration.prompted_task(names[2]).name == names[1]


@pytest.mark.parametrize("find", [registration.prompted_task, registration.mixture_rates])
def test_an_unknown_name_is_told_with_near_ones_and_the_way_to_add_modules(names, find):
    with pytest.raises(InputError) as caught:
        find("acme:shop_yes_or_not")
    assert "'acme:shop_yes_or_no'" in str(caught.value)
    assert "--module_import" in str(caught.value)
    with pytest.raises(InputError, match=r"no task or mixture matches 'acme:x\*'"):
        registration.resolve_names(["acme:x*"])


def test_an_unknown_split_is_told_with_those_there_are(names):
    with pytest.raises(Exception, match="it has 'train', 'validation'"):
        texts("acme:shop_ask_back_", split="dev")


def test_few_bad_rows_are_passed_over_and_many_are_not(tmp_path, templates):
    good = [{"question": f"Number {number}?", "answer": "no"} for number in range(199)]
    lines = [json.dumps(row) for row in good]
    path = tmp_path / "many.jsonl"
    source = JsonLinesSource("many", files={"train": str(path)})
    registration.add_dataset(source, [templates["yes or no"]], splits=["train"])

    path.write_text("\n".join([*lines[:50], "{not json", *lines[50:]]) + "\n")
    assert len(texts("many_yes_or_no")) == 199

    path.write_text("\n".join([*lines[:50], *["{not json"] * 5, *lines[50:]]) + "\n")
    with pytest.raises(Exception, match=r"5 of .* rows cannot be rendered, more than 1%"):
        texts("many_yes_or_no")
