"""The report: its verdict against arithmetic, what it shows, and what it does not let through."""

import dataclasses
import html.parser
import json
import re
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.image import imread

from instrux.data.packed_manifest import FORMAT, PackedTask, PackManifest
from instrux.data.selected_step import SelectedStep, write_selected
from instrux.errors import InputError
from instrux.evaluation.compare import arms, compare_groups
from instrux.evaluation.report import build_report, write_report
from instrux.evaluation.report_examples import showable
from instrux.evaluation.results import Interval
from instrux.evaluation.runs import RunForReport, read_curve, read_run
from instrux.evaluation.training_plots import running_mean
from instrux.evaluation.verdict import GAIN, LOSS, UNCLEAR, judge

MadeTask = None  # set below, from the conftest beside this module


@pytest.fixture(autouse=True)
def _made_task(request):
    global MadeTask
    MadeTask = request.getfixturevalue("made_task")


def _tasks(right, *, group="held-out prompts", datasets=("rte", "cb"), prompts=3, **options):
    return [
        MadeTask(dataset, f"{group} {number}", group, right, **options)
        for dataset in datasets
        for number in range(prompts)
    ]


def _report(*runs, **options):
    return build_report([read_run(run) for run in runs], title="A title", **options)


def _judged(*runs):
    """What the report says first, without the page."""
    comparisons = compare_groups(arms([read_run(run) for run in runs]))
    return SimpleNamespace(verdict=judge(comparisons), comparisons=comparisons)


# --- The verdict ------------------------------------------------------------------------------


def test_a_gain_is_told_with_its_numbers(make_run):
    report = _judged(
        make_run("tuned", _tasks(0.9)),
        make_run("plain", _tasks(0.5), role="no instructions", draw_seed=1),
    )
    assert report.verdict.headline == "Instruction tuning worked on held-out prompts."
    assert report.verdict.outcome == GAIN
    (comparison,) = report.comparisons
    main, reference = comparison.main, comparison.reference
    assert main.score.value == pytest.approx(90, abs=6)
    assert reference.lead.value == pytest.approx(main.score.value - reference.score.value)
    assert reference.lead.interval.low > 20
    (group,) = report.verdict.groups
    numbers = re.findall(r"−?\d+", group.sentence.replace("95\u00a0% interval", ""))
    expected = [
        main.score.value,
        *dataclasses.astuple(main.score.interval),
        50,
        reference.score.value,
        *dataclasses.astuple(reference.score.interval),
        reference.lead.value,
        *dataclasses.astuple(reference.lead.interval),
    ]
    assert [int(n) for n in numbers] == [round(value) for value in expected]
    assert "chance is 50\u00a0%" in group.sentence


def test_a_score_is_the_mean_over_datasets_of_the_median_over_prompts(make_run):
    def sharp(dataset, prompt, right):  # all right or all wrong: no chance involved
        return MadeTask(dataset, prompt, "held-out prompts", right)

    tasks = [sharp("a", "1", 1), sharp("a", "2", 1), sharp("a", "3", 0), sharp("b", "1", 0)]
    (comparison,) = compare_groups(arms([read_run(make_run("r", tasks))]))
    assert comparison.main.score.value == 50  # medians 100 and 0
    assert comparison.num_prompts == 4
    assert comparison.num_examples == 80


def test_no_difference_is_not_called_one(make_run):
    report = _judged(
        make_run("tuned", _tasks(0.52)),
        make_run("plain", _tasks(0.5), role="no instructions", draw_seed=1),
    )
    assert report.verdict.outcome == UNCLEAR
    assert "made no difference that can be shown" in report.verdict.headline
    assert any("not shown to be above chance" in line for line in report.verdict.confidence)


def test_harm_is_told(make_run):
    report = _judged(
        make_run("tuned", _tasks(0.3)), make_run("plain", _tasks(0.8), role="no instructions")
    )
    assert report.verdict.headline == "Instruction tuning did harm on held-out prompts."
    assert report.verdict.outcome == LOSS
    assert "−" in report.verdict.groups[0].sentence


def test_groups_that_disagree_make_a_mixed_verdict_without_training_prompts(make_run):
    def tasks(first, second):
        return [
            *_tasks(first, group="held-out prompts"),
            *_tasks(second, group="held-out cluster", datasets=("wic", "wsc")),
            *_tasks(0.9, group="training prompts"),
        ]

    report = _judged(
        make_run("tuned", tasks(0.9, 0.5)),
        make_run("plain", tasks(0.5, 0.5), role="no instructions", draw_seed=1),
    )
    assert report.verdict.headline == (
        "Instruction tuning worked on held-out prompts, but made no difference that can be shown"
        " on the held-out cluster."
    )
    assert report.verdict.outcome == "mixed"
    assert [g.comparison.group for g in report.verdict.groups] == [
        "held-out prompts",
        "held-out cluster",
        "training prompts",
    ]


def test_one_run_is_compared_with_chance_and_nothing_more_is_claimed(make_run):
    report = _judged(make_run("tuned", _tasks(0.9)))
    assert report.verdict.headline == (
        "The instruction-tuned model does better than chance on held-out prompts."
    )
    assert any("is not known" in line for line in report.verdict.confidence)


def test_prompts_that_are_not_held_out_are_pointed_out(make_run):
    report = _judged(make_run("tuned", _tasks(0.9, group="")))
    assert "on the evaluated prompts" in report.verdict.headline
    assert any("memory" in line for line in report.verdict.confidence)


def test_only_what_every_run_has_is_compared(make_run):
    report = _report(
        make_run("tuned", _tasks(0.9, datasets=("rte", "cb"))),
        make_run("plain", _tasks(0.5, datasets=("rte",)), role="no instructions"),
    )
    (comparison,) = report.comparisons
    assert comparison.datasets == ("rte",)
    assert comparison.left_out == ("cb",)
    assert any("left out, as not every run has it: cb" in s for s in report.verdict.confidence)
    assert "cb" in report.html  # its own numbers are shown all the same


def test_runs_are_compared_on_the_examples_that_both_have(make_run):
    report = _judged(
        make_run("tuned", _tasks(0.9, num_examples=40)),
        make_run("plain", _tasks(0.5, num_examples=25), role="no instructions"),
    )
    assert report.comparisons[0].num_examples == 50


def test_nothing_to_compare_is_said(make_run):
    report = _report(
        make_run("tuned", _tasks(0.9, datasets=("rte",))),
        make_run("plain", _tasks(0.5, datasets=("cb",)), role="no instructions"),
    )
    assert report.verdict.headline.startswith("There is nothing to compare")
    assert "rte" in report.html and "cb" in report.html


# --- Seeds and the ablation -------------------------------------------------------------------


def _ablation_runs(make_run):
    runs = []
    for count, right in ((1, 0.6), (3, 0.75), (7, 0.9)):
        for seed in range(3):
            tasks = _tasks(right + 0.02 * seed)
            runs.append(
                make_run(
                    f"{count} {seed}",
                    tasks,
                    num_prompts=count,
                    seed=seed,
                    draw_seed=10 * count + seed,
                )
            )
    runs.append(make_run("plain", _tasks(0.5), role="no instructions"))
    return runs


def test_runs_that_differ_in_their_seed_alone_are_one_arm(make_run):
    found = arms([read_run(run) for run in _ablation_runs(make_run)])
    assert [(arm.point, len(arm.runs)) for arm in found] == [
        (7, 3),
        (3, 3),
        (1, 3),
        (None, 1),
    ]
    assert found[0].name == "instruction-tuned, 7 prompts a task"
    (comparison,) = compare_groups(found)
    assert len(comparison.main.by_seed) == 3
    assert comparison.main.score.value == pytest.approx(np.mean(comparison.main.by_seed))
    assert "Training seeds are drawn too" in " ".join(judge([comparison]).confidence)


def test_runs_of_the_same_seed_differ_in_something_else(make_run):
    first = make_run("small", _tasks(0.6), seed=0)
    second = make_run("large", _tasks(0.6), seed=0)
    assert [arm.name for arm in arms([read_run(first), read_run(second)])] == ["small", "large"]


def test_the_ablation_has_a_figure_and_a_sentence(make_run):
    report = _report(*_ablation_runs(make_run))
    names = [drawing.name for drawing in report.drawings]
    assert names.count("ablation_0") == 1
    assert (
        "With 7 training prompts a task instead of 1, the score on held-out prompts is higher"
        in (report.html)
    )
    (drawing,) = [d for d in report.drawings if d.name == "ablation_0"]
    (comparison,) = report.comparisons
    mean = comparison.main.score.value
    assert f"7: median {mean:.1f}" in drawing.alt


def test_seeds_widen_the_interval(make_run):
    """Two seeds far apart are less sure than either alone."""
    low, high = (make_run(f"s{s}", _tasks(r), seed=s) for s, r in ((0, 0.55), (1, 0.95)))
    (both,) = compare_groups(arms([read_run(low), read_run(high)]))
    (alone,) = compare_groups(arms([read_run(low)]))
    assert both.main.score.half_width > 2 * alone.main.score.half_width


# --- The page ---------------------------------------------------------------------------------


class _Page(html.parser.HTMLParser):
    """What a browser would make of the page: elements, attributes, words."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.words = [], [], []
        self.open = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data):
        self.words.append(data)


def _pack(folder, **changes):
    task = PackedTask(
        name="t",
        rate=1.0,
        share_asked=0.25,
        share=0.26,
        examples=10,
        available=5,
        inputs_tokens=1,
        targets_tokens=1,
        inputs_truncated=3,
        targets_truncated=0,
        source_digest="",
    )
    other = dataclasses.replace(task, name="u", share_asked=0.75, share=0.74, inputs_truncated=0)
    manifest = PackManifest(
        settings={"mixture": "words", "format": FORMAT},
        vocabulary_path=None,
        vocab_size=10,
        tasks=(task, other),
        shards=(),
        rows=102,
        examples=20,
        inputs_efficiency=0.975,
        targets_efficiency=0.5,
        rows_lower_bound=100,
        instrux_version="0",
    )
    folder.mkdir()
    (folder / "manifest.json").write_text(manifest.to_json())
    (folder / "COMPLETED").touch()
    return str(folder)


def test_the_page_shows_all_it_should(make_run, tmp_path):
    pack_dir = _pack(tmp_path / "pack")
    report = _report(
        make_run("tuned", _tasks(0.9), pack_dir=pack_dir),
        make_run("plain", _tasks(0.5), role="no instructions", pack_dir=pack_dir),
    )
    text = " ".join(_Page(report.html).words)
    assert [d.name for d in report.drawings] == ["overview", "prompts_0", "curves", "mixture_0"]
    assert report.html.count("<svg ") == 4
    for said in (
        report.verdict.headline,
        "97.5% of encoder",
        "2.0% more rows than the lower bound",
        "3 inputs cut",
        "held-out prompts 1",  # a prompt by name
        "✓ right",
        "✗ wrong",
        "Premise",  # an example's inputs
        "inputs_length",  # settings
        "version of jax",
    ):
        assert said in text, said
    assert "What is missing here" not in text


def test_the_page_is_self_contained_and_runs_nothing(make_run):
    page = _Page(_report(make_run("tuned", _tasks(0.9))).html)
    assert not {"script", "link", "img", "iframe", "object"} & set(page.tags)
    outward = [
        (name, value)
        for name, value in page.attributes
        if value and ("//" in value) and not name.startswith("xmlns")
    ]
    assert outward == []
    assert not [name for name, _ in page.attributes if name.startswith("on")]


def test_figures_are_described_and_follow_the_readers_colours(make_run):
    report = _report(make_run("tuned", _tasks(0.9)))
    for drawing in report.drawings:
        assert 'role="img"' in drawing.svg
        assert "currentColor" in drawing.svg
        assert len(drawing.alt) > 40
    (prompts,) = [d for d in report.drawings if d.name == "prompts_0"]
    scores = [r.score for r in report.arms[0].runs[0].results.tasks if r.dataset == "rte"]
    assert f"rte: tuned median {np.median(scores):.1f}" in prompts.alt


def test_ids_of_figures_do_not_collide(make_run):
    page = _Page(_report(make_run("tuned", _tasks(0.9))).html)
    ids = [
        value
        for name, value in page.attributes
        if name == "id"
        and not value.startswith(
            (
                "figure_",
                "axes_",
                "patch_",
                "line2d_",
                "text_",
                "matplotlib",
                "xtick",
                "ytick",
                "legend",
            )
        )
    ]
    assert len(ids) == len(set(ids))


HOSTILE = '<script>alert("x")</script><img src=x onerror=alert(1)>{{ 7*7 }} $\\frac$ \u202e\x00 {i}'


def test_hostile_text_is_shown_and_not_obeyed(make_run):
    tasks = _tasks(
        0.5, datasets=("<b>data</b> $x$",), inputs=HOSTILE.replace("{{ 7*7 }}", "{{{{ 7*7 }}}}")
    )
    tasks[0].prompt = HOSTILE.replace("/", "").replace("\x00", "")[:60]
    report = build_report([read_run(make_run("tuned", tasks))], title="<script>title</script>")
    page = _Page(report.html)
    assert not {"script", "img", "b"} & set(page.tags)
    text = " ".join(page.words)
    assert '<script>alert("x")</script>' in text
    assert "{{ 7*7 }}" in text
    assert "\u202e" not in report.html and "\x00" not in report.html


def test_the_same_results_make_the_same_page(make_run):
    run = make_run("tuned", _tasks(0.8))
    first, second = _report(run), _report(run)
    assert first.html == second.html
    assert [d.png for d in first.drawings] == [d.png for d in second.drawings]


def test_png_files_lie_beside_the_page(make_run, tmp_path):
    report = _report(make_run("tuned", _tasks(0.9)))
    write_report(report, tmp_path / "out" / "report.html")
    pictures = sorted(p.name for p in (tmp_path / "out").glob("*.png"))
    assert pictures == ["report_curves.png", "report_overview.png", "report_prompts_0.png"]
    pixels = imread(tmp_path / "out" / "report_prompts_0.png")
    assert pixels.shape[1] > 1000
    assert pixels[..., :3].std() > 0.05  # something is drawn


def test_many_datasets_are_shown_by_cluster(make_run):
    tasks = [
        MadeTask(f"d{number}", "p", "held-out prompts", 0.7, cluster=f"cluster {number % 3}")
        for number in range(45)
    ]
    report = _report(make_run("tuned", tasks))
    (drawing,) = [d for d in report.drawings if d.name == "prompts_0"]
    assert "cluster 2" in drawing.alt and "d44" not in drawing.alt
    assert "d44" in report.html


def test_metrics_are_not_mixed(make_run):
    tasks = _tasks(0.9, prompts=1) + _tasks(
        0.4,
        group="held-out prompts",
        datasets=("xsum",),
        options={"metric": "rougeL", "mode": "generate", "chance": None},
    )
    report = _report(make_run("tuned", tasks))
    assert [c.metric for c in report.comparisons] == ["accuracy", "rougeL"]
    assert "always the most frequent answer" in report.verdict.groups[1].sentence
    assert "held-out prompts (rougeL)" in report.verdict.headline
    assert "than what no understanding gets on held-out" in report.verdict.headline


# --- What is missing --------------------------------------------------------------------------


def test_missing_curves_and_packs_are_told_and_do_no_harm(make_run, tmp_path):
    first = make_run("tuned", _tasks(0.9), curve=False, pack_dir=str(tmp_path / "nowhere"))
    report = _report(first)
    assert "tuned: no loss and throughput curves" in report.html
    assert "tuned: no mixture shares" in report.html
    assert "No run logged its training" in report.html


def test_a_log_cut_short_or_with_foreign_lines_is_read_as_far_as_it_goes(tmp_path):
    path = tmp_path / "metrics.jsonl"
    lines = [
        '{"step": 1, "loss": 2.5}',
        "[1]",
        "null",
        '{"step": 2, "loss": null}',
        '{"step": 3, "lo',
    ]
    path.write_text("\n".join(lines))
    points = read_curve(path)
    assert [point.step for point in points] == [1, 2]
    assert points[0].loss == 2.5
    assert np.isnan(points[1].loss) and np.isnan(points[0].tokens_per_second)


def test_a_curve_without_numbers_is_drawn_all_the_same(make_run):
    run = make_run("tuned", _tasks(0.9))
    (path,) = [p for p in [read_run(run).folder.parents[1] / "metrics.jsonl"]]
    path.write_text(json.dumps({"step": 1, "loss": None}) + "\n")
    assert "curves" in [d.name for d in _report(run).drawings]


def test_a_run_that_was_not_evaluated_is_the_users_mistake(tmp_path, make_run):
    with pytest.raises(InputError, match=r"'ghost': no results under .*instrux evaluate"):
        read_run(RunForReport(name="ghost", model_dir=str(tmp_path)))
    run = make_run("tuned", _tasks(0.9))
    with pytest.raises(InputError, match=r"step 11 was not evaluated; there are \[10\]"):
        read_run(dataclasses.replace(run, step=11))
    with pytest.raises(InputError, match="no runs"):
        build_report([], title="")


def test_the_last_evaluated_step_is_shown(make_run):
    make_run("tuned", _tasks(0.6), step=9)
    run = make_run("tuned", _tasks(0.9), step=100)
    assert read_run(run).results.step == 100
    assert read_run(dataclasses.replace(run, step=9)).results.step == 9


# --- Small parts ------------------------------------------------------------------------------


def test_a_running_mean_by_hand():
    values = np.array([4.0, 1.0, 1.0, 4.0, 7.0])
    np.testing.assert_allclose(running_mean(values, 1), [4, 2, 2, 4, 7])
    np.testing.assert_allclose(running_mean(values, 0), values)


@pytest.mark.parametrize(
    ("text", "limit", "shown"),
    [
        ("short", 10, "short"),
        ("a\x07b\u202ec", 10, "a\ufffdb\ufffdc"),
        ("line\n\ttab", 10, "line\n\ttab"),
        ("abcdefghij", 6, "abcd […] ij"),
    ],
)
def test_text_is_made_showable(text, limit, shown):
    assert showable(text, limit) == shown


def test_a_lead_keeps_its_pairing(make_run):
    """Two runs that agree on every example differ by nothing, however uncertain each is."""
    tuned = make_run("tuned", _tasks(0.7, prompts=6))
    plain = make_run("plain", _tasks(0.7, prompts=6), role="no instructions")  # the same draws
    (comparison,) = compare_groups(arms([read_run(tuned), read_run(plain)]))
    assert comparison.reference.lead.interval == Interval(0.0, 0.0)
    assert comparison.main.score.half_width > 1


# --- The choice of a checkpoint ---------------------------------------------------------------


def _selected(run, *tasks, scores, split="validation", **more):
    best = max(scores, key=lambda step: scores[step])
    write_selected(
        run.model_dir,
        SelectedStep(
            step=best,
            checkpoint="blake2b:0",
            rule="mean_of_tasks",
            score=scores[best],
            scores=scores,
            tasks=tasks,
            left_out=(),
            split=split,
            max_examples=None,
            evaluation="select",
            **more,
        ),
    )
    return dataclasses.replace(run, step="selected")


def test_how_a_checkpoint_was_chosen_is_told(make_run):
    run = make_run("r", _tasks(0.9, datasets=("rte",), prompts=1))
    page = _report(_selected(run, "imdb_a", scores={5: 50.0, 10: 60.5})).html
    assert "mean_of_tasks of 1 tasks, validation: step 5: 50.00, step 10: 60.50" in page
    assert "chosen on" not in page


def test_a_checkpoint_chosen_on_held_out_tasks_is_a_caution(make_run):
    run = make_run("r", _tasks(0.9, datasets=("rte",), prompts=1))
    page = _report(_selected(run, "rte_held-out prompts 0", scores={10: 60.0})).html
    assert "r: its checkpoint was chosen on 1 task that is shown as held-out" in page
    assert "r: its checkpoint was the only one to choose from" in page


def test_other_rows_of_a_held_out_task_may_choose(make_run):
    run = make_run("r", _tasks(0.9, datasets=("rte",), prompts=1))
    page = _report(_selected(run, "rte_held-out prompts 0", scores={10: 60.0}, split="test")).html
    assert "chosen on" not in page


def test_loss_and_score_of_every_epoch_are_drawn(make_run):
    run = make_run("r", _tasks(0.9, datasets=("rte",), prompts=1))
    losses = {5: 1.25, 10: 1.5}
    run = _selected(run, "a", scores={5: 1.0, 10: 3.0}, losses=losses, steps_per_epoch=5)
    made = _report(run)
    assert "Epoch 2 of 2 was chosen by mean_of_tasks on validation prompts (3.000)." in made.html
    assert "was lowest at epoch 1 (1.2500)" in made.html
    assert "selection_0" in {drawing.name for drawing in made.drawings}


def test_a_selected_step_that_was_not_evaluated_is_told(make_run):
    run = make_run("r", _tasks(0.9, datasets=("rte",), prompts=1))
    with pytest.raises(InputError, match=r"step 20 was not evaluated; there are \[10\]"):
        read_run(_selected(run, "imdb_a", scores={20: 1.0}))
