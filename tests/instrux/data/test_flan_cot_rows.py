import pytest

from instrux.data.flan_cot_rows import cot_source, rows
from instrux.data.flan_task import FlanTask
from instrux.errors import InputError
from instrux.prompts.flan_answers import reasoned_answer
from instrux.prompts.flan_prompts import FlanPromptsReference
from tasks.flan_keys import COT_PROMPTS


@pytest.fixture
def folder(tmp_path):
    lines = [f"How many are {n} and 1?\t{n + 1}\tOne more\\nthan {n}.\n" for n in range(250)]
    (tmp_path / "gsm8k_train.tsv").write_text("".join(lines))
    return tmp_path


def test_the_last_200_rows_are_held_out(folder):
    source = cot_source("gsm8k", str(folder))
    train, validation = (list(source.rows(split)) for split in ("train", "validation"))
    assert (len(train), len(validation)) == (50, 200)
    assert train[-1] == (
        49,
        {"question": "How many are 49 and 1?", "answer": "50", "rationale": "One more\nthan 49."},
    )
    assert validation[0][1]["answer"] == "51"


def test_bad_files_are_told(folder):
    with pytest.raises(InputError, match=r"no chain-of-thought set 'gsm'\. Did you mean 'gsm8k'"):
        cot_source("gsm", str(folder))
    with pytest.raises(InputError, match="250 rows, of which 250 are held out"):
        list(rows("train", path=str(folder / "gsm8k_train.tsv"), held_out=250))
    with pytest.raises(InputError, match="no split 'test'"):
        list(rows("test", path="x"))
    with pytest.raises(InputError, match="give the folder flan/v2/cot_data"):
        list(rows("train", path=str(folder / "none.tsv")))
    (folder / "bad.tsv").write_text("a\tb\n" * 3)
    with pytest.raises(InputError, match=r"bad\.tsv:1: 2 columns"):
        list(rows("train", path=str(folder / "bad.tsv"), held_out=1))


@pytest.mark.parametrize("name", ["cot_gsm8k", "cot_gsm8k_inverted"])
def test_rows_go_through_their_prompts(folder, name):
    source = cot_source("gsm8k", str(folder))
    reference = FlanPromptsReference(str(COT_PROMPTS), name)
    task = FlanTask(name, source, reference, {"train": "train"}).resolve()
    for number, row in source.rows("train"):
        example = task.render(row, source.example_id("train", number))
        assert example.inputs and example.targets
        if name == "cot_gsm8k":
            assert reasoned_answer(example.targets) == row["answer"]


def test_the_real_files(shared_data):
    files = sorted((shared_data / "flan_cot").glob("*_train.tsv"))
    assert files
    for path in files:
        source = cot_source(path.name.removesuffix("_train.tsv"), str(path.parent))
        read = [row for split in ("train", "validation") for _, row in source.rows(split)]
        assert len(read) == len(path.read_text(encoding="utf-8").rstrip("\n").split("\n"))
        assert all("\\n" not in row["question"] + row["rationale"] for row in read)
