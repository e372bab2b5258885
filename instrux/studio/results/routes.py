"""The pages about runs and evaluations; none of them writes."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from instrux.studio.app import Subject
from instrux.studio.pages import page
from instrux.studio.paging import choice, paging, whole_number
from instrux.studio.results import selecting
from instrux.studio.results.catalogue import METRICS, Catalogue, Evaluation, Run
from instrux.studio.results.curves import read_points
from instrux.studio.results.figure import WIDTH, figures
from instrux.studio.results.prediction_index import Indices, PredictionIndex

RUNS, EVALUATIONS = "/runs", "/evaluations"
MAX_MODELS = 6
_PAGE = 25
_RUNS_PAGE = 100
_WAIT_SECONDS = 0.5
_SHOWN_FILE = 256 * 1024


def subjects(roots: Sequence[Path]) -> list[Subject]:
    """The pages over the runs and evaluations below some folders."""
    state = {"catalogue": Catalogue(roots), "indices": Indices(), "matches": selecting.Matches()}
    return [
        Subject(
            title="Runs",
            path=RUNS,
            routes=[
                Route(RUNS, _runs),
                Route(f"{RUNS}/curves", _curves),
                Route(f"{RUNS}/{{run}}", _run),
                Route(f"{RUNS}/{{run}}/metrics", _metrics),
            ],
            state=state,
        ),
        Subject(
            title="Evaluations",
            path=EVALUATIONS,
            routes=[
                Route(EVALUATIONS, _evaluations),
                Route(f"{EVALUATIONS}/figure", _figure),
                Route(f"{EVALUATIONS}/task", _task),
                Route(f"{EVALUATIONS}/compare", _compare),
            ],
            state={},
        ),
    ]


def _catalogue(request: Request) -> Catalogue:
    return request.app.state.catalogue


def _runs(request: Request) -> Response:
    catalogue = _catalogue(request)
    sought = request.query_params.get("q", "").strip()
    runs = [run for run in catalogue.runs().values() if sought.lower() in run.name.lower()]
    shown = paging(request, len(runs), _RUNS_PAGE)
    part = runs[shown.start : shown.stop]
    return page(
        request,
        "results/runs.html",
        {
            "rows": [(run, len(catalogue.evaluations_of(run)), _last(run)) for run in part],
            "roots": catalogue.roots,
            "cut_short": catalogue.cut_short,
            "paging": shown,
            "sought": sought,
            "most": MAX_MODELS,
        },
    )


def _last(run: Run) -> dict[str, float]:
    """The last metrics of a run that hold a loss, else {}."""
    file = run.path / METRICS
    try:
        after = max(0, file.stat().st_size - 16_384)
    except OSError:
        return {}
    rows = read_points(file, after).rows
    return next((row for row in reversed(rows) if "loss" in row), {})


def _run_named(request: Request, name: str) -> Run:
    run = _catalogue(request).runs().get(name)
    if run is None:
        raise HTTPException(404)
    return run


def _run(request: Request) -> Response:
    run = _run_named(request, request.path_params["run"])
    files = [(name, _text(run.path / name)) for name in ("config.gin", "model.json")]
    return page(
        request,
        "results/run.html",
        {
            "run": run,
            "files": [(name, text) for name, text in files if text],
            "evaluations": _catalogue(request).evaluations_of(run),
        },
    )


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            start = file.read(_SHOWN_FILE + 1)
    except OSError:
        return ""
    cut = "\n…" if len(start) > _SHOWN_FILE else ""
    return start[:_SHOWN_FILE].decode("utf-8", errors="replace") + cut


def _curves(request: Request) -> Response:
    named = _named(request)
    return page(request, "results/curves.html", {"runs": [_run_named(request, n) for n in named]})


def _named(request: Request) -> list[str]:
    """The ids behind `of=`, each once.

    Raises:
        HTTPException: 404 where there are none, or too many.
    """
    named = list(dict.fromkeys(request.query_params.getlist("of")))
    if not named:
        raise HTTPException(404, "Choose at least one.")
    if len(named) > MAX_MODELS:
        raise HTTPException(400, f"At most {MAX_MODELS} can be shown together.")
    return named


def _metrics(request: Request) -> Response:
    run = _run_named(request, request.path_params["run"])
    points = read_points(run.path / METRICS, whole_number(request, "after", 0))
    return JSONResponse(points.to_json())


def _evaluations(request: Request) -> Response:
    catalogue = _catalogue(request)
    sought = request.query_params.get("q", "").strip()
    known = catalogue.evaluations().values()
    found = [each for each in known if sought.lower() in each.name.lower()]
    shown = paging(request, len(found), _RUNS_PAGE)
    return page(
        request,
        "results/evaluations.html",
        {
            "evaluations": found[shown.start : shown.stop],
            "roots": catalogue.roots,
            "cut_short": catalogue.cut_short,
            "paging": shown,
            "sought": sought,
            "most": MAX_MODELS,
        },
    )


def _chosen(request: Request) -> list[Evaluation]:
    known = _catalogue(request).evaluations()
    found = [known[name] for name in _named(request) if name in known]
    if not found:
        raise HTTPException(404)
    return found


def _figure(request: Request) -> Response:
    chosen = _chosen(request)
    return page(
        request,
        "results/figure.html",
        {
            "evaluations": chosen,
            "figures": figures(chosen),
            "width": WIDTH,
            "others": [e for e in _catalogue(request).evaluations().values() if e not in chosen],
            "full": len(chosen) >= MAX_MODELS,
        },
    )


def _index(request: Request, evaluation: Evaluation, task: str) -> PredictionIndex | None:
    path = evaluation.predictions(task) if evaluation.task(task) else None
    if path is None:
        return None
    index = request.app.state.indices.of(path)
    index.wait(_WAIT_SECONDS)
    return index


def _task(request: Request) -> Response:
    evaluation, *others = _chosen(request)
    name = request.query_params.get("task", "")
    result = evaluation.task(name)
    if result is None:
        raise HTTPException(404)
    show = choice(request, "show", selecting.FILTERS)
    order = choice(request, "order", selecting.ORDERS)
    index = _index(request, evaluation, name)
    context = {
        "evaluation": evaluation,
        "others": others,
        "result": result,
        "show": show,
        "order": order,
        "filters": selecting.FILTERS,
        "orders": selecting.ORDERS,
        "comparable": [
            each
            for each in _catalogue(request).evaluations().values()
            if each is not evaluation and each.task(name)
        ],
    }
    if index is None:
        return page(request, "results/task.html", context | {"lines": None, "rows": []})
    lines = index.lines()
    chosen = selecting.select(lines, show=show, order=order)
    shown = paging(request, len(chosen), _PAGE)
    numbers = chosen[shown.start : shown.stop]
    rows = list(zip((int(n) + 1 for n in numbers), index.read(numbers), strict=True))
    counts = {
        "all": len(lines),
        "right": int(np.count_nonzero(lines.correct == 1)),
        "wrong": int(np.count_nonzero(lines.correct == 0)),
    }
    return page(
        request,
        "results/task.html",
        context | {"lines": lines, "rows": rows, "paging": shown, "counts": counts},
    )


def _compare(request: Request) -> Response:
    chosen = _chosen(request)
    name = request.query_params.get("task", "")
    have = [(each, _index(request, each, name)) for each in chosen]
    models = [(each, index) for each, index in have if index is not None]
    if not models:
        raise HTTPException(404, "No model has predictions of this task.")
    show = choice(request, "show", selecting.COMPARISONS)
    context = {
        "task": name,
        "models": [each for each, _ in models],
        "lacking": [each for each, index in have if index is None],
        "show": show,
        "comparisons": selecting.COMPARISONS,
    }
    lines = [index.lines() for _, index in models]
    if not all(each.complete for each in lines):
        share = min(each.share for each in lines)
        waiting = context | {"share": share, "rows": []}
        return page(request, "results/compare.html", waiting, headers={"Refresh": "2"})
    matched = request.app.state.matches.of(lines)
    selected = selecting.compare(lines, matched, show=show)
    shown = paging(request, len(selected), _PAGE)
    part = selected[shown.start : shown.stop]
    columns = [index.read(part[:, place]) for place, (_, index) in enumerate(models)]
    return page(
        request,
        "results/compare.html",
        context
        | {
            "share": None,
            "matched": matched,
            "rows": list(zip(*columns, strict=True)),
            "paging": shown,
        },
    )
