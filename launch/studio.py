"""`instrux studio`: what the pages show, put together and served."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from instrux.errors import InputError

if TYPE_CHECKING:
    from instrux.studio.app import Subject


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What the pages are to show.

    Attributes:
        runs: folders to look for runs and evaluations below; () for the working folder.
        data_dirs: data folders, for packed sets.
        module_imports: modules that register tasks of the user's own.
        templates: releases and folders of templates.
        own_templates: the folder whose templates may be changed, or None; made where it is absent.
        study: a study of labellers, or None.
    """

    data_dirs: Sequence[Path] = field(default_factory=tuple)
    module_imports: Sequence[str] = field(default_factory=tuple)
    templates: Sequence[str] = field(default_factory=tuple)
    own_templates: Path | None = None
    runs: Sequence[Path] = field(default_factory=tuple)
    study: Path | None = None


def serve_all(
    shown: Shown, *, host: str, port: int, public: bool, allowed_hosts: Sequence[str]
) -> None:
    """Serves the pages until it is interrupted.

    Raises:
        InputError: the extra `studio` is missing, a folder is not there, or the address is not
            allowed or not free.
    """
    require_pages()
    from instrux.studio import access, app, security, server

    allowed = security.check_bind(host, public=public, allowed_hosts=allowed_hosts)
    secret = access.Access()
    if host not in security.LOOPBACK_NAMES:
        print(
            "Other machines can reach this, and the token travels as it is: put it behind a proxy"
            " that speaks HTTPS.",
            file=sys.stderr,
        )
    application = app.create_app(subjects(shown), allowed_hosts=allowed, access=secret)
    server.serve(application, host=host, port=port, path=f"?token={secret.token}")


def require_pages() -> None:
    """Raises an `InputError` where the web server is not installed."""
    if find_spec("starlette") is None or find_spec("uvicorn") is None:
        raise InputError("the pages need the extra `studio`: pip install 'instrux[studio]'")


def subjects(shown: Shown) -> "list[Subject]":
    """The parts of the application.

    Raises:
        InputError: a folder or file that was named is not there.
    """
    from instrux.studio.mixtures import routes as mixtures
    from instrux.studio.prompts import routes as prompts
    from instrux.studio.results import routes as results
    from launch.studio_declarations import RegisteredDeclarations

    data_dirs = [_folder(path, "--data_dir") for path in shown.data_dirs]
    return [
        prompts.subject(_collections(shown), _own_folder(shown)),
        mixtures.subject(RegisteredDeclarations(shown.module_imports, data_dirs)),
        *_packed(data_dirs),
        *results.subjects([_folder(path, "--runs") for path in shown.runs or (Path(),)]),
        *_labelling(shown),
    ]


def _packed(data_dirs: list[Path]) -> "list[Subject]":
    if not data_dirs:
        return []
    from instrux.studio.packed import routes  # brings Grain

    return [routes.subject(data_dirs)]


def _collections(shown: Shown) -> list[str]:
    from instrux.prompts.releases import RELEASES

    for name in shown.templates:
        if name not in RELEASES and not Path(name).is_dir():
            raise InputError(
                f"--templates {name}: no such folder or release; releases are {', '.join(RELEASES)}"
            )
    return list(shown.templates) or ["promptsource-0.2.3"]


def _own_folder(shown: Shown) -> Path | None:
    if shown.own_templates is not None:
        try:
            shown.own_templates.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"--own_templates {shown.own_templates}: {error.strerror}") from error
    return shown.own_templates


def _labelling(shown: Shown) -> "list[Subject]":
    if shown.study is None:
        return []
    from instrux.studio.label import routes, study

    with study.opened(shown.study):  # a mistake shows at the start
        pass
    return [routes.subject(shown.study)]


def _folder(path: Path, option: str) -> Path:
    if not path.is_dir():
        raise InputError(f"{option} {path}: no such folder")
    return path
