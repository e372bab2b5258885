"""Pages about tasks and mixtures: rates, what is held out, licences, tokens."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from instrux.data.name_families import Kind
from instrux.studio.app import Subject
from instrux.studio.pages import page
from instrux.studio.paging import paging

MIXTURES, TASKS = "/mixtures", "/tasks"
_WAIT_SECONDS = 1.0
_AGAIN_SECONDS = 2
_NAMES = 100
_TASKS = 100


class Declarations(Protocol):
    """What is declared, from whoever may import it."""

    def ready(self, seconds: float) -> bool:
        """Starts to register what is declared, and waits; whether all is registered.

        Raises:
            InputError: a module of the user's cannot be imported.
        """
        ...

    def mixtures(self) -> Sequence[str]:
        """Names of all mixtures, in order."""
        ...

    def tasks(self) -> Sequence[str]:
        """Names of all tasks, in order."""
        ...

    def families(self, kind: Kind) -> Mapping[str, Sequence[str]]:
        """Names that rules define, by how a rule spells them, such as `t0_train_p{N}`.

        Where a rule defines endlessly many names, the sequence holds the usual ones, or none.
        """
        ...

    def mixture(self, name: str) -> Any:
        """Facts of a mixture: what `instrux mixtures show --json` tells, as attributes.

        Raises:
            InputError: there is no such mixture.
        """
        ...

    def task(self, name: str) -> Mapping[str, Any]:
        """Facts of a task: what `instrux tasks show --json` tells.

        Raises:
            InputError: there is no such task.
        """
        ...


def subject(declarations: Declarations) -> Subject:
    """The pages over what is declared."""
    return Subject(
        title="Mixtures",
        path=MIXTURES,
        routes=[
            Route(MIXTURES, _once_ready(_mixtures)),
            Route(f"{MIXTURES}/show", _once_ready(_mixture)),
            Route(TASKS, _once_ready(_tasks)),
            Route(f"{TASKS}/show", _once_ready(_task)),
        ],
        state={"declarations": declarations},
    )


def _once_ready(handle: Callable[[Request], Response]) -> Callable[[Request], Response]:
    """A route that waits for what is declared, by a page that loads itself again."""

    def endpoint(request: Request) -> Response:
        if request.app.state.declarations.ready(_WAIT_SECONDS):
            return handle(request)
        again = {"Refresh": str(_AGAIN_SECONDS)}
        return page(request, "mixtures/loading.html", {}, headers=again)

    return endpoint


def _mixtures(request: Request) -> Response:
    declarations = request.app.state.declarations
    return _names(request, "mixtures", declarations.mixtures())


def _tasks(request: Request) -> Response:
    return _names(request, "tasks", request.app.state.declarations.tasks())


def _names(request: Request, kind: Kind, names: Sequence[str]) -> Response:
    families = request.app.state.declarations.families(kind)
    sought = request.query_params.get("q", "").strip()
    family = request.query_params.get("family", "")
    names = families.get(family, names)
    found = [name for name in names if all(word in name for word in sought.split())]
    shown = paging(request, len(found), _NAMES)
    return page(
        request,
        "mixtures/names.html",
        {
            "kind": kind,
            "names": found[shown.start : shown.stop],
            "families": {spelling: len(listed) for spelling, listed in families.items()},
            "family": family if family in families else "",
            "paging": shown,
            "sought": sought,
        },
    )


def _mixture(request: Request) -> Response:
    facts = request.app.state.declarations.mixture(request.query_params.get("name", ""))
    shown = paging(request, len(facts.tasks), _TASKS)
    return page(
        request,
        "mixtures/mixture.html",
        {
            "facts": facts,
            "tasks": facts.tasks[shown.start : shown.stop],
            "largest": max((task.probability for task in facts.tasks), default=1.0),
            "paging": shown,
        },
    )


def _task(request: Request) -> Response:
    facts = dict(request.app.state.declarations.task(request.query_params.get("name", "")))
    texts = {name: facts.pop(name, None) for name in ("jinja", "answer_choices")}
    texts = {name: text for name, text in texts.items() if text}
    templates, defects = facts.pop("templates", {}), facts.pop("defects", [])
    plain = {name.replace("_", " "): _words(value) for name, value in facts.items()}
    return page(
        request,
        "mixtures/task.html",
        {
            "name": facts["name"],
            "facts": {name: value for name, value in plain.items() if value},
            "texts": texts | templates,
            "defects": defects,
        },
    )


def _words(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {each}" for name, each in value.items() if each)
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return f"{value:,}" if isinstance(value, int) else str(value)
