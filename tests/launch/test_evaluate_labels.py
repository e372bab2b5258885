"""`instrux evaluate --labels` as its user sees it, on the real annotations."""

import re

from launch.cli import main


def test_the_screen_shows_the_published_numbers_and_the_page_is_written(
    shared_data, tmp_path, capsys
):
    file = str(shared_data / "labels" / "annotations_anonymised.jsonl")
    out = tmp_path / "out"
    assert main(["evaluate", "--labels", file, "--baseline", "tulu_65B", "--out", str(out)]) == 0
    captured = capsys.readouterr()
    rows = [re.split(r"\s{2,}", line.strip()) for line in captured.out.splitlines()]
    assert rows[0][0].startswith("1,141 answers, 332 prompts, 16 labellers, 4 systems")
    # The specification's table: 150/106/76 of 332 are .6114, so 38.9 % for the other side.
    assert ["tulu_7B – tulu_65B", "332", "76", "106", "150", "38.9"] in [row[:6] for row in rows]
    assert ["better: chatgpt – tulu_65B", "63", "55.6"] in [row[:3] for row in rows]
    assert "0.302" in next(row for row in rows if row[0] == "better: chatgpt – tulu_65B")
    assert captured.err.strip() == str(out / "labels.html")
    assert {path.name for path in out.iterdir()} == {
        "label_results.json",
        "labels.html",
        "labels.html.lineage.json",
        "labels_outcomes.png",
        "labels_win_rates.png",
    }
    page = (out / "labels.html").read_text()
    assert "38.9" in page and "http://" not in re.sub(r'xmlns(:\w+)?="[^"]*"', "", page)
    assert main(["show", str(out / "labels.html")]) == 0
    assert "report labels.html" in capsys.readouterr().out
    assert main(["verify", str(out)]) == 0
    (out / "labels.html").write_text(page + " ")
    assert main(["verify", str(out)]) == 2
