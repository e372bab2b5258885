"""Medians and spreads over prompts of two models: arithmetic, and intervals against known truth."""

import re

import numpy as np
import pytest

from instrux.evaluation import bootstrap
from instrux.evaluation.compare import arms, compare_groups
from instrux.evaluation.report import build_report
from instrux.evaluation.report_robustness import robustness_tables
from instrux.evaluation.report_tables import compare_datasets, prompt_rows
from instrux.evaluation.runs import read_run


@pytest.fixture
def make_tasks(made_task):
    """Prompts that are all right (1) or all wrong (0): no chance involved."""

    def make(rights, dataset="rte", group="held-out: inference", **options):
        return [
            made_task(dataset, f"prompt_{i}", group, right, **options)
            for i, right in enumerate(rights)
        ]

    return make


def _tables(*runs):
    all_arms = arms([read_run(run) for run in runs])
    return robustness_tables(all_arms, compare_groups(all_arms), compare_datasets(all_arms))


def test_medians_and_spreads_by_hand(make_run, make_tasks):
    (table,) = _tables(
        make_run("many", make_tasks([1, 1, 1, 1, 0])), make_run("one", make_tasks([0, 0, 0, 1, 1]))
    )
    (row,) = table.rows
    # Scores 0, 100, 100, 100, 100: quartiles 100 and 100. Scores 0, 0, 0, 100, 100: 0 and 100.
    assert row.medians == ("100.0", "0.0")
    assert row.median_lead == "+100.0"
    assert row.spreads == ("0.0", "100.0")
    assert row.spread_lead == "−100.0"
    assert table.arms == ("many", "one")


def test_datasets_are_counted_over_all_held_out_groups(make_run, make_tasks):
    def tasks(first, second, third):
        return [
            *make_tasks(first, "rte", "held-out: inference"),
            *make_tasks(second, "copa", "held-out: completion"),
            *make_tasks(third, "imdb", "trained datasets"),
        ]

    (table,) = _tables(
        make_run("main", tasks([1, 1, 1], [0, 0, 0], [1, 1, 1])),
        make_run("other", tasks([0, 0, 0], [0, 1, 1], [0, 0, 0])),
    )
    assert table.group == "Held-out datasets"
    assert [row.dataset for row in table.rows] == ["rte", "copa", "mean of 2 datasets"]
    # Medians 100 against 0, and 0 against 100; spreads 0 against 0, and 0 against 50.
    assert table.rows[2].median_lead == "+0.0"
    assert table.rows[2].spread_lead == "−25.0"
    assert re.search(
        r"higher than that of other on 1 of 2 datasets .*, and lower on 1", table.sentences[0]
    )
    assert re.search(r"smaller on 1 .*, and larger on 0\.", table.sentences[1])


def test_an_arms_spread_is_the_mean_over_its_seeds(make_run, make_tasks):
    all_arms = arms(
        [
            read_run(make_run("a", make_tasks([1, 1, 1, 1, 1]), seed=0)),
            read_run(make_run("b", make_tasks([0, 0, 0, 1, 1]), seed=1)),
        ]
    )
    (comparison,) = compare_groups(all_arms)
    assert comparison.main.spread.value == 50  # 0 and 100
    assert comparison.main.score.value == 50


def test_a_spread_that_never_varies_has_no_width(make_run, make_tasks):
    all_arms = arms([read_run(make_run("a", make_tasks([1, 1, 1])))])
    (comparison,) = compare_groups(all_arms)
    spread = comparison.main.spread
    assert (spread.value, spread.interval.low, spread.interval.high) == (0, 0, 0)


def _credits(array, dataset):
    ids = tuple(f"{i:04d}" for i in range(len(array)))
    prompts = tuple(map(str, range(array.shape[1])))
    return bootstrap.DatasetCredits(dataset, prompts, ids, array, np.ones_like(array))


@pytest.mark.parametrize(("num_prompts", "spreads"), [(10, (8, 4)), (6, (6, 6))])
def test_intervals_of_a_difference_of_spreads_cover_the_truth(num_prompts, spreads):
    """Two models with prompts and examples of a known law, asked about the same examples."""
    rng = np.random.default_rng(3)

    def draw():
        ease, made = rng.normal(0, 15, size=(100, 1)), []
        for spread in spreads:
            chance = np.clip((rng.normal(60, spread, num_prompts) + ease) / 100, 0, 1)
            made.append(100.0 * (rng.uniform(size=chance.shape) < chance))
        return made

    def difference(first, second):
        return float(bootstrap.interquartile_ranges(first) - bootstrap.interquartile_ranges(second))

    truth = np.mean([difference(*(a.mean(axis=0) for a in draw())) for _ in range(2000)])
    covered, half_widths, values = 0, [], []
    for trial in range(150):
        runs = [_credits(array, f"d{trial}") for array in draw()]
        value = difference(*(run.prompt_scores for run in runs))
        drawn = [
            bootstrap.centred(
                bootstrap.interquartile_ranges(scores),
                float(bootstrap.interquartile_ranges(run.prompt_scores)),
            )
            for run, scores in zip(
                runs, bootstrap.prompt_replicates(runs, replicates=200), strict=True
            )
        ]
        interval = bootstrap.percentile_interval(drawn[0] - drawn[1])
        covered += interval.low <= truth <= interval.high
        half_widths.append((interval.high - interval.low) / 2)
        values.append(value)
    assert 0.88 <= covered / 150 <= 1.0
    assert np.mean(half_widths) == pytest.approx(1.96 * np.std(values), rel=0.25)


def test_conditional_prompts_are_flagged_with_their_rows(make_run, made_task):
    group = "held-out: completion"
    tasks = [
        made_task("super_glue/copa", "always", group, 1),
        made_task("super_glue/copa", "if cause", group, 1, num_examples=20),
    ]
    run = read_run(make_run("m", tasks))
    rows = {r.template: r for r in prompt_rows(arms([run]), ("super_glue/copa", group, "accuracy"))}
    assert (rows["always"].num_examples, rows["always"].covers) == ("40", "")
    assert (rows["if cause"].num_examples, rows["if cause"].covers) == (
        "20",
        "applies to 20 of 40 rows",
    )
    page = build_report([run], title="t").html
    assert "super_glue/copa 1 of 2 (down to 20 of 40 rows)" in page
    assert "applies to 20 of 40 rows" in page


def test_conditional_prompts_are_flagged_where_all_were_cut_to_one_number(make_run, made_task):
    group = "held-out: completion"
    tasks = [
        made_task("super_glue/copa", name, group, 1, options={"num_rendered": rendered})
        for name, rendered in (("always", 100), ("if cause", 50))
    ]
    run = read_run(make_run("m", tasks))
    rows = {r.template: r for r in prompt_rows(arms([run]), ("super_glue/copa", group, "accuracy"))}
    assert (rows["always"].num_examples, rows["always"].covers) == ("40", "")
    assert rows["if cause"].num_examples == "40"
    assert rows["if cause"].covers == "applies to 50 of 100 rows"


def test_the_page_has_every_statistic_over_prompts(make_run, make_tasks):
    page = build_report([read_run(make_run("m", make_tasks([1, 1, 0, 0, 0])))], title="t").html
    row = page.split('<th scope="row">rte</th>')[1].split("</tr>")[0]
    cells = [re.sub(r"<span.*?</span>", "", c).strip() for c in re.findall(r"<td>(.*?)</td>", row)]
    # prompts, examples, difference, chance; then median, IQR, mean, best
    assert cells == ["5", "40", "–", "50.0", "0.0", "100.0", "40.0", "100.0"]
    assert '100.0 <span class="range">0.0 to 100.0</span>' in row  # the quartiles
