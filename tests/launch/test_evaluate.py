"""The stages `evaluate` and `predict` on a saved run, and what they say of the user's mistakes."""

import functools
import json
import os
import shutil
import threading
import time
from pathlib import Path

import jax
import pytest

from instrux.data.byte_pair_vocabulary import BytePairVocabulary
from instrux.data.byte_pairs import BytePairs
from instrux.data.examples import RenderedExample
from instrux.data.manifest import CompletedFolder, FileRecord, Manifest
from instrux.data.tfrecord import write_records
from instrux.data.vocabularies import VocabularySpec
from instrux.errors import InputError
from instrux.evaluation.results import read_results, same_results
from instrux.models.t5 import T5, T5Config
from instrux.training.checkpoints import save_run
from instrux.training.run_folder import RunDescription
from launch import cli
from launch.convert import convert
from launch.evaluate import evaluate
from launch.follow import Follow, each_new
from launch.predict import predict
from launch.report import RunForReport, report

BYTES = VocabularySpec.parse("bytes")


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory):
    config = T5Config(
        vocab_size=BYTES.load().vocab_size,
        emb_dim=8,
        num_heads=2,
        head_dim=4,
        mlp_dim=16,
        num_encoder_layers=1,
        num_decoder_layers=1,
    )
    folder = tmp_path_factory.mktemp("runs") / "run"
    description = RunDescription.of(config, BYTES, inputs_length=32, targets_length=8)
    save_run(folder, description, T5(config).init(jax.random.key(0)), step=7)
    return str(folder)


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    data_dir = tmp_path_factory.mktemp("data")
    folder = data_dir / "rendered" / "acme_ranked"
    folder.mkdir(parents=True)
    examples = [
        RenderedExample(
            inputs=f"question {row}",
            targets="yes",
            example_id=f"acme/default/validation/{row}",
            template="a prompt",
            answer_choices=("yes", "no."),
        )
        for row in range(5)
    ]
    name = "validation.tfrecord-00000-of-00001"
    write_records(folder / name, [example.to_bytes() for example in examples])
    manifest = Manifest(
        stage="render",
        settings={},
        files=[FileRecord(name, (folder / name).stat().st_size, "digest", 5)],
        counts={"examples": 5, "rows": 5},
        metadata={
            "dataset": "acme",
            "config": None,
            "template": "a prompt",
            "cluster": "",
            "metrics": ["Accuracy"],
            "answer_choices": ["yes", "no."],
            "original_task": True,
            "train_examples": None,
        },
    )
    CompletedFolder(folder, manifest="manifest.validation.json").complete(manifest)
    return str(data_dir)


def _evaluate(model_dir, data_dir, **options):
    settings = {"tasks": ["*"], "batch_size": 4, "compile_cache": False} | options
    return evaluate(model_dir=model_dir, data_dir=data_dir, **settings)


def test_evaluate_writes_results_and_a_second_time_does_nothing(model_dir, data_dir, capsys):
    made = _evaluate(model_dir, data_dir, groups={"acme_*": "held-out prompts"})
    stored = read_results(made.folder / "results.json")
    assert made.folder.parts[-3:] == ("run", "eval", "7")
    assert stored.step == 7
    assert stored.tasks[0].group == "held-out prompts"
    assert stored.settings["reading"]["inputs_length"] == 32  # the run's own
    assert (made.folder / "predictions" / "acme_ranked.jsonl").exists()
    assert capsys.readouterr().out.strip() == str(made.folder / "results.json")
    again = _evaluate(model_dir, data_dir, groups={"acme_*": "held-out prompts"})
    assert "complete, skipped" in capsys.readouterr().err
    assert same_results(again.results, made.results)
    assert cli.main(["verify", str(made.folder)]) == 0
    path = made.folder / "predictions" / "acme_ranked.jsonl"
    content = path.read_text()
    path.write_text(content.replace("0", "1", 1))
    assert cli.main(["verify", str(made.folder)]) == 2
    assert f"{path}: changed" in capsys.readouterr().out
    path.write_text(content)


def test_every_checkpoint_that_is_kept_is_evaluated(model_dir, data_dir, tmp_path, capsys):
    run = tmp_path / "run"
    shutil.copytree(model_dir, run)
    shutil.copytree(run / "checkpoints" / "7", run / "checkpoints" / "9")
    made = _evaluate(str(run), data_dir, step="all")
    assert made.folder.name == "9"
    assert sorted(os.listdir(run / "eval")) == ["7", "9"]
    with pytest.raises(InputError, match="leave one out"):
        _evaluate(str(run), data_dir, step=7, follow=Follow())


def test_a_run_in_training_is_followed_until_it_is_complete(model_dir, data_dir, tmp_path, capsys):
    run, source = tmp_path / "run", Path(model_dir)
    shutil.copytree(source, run)
    (run / "summary.json").write_text(json.dumps({"step": 7, "stopped": "signal"}))

    def train_on():
        """As training does: a checkpoint appears by a rename, an old one goes, then the summary."""
        time.sleep(0.5)
        shutil.copytree(source / "checkpoints" / "7", run / "partial")
        (run / "partial").rename(run / "checkpoints" / "11")
        time.sleep(0.5)
        (run / "summary.json").write_text(json.dumps({"step": 11, "stopped": "train_steps"}))

    trainer = threading.Thread(target=train_on)
    trainer.start()
    made = _evaluate(str(run), data_dir, follow=Follow(poll_seconds=0.05))
    trainer.join()
    assert made.folder.name == "11" and sorted(os.listdir(run / "eval")) == ["11", "7"]
    assert "complete at step 11, and evaluated" in capsys.readouterr().err
    (run / "summary.json").unlink()
    with pytest.raises(InputError, match="no checkpoint after step 11 for 0s"):
        _evaluate(str(run), data_dir, follow=Follow(poll_seconds=0.05, patience_seconds=0.1))


def test_a_checkpoint_that_is_removed_meanwhile_is_left_out(tmp_path, capsys):
    for step in (1, 2):
        (tmp_path / "checkpoints" / str(step)).mkdir(parents=True)
    (tmp_path / "summary.json").write_text(json.dumps({"step": 2, "stopped": "train_steps"}))

    def evaluate_one(step):
        if step == 1:
            shutil.rmtree(tmp_path / "checkpoints" / "1")
            raise InputError("no checkpoint of step 1")
        return f"evaluated {step}"

    assert each_new(str(tmp_path), Follow(poll_seconds=0.01), evaluate_one) == "evaluated 2"
    assert "removed the checkpoint of step 1" in capsys.readouterr().err


def test_further_splits_and_another_runs_checkpoint(model_dir, data_dir, tmp_path, capsys):
    made = _evaluate(model_dir, data_dir)
    out = str(tmp_path / "elsewhere")
    again = _evaluate(out, data_dir, checkpoint=model_dir, also={"validation": "dev"}, name="x")
    assert again.folder == tmp_path / "elsewhere" / "x" / "7"
    further = read_results(tmp_path / "elsewhere" / "dev" / "7" / "results.json")
    for results in (again.results, further):
        assert [t.score for t in results.tasks] == [t.score for t in made.results.tasks]
    with pytest.raises(InputError, match="nothing has a split 'test'"):
        _evaluate(out, data_dir, checkpoint=model_dir, also={"test": "dev"})


def test_a_hugging_face_folder_is_evaluated_as_the_run_it_came_from(
    model_dir, data_dir, tmp_path, capsys
):
    convert(("instrux", model_dir), ("hf", str(tmp_path / "hf")))
    made = _evaluate(model_dir, data_dir)
    arguments = [
        "evaluate",
        "--hf",
        str(tmp_path / "hf"),
        "--data_dir",
        data_dir,
        "--task",
        "acme*",
    ]
    arguments += ["--batch_size", "4", "--out", str(tmp_path / "out"), "--inputs_length", "32"]
    capsys.readouterr()
    assert cli.main([*arguments, "--targets_length", "8"]) == 0
    path = tmp_path / "out" / "eval" / "7" / "results.json"
    assert capsys.readouterr().out.strip() == str(path)
    found = read_results(path)
    assert [t.metrics for t in found.tasks] == [t.metrics for t in made.results.tasks]
    predictions = Path("predictions") / "acme_ranked.jsonl"
    assert (path.parent / predictions).read_text() == (made.folder / predictions).read_text()
    assert cli.main([*arguments, "--targets_length", "8"]) == 0
    assert "complete, skipped" in capsys.readouterr().err
    report(runs=[RunForReport(name="theirs", model_dir=str(tmp_path / "out"))], out=tmp_path)
    assert (tmp_path / "report.html").exists()


@pytest.mark.peers
@pytest.mark.parametrize("family", ["gpt2", "llama", "llama_3", "t5"])
def test_the_command_scores_a_folder_as_transformers_does(
    data_dir, tmp_path, capsys, family, request
):
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    folder = tmp_path / "hf"
    if family == "gpt2":
        # What transformers itself saves: a tokenizer.json and no merges.txt.
        pieces = BytePairVocabulary(BytePairs([("Ġ", "t"), ("o", "n")]), "").released_ids()
        tokenizer = transformers.GPT2Tokenizer(vocab=pieces, merges=[("Ġ", "t"), ("o", "n")])
        tokenizer.save_pretrained(folder)
        assert not (folder / "merges.txt").exists()
        sizes = {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 64}
        ends = {"bos_token_id": 258, "eos_token_id": 258}
        config = transformers.GPT2Config(vocab_size=259, **sizes, **ends)
        model, encode, more = transformers.GPT2LMHeadModel(config), tokenizer.encode, []
    elif family == "t5":
        tokenizer = transformers.PreTrainedTokenizerFast(
            tokenizer_object=request.getfixturevalue("unigram_tokenizer"), eos_token="</s>"
        )
        tokenizer.save_pretrained(folder)
        sizes = {"d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 2, "num_heads": 2}
        config = transformers.T5Config(vocab_size=64, **sizes, decoder_start_token_id=0)
        model, more = transformers.T5ForConditionalGeneration(config), ["--targets_length", "8"]
        encode = functools.partial(tokenizer.encode, add_special_tokens=False)
    else:
        sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2}
        heads = {"num_attention_heads": 2, "num_key_value_heads": 1}
        if family == "llama_3":
            tokenizer = transformers.PreTrainedTokenizerFast(
                tokenizer_object=request.getfixturevalue("llama_3_tokenizer"),
                eos_token="<|eot_id|>",
            )
            tokenizer.save_pretrained(folder)
            encode, more = tokenizer.encode, ["--targets_length", "8"]
            ends = {"bos_token_id": 280, "eos_token_id": 283}
        else:
            encode, more = BYTES.load().encode, ["--vocabulary", "bytes:5", "--targets_length", "8"]
            ends = {"eos_token_id": 1}
        config = transformers.LlamaConfig(vocab_size=284, **sizes, **heads, **ends)
        model = transformers.LlamaForCausalLM(config)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.3 * torch.randn_like(weight))
    model.eval().save_pretrained(folder)

    def expected(inputs, choice):
        answer = [*encode(choice), config.eos_token_id]
        if family == "t5":
            ids, given = torch.tensor([[0, *answer]]), torch.tensor([encode(inputs)])
            tensors = {"input_ids": given, "decoder_input_ids": ids}
        else:
            ids = torch.tensor([[config.bos_token_id, *encode(inputs), *answer]])
            tensors = {"input_ids": ids}
        with torch.no_grad():
            logs = model(**tensors).logits[0].log_softmax(-1)
        places = range(ids.shape[1] - len(answer), ids.shape[1])
        return sum(float(logs[place - 1, ids[0, place]]) for place in places)

    command = ["evaluate", "--hf", str(folder), "--data_dir", data_dir, "--task", "acme*", *more]
    out = tmp_path / "out"
    assert cli.main([*command, "--inputs_length", "32", "--out", str(out)]) == 0
    assert capsys.readouterr().out.strip() == str(out / "eval" / "0" / "results.json")
    lines = (out / "eval" / "0" / "predictions" / "acme_ranked.jsonl").read_text().splitlines()
    for line in map(json.loads, lines):
        scores = [expected(line["inputs"], choice) for choice in ("yes", "no.")]
        assert line["scores"] == pytest.approx(scores, abs=1e-3)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "give --gin_file for a run, --hf for a folder"),
        (["--hf", "x", "--gin_file", "y", "--data_dir", "d", "--task", "t"], "--hf takes no"),
        (["--hf", "x", "--task", "t"], "--hf needs --data_dir"),
        (["--hf", "/nowhere", "--task", "t", "--data_dir", "d"], "/nowhere: no such file"),
        (["--gin_file", "y", "--max_examples", "3"], "--max_examples goes with --hf"),
    ],
)
def test_a_mistake_with_a_folder_is_one_line(capsys, arguments, told):
    assert cli.main(["evaluate", *arguments]) == 2
    captured = capsys.readouterr()
    assert told in captured.err
    assert captured.err.count("\n") == 1


def test_a_folder_without_a_vocabulary_is_told(model_dir, data_dir, tmp_path):
    convert(("instrux", model_dir), ("hf", str(tmp_path / "hf")))
    (tmp_path / "hf" / "tokenizer_config.json").unlink()
    with pytest.raises(InputError, match=r"no vocabulary lies there \(spiece.model, tok"):
        _evaluate(str(tmp_path / "out"), data_dir, checkpoint=str(tmp_path / "hf"))
    made = _evaluate(
        str(tmp_path / "out"), data_dir, checkpoint=str(tmp_path / "hf"), vocabulary="bytes"
    )
    assert made.results.step == 7


def test_predict_gives_the_scores_that_evaluate_found(model_dir, data_dir, tmp_path):
    made = _evaluate(model_dir, data_dir)
    out = tmp_path / "answers.jsonl"
    count = predict(
        model_dir=model_dir,
        data_dir=data_dir,
        task="acme_ranked",
        out=str(out),
        batch_size=4,
        compile_cache=False,
    )
    answers = [json.loads(line) for line in out.read_text().splitlines()]
    evaluated = [
        json.loads(line)
        for line in (made.folder / "predictions" / "acme_ranked.jsonl").read_text().splitlines()
    ]
    assert count == 5
    assert [a["prediction"] for a in answers] == [e["prediction"] for e in evaluated]
    assert [a["scores"] for a in answers] == [e["scores"] for e in evaluated]


def test_predict_answers_lines_in_their_order(model_dir, tmp_path, capsys):
    lines = [
        {"inputs": "question 0", "answer_choices": ["yes", "no."], "id": 1},
        {"inputs": "say it", "id": 2},
        {"inputs": "question 1", "answer_choices": ["yes"], "id": 3},
    ]
    path = tmp_path / "in.jsonl"
    path.write_text("\n".join(json.dumps(line) for line in lines) + "\n\n")
    predict(model_dir=model_dir, inputs=str(path), batch_size=4, compile_cache=False)
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [answer["id"] for answer in answers] == [1, 2, 3]
    assert answers[0]["prediction"] in ("yes", "no.")
    assert len(answers[0]["scores"]) == 2
    assert "scores" not in answers[1]
    assert answers[2]["prediction"] == "yes"


def test_predict_gives_several_answers_behind_their_prefix(model_dir, tmp_path, capsys):
    path = tmp_path / "in.jsonl"
    lines = [{"inputs": "say it", "target_prefix": "so"}, {"inputs": "say it"}]
    path.write_text("\n".join(map(json.dumps, lines)))
    (tmp_path / "predict.gin").write_text(
        "from __gin__ import dynamic_registration\n"
        "from instrux.models import decoding_settings\n"
        "from launch import predict\n"
        f"predict.predict.model_dir = {model_dir!r}\n"
        f"predict.predict.inputs = {str(path)!r}\n"
        "predict.predict.compile_cache = False\n"
        "predict.predict.batch_size = 2\n"
        "predict.predict.token_scores = True\n"
        "predict.predict.decoding = @decoding_settings.DecodingSettings()\n"
        "decoding_settings.DecodingSettings.num_beams = 3\n"
        "decoding_settings.DecodingSettings.num_decodes = 2\n"
    )
    assert cli.main(["predict", "--gin_file", str(tmp_path / "predict.gin")]) == 0
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    for answer in answers:
        assert answer["prediction"] == answer["predictions"][0]
        assert answer["prediction_scores"] == sorted(answer["prediction_scores"], reverse=True)
        for ids, scores in zip(answer["token_ids"], answer["token_scores"], strict=True):
            assert len(ids) == len(scores) <= 8
    assert all(text.startswith("so") for text in answers[0]["predictions"])
    assert [row[:2] for row in answers[0]["token_scores"]] == [[0.0, 0.0]] * 2
    assert answers[0]["target_prefix"] == "so"


def test_a_prefix_that_leaves_no_room_is_told(model_dir, tmp_path):
    path = tmp_path / "in.jsonl"
    path.write_text(json.dumps({"inputs": "say it", "target_prefix": "far too long"}))
    with pytest.raises(InputError, match="prefix has 12 tokens, and max_decode_length is 8"):
        predict(model_dir=model_dir, inputs=str(path), compile_cache=False)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 1: not JSON"),
        ('{"input": "x"}', 'line 1: no "inputs"'),
        ('{"inputs": "x", "answer_choices": []}', '"answer_choices" is not a list'),
        ('{"inputs": "x", "target_prefix": 3}', '"target_prefix" is not a text'),
        ("", "holds no inputs"),
    ],
)
def test_a_line_that_is_no_input_is_named(model_dir, tmp_path, line, message):
    path = tmp_path / "in.jsonl"
    path.write_text(line + "\n")
    with pytest.raises(InputError, match=message):
        predict(model_dir=model_dir, inputs=str(path))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model_dir": "nowhere"}, "nowhere: no run here"),
        ({"step": 8}, r"no checkpoint of step 8; there are \[7\]"),
        ({"data_dir": "nowhere"}, "no rendered tasks"),
        ({"tasks": ["acme_rankd"]}, "Did you mean 'acme_ranked'"),
        (
            {"split": "test", "tasks": ["acme_ranked"]},
            "'test' of task 'acme_ranked' is not rendered",
        ),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"max_decode_length": 0}, "max_decode_length is 0"),
    ],
)
def test_mistakes_are_told_in_one_line(model_dir, data_dir, options, message):
    arguments = {"model_dir": model_dir, "data_dir": data_dir} | options
    with pytest.raises(InputError, match=message) as caught:
        _evaluate(**arguments)
    assert "\n" not in str(caught.value)


def test_inputs_that_are_not_there_are_told(model_dir):
    with pytest.raises(InputError, match="inputs cannot be read"):
        predict(model_dir=model_dir, inputs="nowhere.jsonl")
    with pytest.raises(InputError, match="either `inputs`"):
        predict(model_dir=model_dir)


def test_a_run_without_a_checkpoint_is_told(tmp_path, data_dir, model_dir):
    RunDescription.read(model_dir).write(tmp_path / "run")
    with pytest.raises(InputError, match="no checkpoint yet"):
        _evaluate(str(tmp_path / "run"), data_dir)


def test_a_vocabulary_that_is_not_the_runs_is_told(model_dir, data_dir, sentencepiece_model):
    with pytest.raises(InputError, match="trained with the vocabulary bytes:100, not with"):
        _evaluate(model_dir, data_dir, vocabulary=sentencepiece_model)


@pytest.fixture
def sentencepiece_model(tmp_path):
    path = tmp_path / "other.model"
    path.write_bytes(b"of another content")
    return str(path)


def test_inputs_end_as_the_run_was_trained_unless_told_otherwise(data_dir, tmp_path):
    config = T5Config(
        vocab_size=BYTES.load().vocab_size,
        emb_dim=8,
        num_heads=2,
        head_dim=4,
        mlp_dim=16,
        num_encoder_layers=1,
        num_decoder_layers=1,
    )
    description = RunDescription.of(
        config, BYTES, inputs_length=32, targets_length=8, inputs_eos=True
    )
    params = T5(config).init(jax.random.key(0))
    save_run(tmp_path / "run", description, params, step=1)
    as_trained = _evaluate(str(tmp_path / "run"), data_dir).results
    told = _evaluate(str(tmp_path / "run"), data_dir, inputs_eos=False, name="told").results
    assert [r.settings["reading"]["inputs_eos"] for r in (as_trained, told)] == [True, False]
