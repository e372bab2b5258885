"""Statistics of people's answers: published values, arithmetic by hand, and real annotations."""

import json

import numpy as np
import pytest

from instrux.errors import InputError
from instrux.evaluation.label_agreement import (
    agreement,
    cohen_kappa,
    comparison_agreement,
    krippendorff_alpha,
)
from instrux.evaluation.label_plots import flags, outcomes, overall_quality, win_rates
from instrux.evaluation.label_records import (
    LabelRecord,
    OutputRating,
    Preference,
    latest,
    read_records,
    to_json_line,
)
from instrux.evaluation.label_report import write_label_report
from instrux.evaluation.label_results import evaluate_labels, results_json
from instrux.evaluation.label_statistics import (
    bootstrap_mean,
    by_pair,
    comparisons,
    flag_shares,
    mean_ratings,
    win_rate,
)

# The reliability data of Krippendorff (2011), "Computing Krippendorff's Alpha-Reliability",
# section C: four observers, twelve units, some values missing.
UNITS = [
    [1, 1, 1],
    [2, 2, 3, 2],
    [3, 3, 3, 3],
    [3, 3, 3, 3],
    [2, 2, 2, 2],
    [1, 2, 3, 4],
    [4, 4, 4, 4],
    [1, 1, 2, 1],
    [2, 2, 2, 2],
    [5, 5, 5],
    [1, 1],
    [3],
]


@pytest.mark.parametrize(("level", "published"), [("nominal", 0.743), ("ordinal", 0.815)])
def test_krippendorffs_alpha_is_that_of_his_own_example(level, published):
    assert krippendorff_alpha(UNITS, level=level) == pytest.approx(published, abs=5e-4)


def test_cohens_kappa_by_hand():
    # 20 yes-yes, 5 yes-no, 10 no-yes, 15 no-no: observed 0.7, by chance 0.5 * 0.6 + 0.5 * 0.4.
    pairs = [("y", "y")] * 20 + [("y", "n")] * 5 + [("n", "y")] * 10 + [("n", "n")] * 15
    firsts, seconds = zip(*pairs, strict=True)
    assert cohen_kappa(firsts, seconds) == pytest.approx((0.7 - 0.5) / (1 - 0.5))


def test_agreement_is_undefined_where_nobody_ever_differs_and_nothing_is_rated_twice():
    always = agreement([["no", "no"], ["no", "no"]])
    assert (always.n, always.raw, always.kappa, always.alpha) == (2, 1.0, None, None)
    once = agreement([["no"], ["yes"]])
    assert (once.n, once.raw, once.kappa, once.alpha) == (0, None, None, None)


def test_agreement_on_comparisons_with_ties_counted_excluded_and_relaxed():
    found = comparison_agreement([[1, 1], [1, -1], [0, 1], [0, 0], [-1, -1], [1]])
    assert found.n == 5
    assert found.raw == pytest.approx(3 / 5)
    assert (found.n_without_ties, found.raw_without_ties) == (3, pytest.approx(2 / 3))
    assert found.relaxed == pytest.approx(3.5 / 5)


def _rated(prompt, labeller, day, **ratings):
    """An answer that gives systems (overall, hallucination) or an overall quality alone."""
    made = []
    for system, value in ratings.items():
        overall, told = value if isinstance(value, tuple) else (value, None)
        said = {} if told is None else {"hallucination": told, "opinion": "no"}
        made.append(OutputRating(system=system, overall=overall, flags=said))
    return LabelRecord(
        prompt_id=prompt,
        labeller=labeller,
        submitted=f"2024-01-{day:02}T00:00:00+00:00",
        ratings=tuple(made),
    )


def test_a_ranking_is_taken_apart_into_pairs_with_ties():
    record = LabelRecord(
        prompt_id="p",
        labeller="a",
        submitted="2024-01-01",
        ratings=tuple(OutputRating(system=s) for s in "xyz"),
        ranking=(("z",), ("x", "y")),
    )
    assert {(c.first, c.second): c.outcome for c in comparisons([record])} == {
        ("x", "y"): 0,
        ("x", "z"): -1,
        ("y", "z"): -1,
    }


def test_the_first_answer_about_a_prompt_counts_and_a_resubmission_replaces_ones_own():
    records = latest(
        [
            _rated("p", "b", 3, x=1),
            _rated("p", "a", 1, x=2),
            _rated("p", "a", 2, x=5),
            _rated("q", "a", 4, x=6),
        ]
    )
    assert len(records) == 3
    (rating,) = mean_ratings(records)
    assert (rating.n, rating.mean) == (2, 5.5)
    assert rating.counts == (0, 0, 0, 0, 1, 1, 0)


def test_hallucination_counts_over_closed_domain_prompts_alone():
    def about(prompt, closed, answer):
        record = _rated(prompt, "a", 1, x=(4, answer))
        return LabelRecord(**(vars(record) | {"closed_domain": closed}))

    records = [
        about("1", True, "yes"),
        about("2", True, "no"),
        about("3", False, "yes"),
        about("4", None, "na"),
        about("5", None, "no"),
    ]
    shares = {share.question: share for share in flag_shares(records)}
    told = shares["hallucination"]
    assert (told.n, told.yes, told.share, told.not_applicable) == (3, 1, pytest.approx(1 / 3), 1)
    assert shares["opinion"].n == 5
    # Wilson by hand for 1 of 3 at z = 1.96: (0.0615, 0.7923).
    assert (told.wilson.low, told.wilson.high) == pytest.approx((0.0615, 0.7923), abs=1e-4)


def test_the_bootstrap_of_a_share_is_as_wide_as_the_binomial_says():
    credits = np.array([1.0] * 60 + [0.0] * 40)
    interval = bootstrap_mean(credits)
    # Binomial(100, 0.6): 50 and 69 are its 2.5 % and 97.5 % quantiles.
    assert interval.low == pytest.approx(0.50, abs=0.011)
    assert interval.high == pytest.approx(0.69, abs=0.011)


@pytest.fixture(scope="module")
def annotations(shared_data):
    """The 1,150 real annotations, and what is expected of them."""
    folder = shared_data / "labels"
    records = read_records([folder / "annotations_anonymised.jsonl"])
    return records, json.loads((folder / "expected_stats.json").read_text())


def test_real_annotations_give_the_expected_statistics(annotations):
    records, expected = annotations
    assert len(records) == expected["dedup"]["raw"]
    kept = expected["dedup"]["after_keep_latest_per_instance_index_and_evaluator"]
    results = evaluate_labels(records)
    assert results.overall.num_answers == kept == 1141
    found = {f"{p.win_rate.system}_vs_{p.win_rate.baseline}": p for p in results.overall.pairs}
    assert found.keys() == expected["pairs"].keys()
    for name, pair in found.items():
        wanted, rate, agreed = expected["pairs"][name], pair.win_rate, pair.agreement
        assert (rate.n, rate.wins, rate.ties, rate.losses) == tuple(
            wanted[key] for key in ("n", "win", "tie", "loss")
        )
        assert round(rate.win_rate, 4) == wanted["win_rate_half_ties"]
        assert [round(rate.wilson.low, 4), round(rate.wilson.high, 4)] == wanted["wilson95"]
        assert rate.win_rate_without_ties is not None
        assert round(rate.win_rate_without_ties, 4) == wanted["win_rate_no_ties"]
        assert agreed.n == wanted["double_annotated"]
        assert agreed.raw is not None and agreed.relaxed is not None and agreed.kappa is not None
        assert round(agreed.raw, 4) == wanted["agreement3"]
        assert round(agreed.relaxed, 4) == wanted["relaxed_agreement"]
        assert round(agreed.kappa, 4) == wanted["cohen_kappa3"]
        shares = {share.system: share.share for share in pair.acceptance}
        assert {s: round(v or 0, 4) for s, v in shares.items()} == wanted["acceptance"]
        assert rate.bootstrap.low < rate.win_rate < rate.bootstrap.high


def test_real_annotations_give_the_published_tools_own_output(annotations, shared_data):
    records, _ = annotations
    printed = (shared_data / "labels" / "expected_metrics_output.txt").read_text()
    pairs = {
        f"{p.win_rate.system}_vs_{p.win_rate.baseline}": p
        for p in evaluate_labels(records).overall.pairs
    }
    decoder, place, seen = json.JSONDecoder(), 0, 0
    while (start := printed.find("{", place)) >= 0:
        name = printed[:start].rstrip().rpartition("\n")[2]
        wanted, place = decoder.raw_decode(printed, start)
        rate = pairs[name].win_rate
        compared = wanted["comparison_results"]
        shares = {
            f"{rate.system}_wins": rate.wins,
            f"{rate.baseline}_wins": rate.losses,
            "tie": rate.ties,
            f"{rate.system} is clearly better": rate.clear_wins,
            f"{rate.baseline} is clearly better": rate.clear_losses,
        }
        assert {k: v / rate.n for k, v in shares.items()} == pytest.approx(
            {k: compared[k] for k in shares}, rel=1e-12
        )
        agreed = compared["agreement"]
        assert pairs[name].agreement.raw == agreed["comparison_agreement"]
        assert pairs[name].agreement.relaxed == agreed["relexed_comparison_agreement"]
        seen += 1
    assert seen == 3


def test_a_baseline_turns_pairs_around_and_an_unknown_one_is_named(annotations):
    records, _ = annotations
    plain, turned = evaluate_labels(records), evaluate_labels(records, baseline="tulu_65B")
    rate = next(p.win_rate for p in turned.overall.pairs if p.win_rate.system == "tulu_7B")
    assert rate.baseline == "tulu_65B"
    other = next(p.win_rate for p in plain.overall.pairs if p.win_rate.baseline == "tulu_7B")
    assert (rate.wins, rate.losses) == (other.losses, other.wins)
    with pytest.raises(InputError, match=r"tulu_65b.*Did you mean 'tulu_65B'"):
        evaluate_labels(records, baseline="tulu_65b")


def test_win_rates_of_rankings_and_of_preferences_agree():
    ranked = LabelRecord(
        prompt_id="p",
        labeller="a",
        submitted="2024-01-01",
        ratings=(OutputRating(system="x"), OutputRating(system="y")),
        ranking=(("y",), ("x",)),
    )
    preferred = LabelRecord(
        **(vars(ranked) | {"ranking": None, "preference": Preference("y", "clearly")})
    )
    for record in (ranked, preferred):
        rate = win_rate(by_pair([record])["x", "y"], system="y", baseline="x")
        assert (rate.n, rate.wins, rate.win_rate) == (1, 1, 1.0)
    assert rate.clear_wins == 1


def test_records_survive_a_file_and_a_wrong_line_is_named(tmp_path):
    record = LabelRecord(
        prompt_id="p",
        labeller="a",
        group="held-out",
        submitted="2024-01-01T10:00:00+00:00",
        ratings=(
            OutputRating(system="x", overall=3, flags={"opinion": "na"}),
            OutputRating(system="y", overall=7, acceptable=True),
        ),
        ranking=(("y", "x"),),
        closed_domain=True,
        seconds=12.5,
        outputs={"x": "a\u2028b", "y": ""},
    )
    path = tmp_path / "labels.jsonl"
    path.write_text(to_json_line(record) + "\n\n", encoding="utf-8")
    assert read_records([path]) == [record]
    for old, new, wanted in (
        ('"overall": 3', '"overall": 8', "overall should be 1 to 7"),
        ('"overall": 3', '"overall": true', "overall should be 1 to 7"),
        ('"na"', '"maybe"', "flag opinion should be one of"),
        ('[["y", "x"]]', '[["y"]]', r"ranking is of \['y'\]"),
        ("2024-01-01T10", "yesterday", "not ISO 8601"),
        ('"labeller": "a", ', "", "'labeller' is missing"),
        ("instrux.labels/1", "other/1", "neither a label of ours"),
    ):
        path.write_text(f"{to_json_line(record)}\n{to_json_line(record).replace(old, new)}\n")
        with pytest.raises(InputError, match=f"labels.jsonl:2: .*{wanted}"):
            read_records([path])


def test_the_report_escapes_names_and_shows_every_figure(tmp_path):
    evil = "<script>alert(1)</script>"
    records = [
        _rated(f"p{i}", labeller, 1, **{evil: (2 + i % 3, "yes"), "base": (4, "no")})
        for i in range(6)
        for labeller in ("a", "b")
    ]
    records = [
        LabelRecord(
            **(
                vars(record)
                | {"ranking": (("base",), (evil,)), "group": "training" if i % 2 else "held-out"}
            )
        )
        for i, record in enumerate(records)
    ]
    results = evaluate_labels(records, baseline="base")
    assert [section.name for section in results.groups] == ["held-out", "training"]
    for figure in (win_rates, outcomes, overall_quality, flags):
        assert figure(results) is not None
    page = write_label_report(tmp_path, results)
    text = page.read_text()
    assert "<script" not in text and "&lt;script" in text
    assert "training" in text and "overall quality" in text
    assert json.loads((tmp_path / "label_results.json").read_text()) == json.loads(
        results_json(results)
    )
    assert (tmp_path / "labels_flags.png").read_bytes().startswith(b"\x89PNG")
