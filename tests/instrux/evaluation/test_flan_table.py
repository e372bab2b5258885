"""FLAN's table in a report: means, deviations, templates chosen on dev rows, published figures."""

import dataclasses

import pytest

from instrux.errors import InputError
from instrux.evaluation.compare import arms
from instrux.evaluation.published_flan import CLUSTER, TAGS, published_ablations, published_flan
from instrux.evaluation.report import build_report, write_report
from instrux.evaluation.report_flan import flan_section
from instrux.evaluation.results import read_results, write_results
from instrux.evaluation.runs import read_run

GROUP = "held-out: clusters that a model has not seen"


@pytest.fixture
def part(make_run, made_task, tmp_path):
    """Makes one part of a sweep; its dev scores are given by template."""

    def make(name, dataset, cluster, right, dev, **about):
        tasks = [
            made_task(dataset, f"type_{n}", GROUP, share, cluster) for n, share in enumerate(right)
        ]
        run = make_run(name, tasks, part_of="FLAN", dev="dev", **about)
        folder = tmp_path / name.replace(" ", "_")
        test = read_results(folder / "eval" / "10" / "results.json")
        scored = [dataclasses.replace(t, score=s) for t, s in zip(test.tasks, dev, strict=True)]
        write_results(
            folder / "dev" / "10" / "results.json",
            dataclasses.replace(test, tasks=tuple(scored), summaries=()),
        )
        return run

    return make


@pytest.fixture
def sweep(part):
    return [
        # Shares of 0 and 1 are exact: every template is always wrong or always right.
        part("nli", "super_glue/rte", "entailment", (0.0, 1.0, 1.0), (90.0, 10.0, 90.0)),
        part("qa", "bool_q", "reading_comprehension", (1.0, 0.0), (40.0, 60.0)),
    ]


def test_a_sweep_is_one_run_and_its_table_has_every_cluster(sweep, tmp_path):
    report = build_report([read_run(run) for run in sweep], title="t")
    assert [arm.name for arm in report.arms] == ["FLAN"]
    rte, boolq = report.flan.rows
    assert [(row.name, row.cluster) for row in (rte, boolq)] == [
        ("super_glue/rte", "entailment"),
        ("bool_q", "reading_comprehension"),
    ]
    # By hand: mean of 0, 100, 100; sample deviation sqrt(((2/3)^2 + 2 (1/3)^2) / 2) * 100.
    (own,) = rte.arms
    assert own.mean == pytest.approx(200 / 3) and own.deviation == pytest.approx(57.735, abs=1e-3)
    # Templates 0 and 2 are equal on the dev rows: the first is taken, and is wrong on the test rows.
    assert own.best_dev == 0.0 and own.chosen == ("super_glue/rte_type_0",)
    assert boolq.arms[0].best_dev == 0.0 and boolq.arms[0].mean == 50.0
    write_report(report, tmp_path / "report.html")
    table = (tmp_path / "report_flan.csv").read_text().splitlines()
    assert table[0].startswith("cluster,dataset,metric,templates,rows,baseline,FLAN: mean,")
    assert table[1].startswith("entailment,super_glue/rte,accuracy,3,40,50.0,66.6666")
    assert "78.3 [chk1]" in table[1]
    assert (tmp_path / "report_flan.png").exists()
    # Training and settings are shown part by part.
    assert report.html.count("· step 10") == 2
    assert "66.7 ± 57.7" in report.html and "84.5 <span" in report.html


def test_a_cluster_of_several_datasets_has_a_mean(part):
    parts = [
        part("a", "anli/r1", "entailment", (1.0, 0.0), (1.0, 2.0)),
        part("b", "super_glue/cb", "entailment", (1.0, 1.0), (1.0, 2.0)),
    ]
    rows = flan_section(arms([read_run(run) for run in parts])).rows
    assert [row.name for row in rows] == ["anli/r1", "super_glue/cb", "mean of 2"]
    assert rows[2].is_mean and rows[2].arms[0].mean == 75.0 and rows[2].arms[0].best_dev == 50.0


def test_multircs_f1_and_whole_questions_have_rows_of_their_own(make_run, made_task, tmp_path):
    tasks = [
        made_task(
            "super_glue/multirc",
            f"type_{n}",
            GROUP,
            1.0,
            "reading_comprehension",
            options={
                "metrics": {"accuracy": 100.0, "answer_f1": f1, "question_exact_match": f1 / 2}
            },
        )
        for n, f1 in enumerate((40.0, 60.0))
    ]
    run = make_run("a", tasks, dev="dev")
    test = read_results(tmp_path / "a" / "eval" / "10" / "results.json")
    dev = [
        dataclasses.replace(task, metrics={"accuracy": accuracy, "answer_f1": f1})
        for task, accuracy, f1 in zip(test.tasks, (90.0, 10.0), (20.0, 30.0), strict=True)
    ]
    dev = dataclasses.replace(test, tasks=tuple(dev), summaries=())
    write_results(tmp_path / "a" / "dev" / "10" / "results.json", dev)
    accuracy, f1, whole = flan_section(arms([read_run(run)])).rows
    assert (accuracy.metric, accuracy.published) == ("accuracy", (None,) * 5)
    assert (f1.metric, f1.arms[0].mean, f1.baseline_cell) == ("answer_f1", 50.0, "–")
    # The second template is better on the dev rows by F1.
    assert (f1.arms[0].best_dev, f1.arms[0].chosen) == (60.0, ("super_glue/multirc_type_1",))
    assert f1.published_cells[2] == ("74.5", "chk1")
    assert (whole.metric, whole.arms[0].mean) == ("question_exact_match", 25.0)


def test_a_tuned_model_is_held_against_the_untuned_one(make_run, made_task):
    runs = [
        make_run(
            f"{role} {dataset} {seed}",
            [made_task(dataset, "bare", GROUP, share, num_examples=200)],
            role=role,
            part_of=role,
            seed=seed,
        )
        for role, share in (("instructions", 0.9), ("untuned", 0.6))
        for dataset in ("super_glue/rte", "super_glue/cb")
        for seed in (0, 1)
    ]
    report = build_report([read_run(run) for run in runs], title="t")
    assert [(arm.name, len(arm.runs)) for arm in report.arms] == [
        ("instruction-tuned", 2),
        ("untuned", 2),
    ]
    assert report.verdict.outcome == "gain"
    assert report.verdict.headline.startswith("Instruction tuning worked")
    assert "the same model untuned" in report.verdict.groups[0].sentence


def test_seeds_of_a_sweep_are_one_arm(part):
    runs = [
        part(f"{seed}", "super_glue/rte", "entailment", right, (1.0, 2.0), seed=seed)
        for seed, right in ((0, (1.0, 0.0)), (1, (0.0, 0.0)))
    ]
    (arm,) = arms([read_run(run) for run in runs])
    assert len(arm.runs) == 2
    assert flan_section([arm]).rows[0].arms[0].mean == 25.0


def test_without_dev_rows_there_is_no_table_and_it_is_told(make_run, made_task):
    tasks = [made_task("super_glue/rte", "type_0", GROUP, 1.0, "entailment")]
    assert flan_section(arms([read_run(make_run("plain", tasks))])) is None
    absent = read_run(make_run("absent", tasks, dev="dev"))
    assert absent.dev is None and any("no template is chosen" in note for note in absent.notes)


def test_a_dataset_that_two_parts_were_asked_for_is_refused(part):
    runs = [part(name, "super_glue/rte", "e", (1.0,), (1.0,)) for name in ("one", "two")]
    with pytest.raises(InputError, match="evaluated for 'one' and for 'two'"):
        arms([read_run(run) for run in runs])


def test_what_varies_is_an_axis(make_run, made_task):
    runs = [
        make_run(
            f"{role} {point:g}",
            [made_task("cb", f"type_{n}", GROUP, share) for n in range(4)],
            axis="parameters",
            point=point,
            role=role,
        )
        for role, shares in (("instructions", (0.6, 1.0)), ("untuned", (0.5, 0.5)))
        for point, share in zip((80e6, 11e9), shares, strict=True)
    ]
    report = build_report([read_run(run) for run in runs], title="t")
    assert [arm.name for arm in report.arms][:2] == ["instructions 1.1e+10", "instructions 8e+07"]
    (drawing,) = [each for each in report.drawings if each.name == "ablation_0"]
    assert "by parameters" in drawing.alt and "untuned, 11B: median" in drawing.alt
    assert "With 11B parameters instead of 80M, the score" in report.html
    assert "FLAN's table" not in report.html
    assert "<h2>More parameters</h2>" in report.html


def test_published_figures_are_confirmed_and_their_means_agree():
    rows = published_flan()
    assert {row.tag for row in rows} == {row.tag for row in published_ablations()} == set(TAGS)

    def mean(names, model, statistic):
        own = [r.value for r in rows if (r.name, r.model, r.statistic) in
               {(name, model, statistic) for name in names}]  # fmt: skip
        assert len(own) == len(names)
        return round(sum(own) / len(own) + 1e-9, 1)

    members = {
        "natural language inference": ("ANLI R1", "ANLI R2", "ANLI R3", "CB", "RTE"),
        "reading comprehension": ("BoolQ", "MultiRC", "OpenBookQA"),
        "closed-book QA": ("ARC-challenge", "ARC-easy", "Natural Questions", "TriviaQA"),
    }
    for row in rows:
        if row.dataset == CLUSTER:
            assert mean(members[row.name], row.model, row.statistic) == row.value
    # The ablation of instructions: means over its four clusters.
    by_setting = {}
    for row in published_ablations():
        if row.ablation == "instructions":
            by_setting.setdefault(row.setting, {})[row.scope] = row.value
    for values in by_setting.values():
        total = values.pop("mean")
        assert sum(values.values()) / 4 == pytest.approx(total, abs=0.06)
