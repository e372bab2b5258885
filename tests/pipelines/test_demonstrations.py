"""`instrux demonstrations`: files in, rendered splits, reports and the paper's tables out."""

import json
from pathlib import Path

import pytest

from instrux.data.demonstration_formats import DemonstrationInput
from instrux.data.demonstration_settings import DemonstrationSettings
from instrux.data.rendered import RenderedSplit
from instrux.data.vocabularies import VocabularySpec
from instrux.errors import InputError
from launch import cli, stages
from launch.demonstrations import demonstrations

FEW_SHOT = {
    "id": "few",
    "prompt": "Name the capital.",
    "shots": [{"query": q, "response": r} for q, r in (("Peru", "Lima"), ("Kenya", "Nairobi"))],
    "source": "labeler",
    "split": "train",
}
ROWS = [
    *(
        {
            "id": f"c{number}",
            "prompt": f"Question {number}: write to u{number}@example.com",
            "completion": f"Answer {number}.",
            "source": "customer",
            "kind": "api",
            "use_case": "chat" if number % 2 else "open_qa",
            "user_id": f"user{number % 7}",
            "labels": {"ambiguous": number % 5 == 0},
        }
        for number in range(40)
    ),
    FEW_SHOT,
    {"id": "alone", "prompt": "Say it.", "shots": [{"query": "a", "response": "b"}]},
    {"id": "twin", "prompt": "QUESTION 3: write to u3@example.com", "completion": "Again."},
    {"id": "long", "prompt": "x" * 900, "completion": ""},
    {"id": "quiet", "prompt": "Say nothing.", "completion": "", "split": "test"},
]
SETTINGS = {
    "name": "acme",
    "vocabulary": "bytes",
    "max_tokens": 600,
    "prompts_a_user": 4,
    "declared_splits": True,
    "few_shot_expansions": 3,
    "validation_share": 0.3,
    "test_share": 0.1,
    "licence": "cc-by-nc-4.0",
}


def write(path: Path, rows) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return f"instrux={path}"


def files(data_dir: Path) -> dict[str, bytes]:
    folders = (data_dir / "rendered", data_dir / "demonstrations")
    return {
        str(path.relative_to(data_dir)): path.read_bytes()
        for folder in folders
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "manifest" not in path.name
    }


def lines(path: Path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("prepared")
    given = write(folder / "rows.jsonl", ROWS)
    data_dir = folder / "data"
    result = demonstrations(inputs=[given], data_dir=str(data_dir), **SETTINGS)
    return folder, data_dir, result


def test_users_are_apart_capped_and_their_data_is_gone_from_training_alone(prepared):
    _, data_dir, _ = prepared
    by_user: dict[str, set[str]] = {}
    counts: dict[str, int] = {}
    for split in ("train", "validation", "test"):
        for row in lines(data_dir / "demonstrations" / "acme" / f"{split}.jsonl"):
            assert ("@example.com" in row["prompt"]) <= (split != "train")
            if user := row.get("user_id"):
                by_user.setdefault(user, set()).add(split)
                counts[user] = counts.get(user, 0) + 1
    assert all(len(splits) == 1 for splits in by_user.values())
    assert {split for splits in by_user.values() for split in splits} > {"train"}
    assert max(counts.values()) == 4


def test_rendered_splits_are_like_any_tasks(prepared):
    _, data_dir, _ = prepared
    split = RenderedSplit(data_dir, "demonstrations_acme", "train")
    examples = {example.example_id: example for example in split.read()}
    assert split.count == len(examples)
    assert split.manifest().metrics == ("rougeL",)
    of_few_shot = "demonstrations_acme/default/train/few:"
    few = [example for id, example in examples.items() if id.startswith(of_few_shot)]
    assert {(example.inputs.split("\n\n")[-1], example.targets) for example in few} == {
        ("Input: Peru\nOutput:", "Lima"),
        ("Input: Kenya\nOutput:", "Nairobi"),
    }
    assert all(example.inputs.startswith("Name the capital.\n\nInput: ") for example in few)


def test_the_sets_licence_is_told_of_every_mixture_with_it(prepared, capsys):
    pytest.importorskip("seqio")
    _, data_dir, _ = prepared
    given = ["--data_dir", str(data_dir), "--vocabulary", "bytes", "--json"]
    assert cli.main(["mixtures", "show", "sft_acme", *given]) == 0
    assert json.loads(capsys.readouterr().out)["licences"][0]["name"] == "cc-by-nc-4.0"
    assert cli.main(["mixtures", "show", "sft_acme", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["licences"][0]["name"] == "unknown"
    assert stages._licences("sft_acme", str(data_dir)) == {"demonstrations_acme": "cc-by-nc-4.0"}


@pytest.mark.parametrize(
    ("formats", "licence", "expected"),
    [
        (["dolly"], None, "cc-by-sa-3.0"),
        (["oasst", "no_robots"], None, "apache-2.0, cc-by-nc-4.0"),
        (["oasst", "self_instruct"], None, "apache-2.0"),
        (["dolly", "prompt_response"], None, "cc-by-sa-3.0, unknown"),
        (["dolly", "prompt_response"], "cc-by-sa-4.0", "cc-by-sa-4.0"),
    ],
)
def test_a_licence_is_that_of_the_published_sets_unless_it_is_given(formats, licence, expected):
    settings = DemonstrationSettings(
        inputs=tuple(DemonstrationInput(format, "rows.jsonl") for format in formats),
        name="acme",
        vocabulary=VocabularySpec.parse("bytes"),
        licence=licence,
    )
    assert settings.licences == expected


def test_all_that_is_left_out_is_told_by_id_and_reason(prepared):
    _, data_dir, result = prepared
    told = lines(data_dir / "demonstrations" / "acme" / "left_out.jsonl")
    by_reason: dict[str, list[str]] = {}
    for each in told:
        by_reason.setdefault(each["reason"], []).append(each["id"])
        assert set(each) <= {"id", "reason", "kept"}
    assert by_reason["too_few_shots"] == ["alone"]
    assert by_reason["too_long_together"] == ["long"]
    assert by_reason["near_duplicate"] in (["twin"], ["c3"])
    assert result.manifest.dropped == {reason: len(ids) for reason, ids in by_reason.items()}
    audit = (data_dir / "demonstrations" / "acme" / "personal_data.jsonl").read_text()
    assert "example" not in audit
    kinds = {json.loads(line)["kind"] for line in audit.splitlines()}
    assert kinds == {"email"} == set(result.manifest.metadata["personal_data"])
    assert len(audit.splitlines()) == result.manifest.metadata["personal_data"]["email"]


def test_the_tables_count_what_was_written(prepared):
    _, data_dir, result = prepared
    tables = result.manifest.metadata["tables"]
    for split, sizes in tables["sizes"].items():
        rows = lines(data_dir / "demonstrations" / "acme" / f"{split}.jsonl")
        assert sizes["total"] == len(rows)
        assert sizes.get("customer", 0) == sum(row["source"] == "customer" for row in rows)
        assert tables["users"][split].get("customer", 0) == len(
            {row["user_id"] for row in rows if "user_id" in row}
        )
        (length,) = [
            row for row in tables["lengths"][split] if (row["of"], row["side"]) == ("all", "prompt")
        ]
        bytes_of_prompts = [len(row["prompt"].encode()) for row in rows]
        assert length["n"] == len(rows)
        assert length["mean"] == pytest.approx(sum(bytes_of_prompts) / len(rows), abs=1e-3)
        assert (length["min"], length["max"]) == (min(bytes_of_prompts), max(bytes_of_prompts))
    assert tables["empty_completions"] == 1


def test_what_is_complete_is_skipped_and_json_says_so(prepared, capsys):
    folder, data_dir, _ = prepared
    before = files(data_dir)
    again = demonstrations(
        inputs=[f"instrux={folder / 'rows.jsonl'}"],
        data_dir=str(data_dir),
        as_json=True,
        **SETTINGS,
    )
    assert again.skipped
    assert json.loads(capsys.readouterr().out)["tables"]["sizes"]["train"]["total"] > 0
    assert files(data_dir) == before


@pytest.mark.parametrize(
    "beam_args",
    [(), pytest.param(("--direct_num_workers=2",), marks=pytest.mark.slow)],
    ids=["here", "processes"],
)
def test_the_bytes_know_no_order_of_rows_and_no_runner(prepared, tmp_path, beam_args):
    _, data_dir, _ = prepared
    write(tmp_path / "b.jsonl", ROWS[25:])
    write(tmp_path / "a.jsonl", reversed(ROWS[:25]))
    other = tmp_path / "data"
    demonstrations(
        inputs=[f"instrux={tmp_path}/*.jsonl"],
        data_dir=str(other),
        beam_args=beam_args,
        **SETTINGS,
    )
    assert files(other) == files(data_dir)


def test_rows_that_cannot_be_read_are_dead_letters_without_their_text(tmp_path, capsys):
    bad = [{"prompt": "my secret", "completion": 5}, {"prompt": "  ", "completion": "secret"}]
    given = write(tmp_path / "rows.jsonl", [*ROWS[:9], *bad])
    arguments = ["--input", given, "--name", "x", "--data_dir", str(tmp_path / "d")]
    arguments += ["--vocabulary", "bytes", "--test_share", "0", "--validation_share", "0"]
    assert cli.main(["demonstrations", *arguments]) == 2
    error = capsys.readouterr().err
    assert "2 of 11 rows (18.2%) could not be read" in error
    letters = tmp_path / "d" / "demonstrations" / "x" / "dead_letters.jsonl"
    assert {letter["example_id"] for letter in lines(letters)} == {"instrux/9", "instrux/10"}
    assert "secret" not in letters.read_text() + error
    assert not (tmp_path / "d" / "demonstrations" / "x" / "COMPLETED").exists()
    with pytest.raises(InputError, match="not rendered"):
        RenderedSplit(tmp_path / "d", "demonstrations_x", "train").manifest()


def test_a_tree_of_a_row_is_read_beside_lone_messages_and_a_broken_one_is_a_dead_letter(
    tmp_path, capsys
):
    answer = {"message_id": "b", "role": "assistant", "text": "By train.", "replies": []}
    root = {"message_id": "a", "role": "prompter", "text": "How?", "replies": [answer]}
    tree = {"message_tree_id": "a", "tree_state": "ready_for_export", "prompt": root}
    lone = {"message_tree_id": "c", "message_id": "c", "role": "nobody", "text": "my secret"}
    given = write(tmp_path / "trees.jsonl", [tree, lone]).replace("instrux=", "oasst=", 1)
    arguments = ["--input", given, "--name", "x", "--data_dir", str(tmp_path / "d")]
    assert cli.main(["demonstrations", *arguments, "--vocabulary", "bytes"]) == 2
    assert "1 of 2 rows (50.0%) could not be read" in capsys.readouterr().err
    letters = tmp_path / "d" / "demonstrations" / "x" / "dead_letters.jsonl"
    assert [letter["example_id"] for letter in lines(letters)] == ["oasst/c"]
    assert "secret" not in letters.read_text()


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"inputs": []}, "no input"),
        ({"inputs": ["dolly=absent.jsonl"]}, "no such file"),
        ({"name": "a/b"}, "name 'a/b'"),
        ({"validation_share": 0.9}, "leave something for training"),
        ({"personal_data": "regexp"}, "personal_data is 'regexp'"),
        ({"prefix_tokens": 0}, "prefix_tokens is 0"),
        ({"vocabulary": "absent.model"}, "absent.model"),
        ({"licence": "my own"}, "licence 'my own' of"),
    ],
)
def test_a_wrong_setting_is_told_in_one_line(tmp_path, changed, said):
    given = {"inputs": [write(tmp_path / "rows.jsonl", ROWS[:3])]} | SETTINGS | changed
    with pytest.raises(InputError, match=said) as caught:
        demonstrations(data_dir=str(tmp_path / "d"), **given)
    assert "\n" not in str(caught.value)
