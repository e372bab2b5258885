import hashlib
import json

import pytest

from instrux.errors import InputError
from instrux.evaluation import natural_instructions as scoring
from instrux.evaluation.predictions import Prediction, write_predictions
from launch import cli
from launch import natural_instructions as stage


@pytest.fixture
def tasks(tmp_path):
    folder = tmp_path / "tasks"
    folder.mkdir()
    task = {
        "Categories": ["Textual Entailment"],
        "Definition": ["d"],
        "Positive Examples": [{"input": "i", "output": "yes"}],
        "Instances": [
            {"id": "task033-a", "input": "1", "output": ["Yes ", "y"]},
            {"id": "task033-b", "input": "2", "output": ["no"]},
        ],
    }
    (folder / "task033_winogrande_answer_generation.json").write_text(json.dumps(task))
    return folder


def _prediction(row, text):
    return Prediction(
        example_id=f"natural_instructions/task033_winogrande_answer_generation/test/{row}",
        template="instruct_pos_2_input",
        inputs="i",
        targets="t",
        prediction=text,
        choices=None,
        scores=None,
        correct=None,
        credit=0.0,
    )


def test_an_evaluation_is_scored_and_written_as_released(tmp_path, tasks, capsys, monkeypatch):
    monkeypatch.delenv("INSTRUX_MIRROR", raising=False)
    monkeypatch.setenv("INSTRUX_MIRROR", str(tmp_path))
    folder = tmp_path / "run" / "eval"
    for step, text in ((9, "no"), (10, "yes")):
        path = folder / str(step) / "predictions" / "ni_task033.jsonl"
        write_predictions(path, [_prediction(1, "maybe"), _prediction(0, text)])
    found = stage.score(evaluation=str(folder))
    assert found.track("default").exact_match == 50.0
    out = capsys.readouterr().out
    assert "Tk-Instruct 11B" in out
    assert "50.00" in out
    released = scoring.read_released_predictions(folder / "10" / stage.RELEASED_FILE)
    assert [(each.id, each.prediction, each.references) for each in released] == [
        ("task033-a", "yes", ("Yes ", "y")),
        ("task033-b", "maybe", ("no",)),
    ]
    content = json.loads((folder / "10" / stage.SCORES_FILE).read_text())
    assert content["released"]["default"]["exact_match_for_textual_entailment"] == 50.0


def test_the_command_scores_files_and_baselines(tmp_path, tasks, capsys):
    out = tmp_path / "scores.json"
    command = ["score", "--baseline", "copy_demo", "--place", str(tasks), "--out", str(out)]
    assert cli.main(command) == 0
    assert json.loads(out.read_text())["released"]["default"]["exact_match"] == 50.0
    assert cli.main(["verify", str(out)]) == 0
    assert "1 scores: 1 files, all as written" in capsys.readouterr().out
    predictions, references = tmp_path / "p.jsonl", tmp_path / "r.jsonl"
    scoring.write_leaderboard(
        [scoring.ScoredInstance("a", "t", "Data to Text", ("x",), "x")],
        predictions=predictions,
        references=references,
    )
    command = ["score", "--predictions", str(predictions), "--references", str(references)]
    assert cli.main(command) == 0
    assert "100.00" in capsys.readouterr().out


def test_answers_are_held_against_task_files_by_the_rows_id_or_the_instances(
    tmp_path, tasks, capsys
):
    other = json.loads((tasks / "task033_winogrande_answer_generation.json").read_text())
    (tasks / "task034_of_nobody.json").write_text(json.dumps(other))  # no answer, so not scored
    answers = tmp_path / "answers.jsonl"
    row = "natural_instructions/task033_winogrande_answer_generation/test/0"
    command = ["score", "--predictions", str(answers), "--place", str(tasks)]
    answers.write_text(json.dumps({"example_id": row, "prediction": "Y"}) + "\n")
    out = tmp_path / "scores.json"
    assert cli.main([*command, "--out", str(out)]) == 0
    scores = json.loads(out.read_text())
    assert scores["tracks"][0]["exact_match"] == 50.0  # the other instance counts as empty
    assert [task["name"] for task in scores["tasks"]["default"]] == [
        "task033_winogrande_answer_generation"
    ]
    assert scores["missing"] == ["task033-b"]
    assert "no prediction for 1 of 2 instances" in capsys.readouterr().err
    answers.write_text(json.dumps({"example_id": row[:-1] + "2", "prediction": "y"}) + "\n")
    assert cli.main(command) == 2
    err = capsys.readouterr().err
    assert "is no test instance" in err and row in err and err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "required"),
        (["--predictions", "p", "--references", "r", "--place", "."], "not both"),
        (["--baseline", "copy_demo"], "--place"),
        (["--baseline", "copy", "--place", "."], "copy_demo, copy_input"),
        (["--evaluation", "/nowhere"], "no evaluation there"),
        (["--predictions", "/nowhere.jsonl"], "cannot be read"),
    ],
)
def test_mistakes_are_one_line(capsys, arguments, complaint):
    assert cli.main(["score", *arguments]) == 2
    err = capsys.readouterr().err
    assert complaint in err
    assert len(err.strip().splitlines()) == 1


def test_a_fetched_archive_is_read_once_and_summed_up(tmp_path, tasks, monkeypatch, capsys):
    import tarfile

    monkeypatch.setenv("INSTRUX_CACHE", str(tmp_path / "cache"))
    archive = tmp_path / "ni.tar.gz"
    with tarfile.open(archive, "w:gz") as file:
        file.add(tasks, arcname="natural-instructions/tasks")
    assert cli.main(["fetch", "natural-instructions", "--source", str(archive)]) == 0
    captured = capsys.readouterr()
    assert captured.out.strip() == str(tmp_path / "cache" / "natural-instructions-v2.8")
    assert "1 tasks of 1 categories" in captured.err
    assert cli.main(["verify", captured.out.strip()]) == 0
    assert cli.main(["show", captured.out.strip()]) == 0
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    assert f"from release Natural Instructions, natural-instructions-v2.8  {digest[:12]}" in (
        capsys.readouterr().out
    )


def test_scored_runs_are_drawn_beside_the_papers(tmp_path, capsys):
    for name, score in (("few", 10.0), ("many", 20.0)):
        folder = tmp_path / name / "eval" / "5"
        (folder / "predictions").mkdir(parents=True)
        content = {"tracks": [{"name": "default", "rougeL": score}]}
        (folder / stage.SCORES_FILE).write_text(json.dumps(content))
    points = {8: str(tmp_path / "few" / "eval"), 32: str(tmp_path / "many" / "eval")}
    path = stage.scaling(axis="tasks", points=points, out=str(tmp_path / "out"))
    assert capsys.readouterr().out.strip() == str(path)
    assert path.read_bytes().startswith(b"\x89PNG")
    told = json.loads(path.with_suffix(".json").read_text())
    assert cli.main(["show", str(path)]) == 0
    assert "from evaluation tasks 8" in capsys.readouterr().out
    assert told["here"] == [{"value": 8, "rougeL": 10.0}, {"value": 32, "rougeL": 20.0}]
    (tmp_path / "few" / "eval" / "5" / stage.SCORES_FILE).unlink()
    with pytest.raises(InputError, match="the stage `score` writes them"):
        stage.scaling(axis="tasks", points=points, out=str(tmp_path / "out"))


def test_task_files_are_held_against_their_rules(tasks, capsys):
    (tasks / "task002_broken.json").write_text("{")
    assert cli.main(["check", str(tasks)]) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert "task002_broken.json: not a JSON file" in lines[0]
    assert "task033_winogrande_answer_generation: 1 positive examples; 2 are the least" in lines
    assert "2 task files" in err
