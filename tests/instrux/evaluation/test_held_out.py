"""T0's held-out figure and the published figures beside a user's own."""

import io

import numpy as np
import pytest
from matplotlib.image import imread

from instrux.data.packed_manifest import FORMAT, PackedTask, PackManifest
from instrux.evaluation.compare import arms
from instrux.evaluation.held_out_plot import Panel, PublishedMark, _beside_each_other, held_out
from instrux.evaluation.report import build_report, write_report
from instrux.evaluation.report_held_out import held_out_section
from instrux.evaluation.runs import read_run


def _tasks(made_task, rights, dataset="super_glue/rte", **options):
    return [
        made_task(dataset, f"prompt_{i}", "held-out: inference", right, **options)
        for i, right in enumerate(rights)
    ]


def _section(*runs):
    return held_out_section(arms([read_run(run) for run in runs]))


def test_means_and_medians_stand_beside_published_ones_of_the_same_kind(make_run, made_task):
    # All right or all wrong: prompt scores 100, 100, 100, 0.
    section = _section(make_run("mine", _tasks(made_task, [1, 1, 1, 0])))
    rows = {(row.model, row.statistic.split(" (")[0]): row for row in section.published}
    assert rows["T0 11B", "mean"].own == ("75.0",)
    assert rows["T0 11B", "mean"].value == "81.0"
    assert "HINT" in rows["T0 11B", "mean"].source
    assert rows["GPT-3 davinci", "median"].own == ("100.0",)
    assert rows["GPT-3 davinci", "one prompt"].own == ("–",)
    assert {row.dataset for row in section.published} == {"super_glue/rte"}
    assert "RTE" not in section.absent
    assert len(section.absent) == 10


def test_figures_over_prompts_do_not_stand_beside_one_prompt_alone(make_run, made_task):
    assert _section(make_run("mine", _tasks(made_task, [1]))) is None


def test_unconfirmed_figures_are_never_drawn_or_compared(make_run, made_task, tmp_path):
    runs = [read_run(make_run("mine", _tasks(made_task, [1, 0])))]
    section = held_out_section(arms(runs))
    assert section.unconfirmed
    assert "80.83" not in section.drawing.alt and "81.0" in section.drawing.alt
    page = build_report(runs, title="t").html
    tables = page.split("<table>")
    with_recalled = [table for table in tables if ">80.83<" in table]
    assert len(with_recalled) == 1 and "mine" not in with_recalled[0].split("</table>")[0]


def test_only_prompts_of_the_datasets_own_task_count(make_run, made_task):
    tasks = _tasks(made_task, [1, 1])
    tasks += [
        made_task(
            "super_glue/rte", "other", "held-out: inference", 0, options={"original_task": False}
        )
    ]
    section = _section(make_run("mine", tasks))
    assert "mine median 100.0" in section.drawing.alt


def test_seeds_of_one_kind_are_averaged_prompt_by_prompt(make_run, made_task):
    section = _section(
        make_run("a", _tasks(made_task, [1, 0, 0]), seed=0),
        make_run("b", _tasks(made_task, [0, 0, 1]), seed=1),
    )
    # Prompts 50, 0, 50: the median is 50, where each run's own is 0.
    assert "median 50.0" in section.drawing.alt


def test_a_model_trained_on_a_dataset_is_starred(make_run, made_task, tmp_path):
    def pack(*names):
        folder = tmp_path / names[0]
        folder.mkdir()
        tasks = tuple(
            PackedTask(
                name=name,
                rate=1,
                share_asked=1 / len(names),
                share=1 / len(names),
                examples=1,
                available=1,
                inputs_tokens=1,
                targets_tokens=1,
                inputs_truncated=0,
                targets_truncated=0,
                source_digest="x",
            )
            for name in names
        )
        manifest = PackManifest(
            settings={"mixture": "m", "format": FORMAT, "inputs_length": 9, "targets_length": 9},
            vocabulary_path=None,
            vocab_size=256,
            tasks=tasks,
            shards=(),
            rows=1,
            examples=len(names),
            inputs_efficiency=1.0,
            targets_efficiency=1.0,
            rows_lower_bound=1,
            instrux_version="0.1",
        )
        (folder / "manifest.json").write_text(manifest.to_json())
        (folder / "COMPLETED").touch()
        return str(folder)

    tasks = _tasks(made_task, [1, 0], dataset="hellaswag")
    plain = make_run("plain", tasks, pack_dir=pack("super_glue_copa_a"))
    plus = make_run("plus", tasks, pack_dir=pack("hellaswag_a"))
    assert "trained on this dataset" not in _section(plain).caption
    assert "*: trained on this dataset" in _section(plain, plus).caption


def test_without_one_of_the_datasets_there_is_no_section(make_run, made_task):
    assert _section(make_run("mine", _tasks(made_task, [1, 0], dataset="acme"))) is None


def test_the_picture_lies_beside_the_page_at_two_times_the_size(make_run, made_task, tmp_path):
    made = build_report([read_run(make_run("m", _tasks(made_task, [1, 0])))], title="t")
    write_report(made, tmp_path / "report.html")
    picture = imread(tmp_path / "report_held_out.png")
    (drawing,) = (d for d in made.drawings if d.name == "held_out")
    width = float(drawing.svg.split('viewBox="0 0 ')[1].split()[0])  # points, 72 an inch
    assert picture.shape[1] == pytest.approx(width / 72 * 200, abs=2)


def test_eleven_panels_and_ten_models_are_drawn_without_a_warning():
    models = [f"model {i}" for i in range(10)]
    draw = np.random.default_rng(0)
    panels = [
        Panel(
            title=f"set {p}",
            detail="5 prompts",
            scores=tuple(tuple(draw.uniform(30, 90, 5)) if m != p else () for m in range(10)),
            trained_on=(False,) * 10,
            chance=50.0,
            published=(PublishedMark("T0 11B, mean", 60.0), PublishedMark("T0 11B, median", 60.0)),
        )
        for p in range(11)
    ]
    drawing = held_out(panels, models)
    assert imread(io.BytesIO(drawing.png)).shape[1] > 2000
    assert all(model in drawing.svg for model in models)


def test_near_dots_stand_beside_each_other():
    offsets = _beside_each_other([50, 50, 51, 80])
    assert len(set(offsets[:3])) == 3
    assert offsets[3] == 0
