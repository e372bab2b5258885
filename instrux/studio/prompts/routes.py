"""The pages about templates; those that write take forms of our own alone."""

from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlencode

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from instrux.errors import InputError
from instrux.prompts.template_writing import TemplateDraft
from instrux.studio.access import Fields, posted
from instrux.studio.app import Subject
from instrux.studio.pages import page
from instrux.studio.paging import paging, whole_number
from instrux.studio.prompts import editor
from instrux.studio.prompts.library import Library
from instrux.studio.prompts.preview import preview
from instrux.studio.prompts.rows import MirroredRow, mirrored_row

HOME = "/templates"
_PAGE = 50
_NEW = TemplateDraft(name="", jinja="")


def subject(collections: Sequence[str], own: Path | None) -> Subject:
    """The pages over some collections.

    Args:
        collections: releases and folders of templates.
        own: the folder whose templates may be changed, or None.
    """
    return Subject(
        title="Templates",
        path=HOME,
        routes=[
            Route(HOME, _browse),
            Route(f"{HOME}/view", _view),
            Route(f"{HOME}/new", _new),
            Route(f"{HOME}/edit", _edit),
            Route(f"{HOME}/save", posted(_save), methods=["POST"]),
            Route(f"{HOME}/delete", posted(_delete), methods=["POST"]),
            Route(f"{HOME}/preview", posted(_preview), methods=["POST"]),
        ],
        state={"library": Library(collections, own)},
    )


def _library(request: Request) -> Library:
    return request.app.state.library


def _browse(request: Request) -> Response:
    library = _library(request)
    words, collection, dataset = (
        request.query_params.get(name, "").strip() for name in ("q", "in", "dataset")
    )
    found = library.search(words, collection=collection, dataset=dataset)
    shown = paging(request, len(found.entries), _PAGE)
    return page(
        request,
        "prompts/browse.html",
        {
            "library": library,
            "found": found,
            "entries": found.entries[shown.start : shown.stop],
            "num_datasets": len({entry.dataset for entry in found.entries}),
            "paging": shown,
            "words": words,
            "collection": collection,
            "dataset": dataset,
        },
    )


def _named(request: Request):
    """The templates of the dataset that an address names, and the template.

    Raises:
        HTTPException: 404 where there is none.
    """
    collection, dataset, name = (
        request.query_params.get(key, "") for key in ("in", "dataset", "name")
    )
    try:
        templates = _library(request).templates_of(collection, dataset)
        return collection, templates, templates[name]
    except InputError as error:
        raise HTTPException(404, str(error)) from error


def _row(request: Request, dataset: str, subset: str | None) -> tuple[MirroredRow, str]:
    """The row that an address asks for, and why it cannot be had."""
    split, number = request.query_params.get("split", ""), whole_number(request, "row", 0)
    try:
        return mirrored_row(dataset, subset, split, number), ""
    except InputError as error:
        return MirroredRow(), str(error)


def _view(request: Request) -> Response:
    collection, templates, template = _named(request)
    row, problem = _row(request, templates.dataset, templates.subset)
    return page(
        request,
        "prompts/view.html",
        {
            "library": _library(request),
            "collection": collection,
            "dataset": templates.name,
            "template": template,
            "names": list(templates),
            "row": row,
            "row_problem": problem,
            "preview": preview(template, row.text) if row.text else None,
            "link": f"{HOME}/view?{urlencode({'in': collection, 'dataset': templates.name, 'name': template.name})}",
            "seen": editor.stamp(Path(collection), templates.name)
            if _library(request).editable(collection)
            else "",
        },
    )


def _own(request: Request) -> Path:
    own = _library(request).own
    if own is None:
        raise HTTPException(
            403, "Nothing can be changed here; start with --own_templates and a folder of yours."
        )
    return own


def _new(request: Request) -> Response:
    """An empty form, or one with a copy of a template."""
    own = _own(request)
    dataset, draft, row = request.query_params.get("dataset", ""), _NEW, MirroredRow()
    if request.query_params.get("name"):
        _, templates, template = _named(request)
        draft = editor.draft_from(template)
        row, _ = _row(request, templates.dataset, templates.subset)
    elif dataset:
        name, _, subset = dataset.partition("/")
        row, _ = _row(request, name, subset or None)
    return _form(request, own, dataset=dataset, draft=draft, replacing="", row=row.text)


def _edit(request: Request) -> Response:
    own = _own(request)
    collection, templates, template = _named(request)
    if collection != str(own):
        raise HTTPException(403, "Only templates of your own folder can be changed; copy it there.")
    row, _ = _row(request, templates.dataset, templates.subset)
    draft = editor.draft_from(template)
    dataset = templates.name
    return _form(request, own, dataset=dataset, draft=draft, replacing=template.name, row=row.text)


def _form(
    request: Request,
    own: Path,
    *,
    dataset: str,
    draft: TemplateDraft,
    replacing: str,
    row: str,
    seen: str | None = None,
    problem: str = "",
    failing: bool = False,
    status: int = 200,
) -> Response:
    if seen is None:
        try:
            seen = editor.stamp(own, dataset) if dataset else ""
        except InputError:
            seen = ""
    shown = preview(editor.template_of(draft, dataset), row) if row and draft.jinja else None
    return page(
        request,
        "prompts/form.html",
        {
            "own": own,
            "dataset": dataset,
            "draft": draft,
            "replacing": replacing,
            "row": row,
            "seen": seen,
            "problem": problem,
            "failing": failing,
            "preview": shown,
            "datasets": _library(request).datasets() if not replacing else [],
            "metrics": editor.METRICS,
        },
        status=status,
    )


def _save(request: Request, fields: Fields) -> Response:
    own, dataset = _own(request), fields.get("dataset", "").strip()
    draft, replacing = editor.draft_of(fields), fields.get("replacing", "")
    row, seen = fields.get("row", "").strip(), fields.get("seen", "")
    again = {"dataset": dataset, "draft": draft, "replacing": replacing, "row": row, "seen": seen}
    if fields.get("action") == "preview":
        return _form(request, own, **again)
    try:
        draft.check()
        if row and fields.get("action") != "save_anyway":
            made = preview(editor.template_of(draft, dataset), row)
            if made.failed:
                problem = f"Not saved, as this row fails: {made.problem}"
                return _form(request, own, **again, problem=problem, failing=True, status=422)
        if not replacing and not seen:
            # The dataset was typed into the form, so the form could not know its file.
            seen = editor.stamp(own, dataset)
        editor.save(own, dataset, draft, replacing=replacing or None, seen=seen)
    except (InputError, OSError) as error:
        problem = f"Not saved: {error}"
        return _form(request, own, **again, problem=problem, status=422)
    place = {"in": str(own), "dataset": dataset, "name": draft.name}
    return RedirectResponse(f"{HOME}/view?{urlencode(place)}", status_code=303)


def _delete(request: Request, fields: Fields) -> Response:
    own, dataset = _own(request), fields.get("dataset", "")
    editor.delete(own, dataset, fields.get("name", ""), seen=fields.get("seen", ""))
    place = {"in": str(own), "dataset": dataset}
    return RedirectResponse(f"{HOME}?{urlencode(place)}", status_code=303)


def _preview(request: Request, fields: Fields) -> Response:
    draft = editor.draft_of(fields)
    row = fields.get("row", "").strip()
    problem = ""
    try:
        draft.check()
    except InputError as error:
        problem = str(error)
    made = preview(editor.template_of(draft, fields.get("dataset", "")), row) if row else None
    shown = made.to_json() if made is not None else {}
    if problem and not shown.get("failed"):
        shown["problem"] = problem
    return JSONResponse(shown)
