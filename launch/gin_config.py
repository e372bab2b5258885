"""Gin files and bindings from outside, read and checked.

Gin files use dynamic registration: they import the modules whose functions they bind
(`from launch import train`), so that a name in a gin file is an import path. Files include one
another relative to the installed `gin/` folder.
"""

import functools
import inspect
import logging
import os
import re
import tokenize
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gin
from gin import config as gin_internals

from instrux.errors import InputError, did_you_mean
from launch.gin_guard import RefusedImportError, without_python_itself

_REQUIRED_MACRO = re.compile(r"(\w+)/macro\.value set to `%gin\.REQUIRED`")
_UNKNOWN_PARAMETER = re.compile(r"Configurable '([\w./]+)' doesn't have a parameter named '(\w+)'")
_UNKNOWN_CONFIGURABLE = re.compile(r"No configurable matching '([\w./]+)'")
_MACRO_BINDING = re.compile(r"\s*([A-Za-z_]\w*)\s*=")


class GinError(InputError):
    """A gin file or binding that cannot be used."""


@functools.cache
def folder() -> Path:
    """Gives the folder of the gin files that come with Instrux."""
    beside = Path(__file__).resolve().parent.parent / "gin"
    if (beside / "recipes").is_dir():
        return beside
    # In an installed wheel the folder has another name, so that it cannot shadow gin-config.
    return Path(__file__).resolve().parent.parent / "instrux_gin"


def find(name: str) -> Path:
    """Gives the path of a gin file, taken as it is, or below the folder of shipped gin files.

    Raises:
        GinError: there is no such file.
    """
    candidates = [Path(name), folder() / name, folder() / "recipes" / name]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    known = sorted(str(path.relative_to(folder())) for path in folder().rglob("*.gin"))
    raise GinError(
        f"no gin file {name!r}, neither here nor among the shipped ones.{did_you_mean(name, known)}"
        f" Shipped are those of {folder()}/models, runs, recipes and t5x."
    )


def parse(
    files: Sequence[str], bindings: Sequence[str] = (), *, search: Sequence[str] = ()
) -> None:
    """Reads gin files, then bindings such as `TRAIN_STEPS=10`, and locks the configuration.

    Raises:
        GinError: a file is missing or malformed, imports one of Python's own modules, or a
            binding names a parameter, function or macro that does not exist.
    """
    gin.clear_config()
    for path in [*search, str(folder()), os.getcwd()]:
        gin.add_config_file_search_path(path)
    # Gin logs an error for each folder of its search path that has not got an included file.
    logging.disable(logging.ERROR)
    readers = gin_internals._FILE_READERS
    others = readers[1:]
    # Gin would also take `runs/x.gin` for a file of an importable package `runs`, which any folder
    # of that name is where the current folder is on Python's path, and fails there.
    del readers[1:]
    try:
        with without_python_itself():
            gin.parse_config_files_and_bindings(
                [str(find(name)) for name in files], [], finalize_config=False
            )
            _check_macros(bindings)
            gin.parse_config(list(bindings))
        _check_macro_circles()
        gin.finalize()
    except RefusedImportError as error:
        said = str(error).splitlines()[0]  # gin adds lines of its own
        raise GinError(f"in {_where(files, bindings)}: {said}") from error
    except InputError:
        raise
    except RecursionError as error:
        raise GinError(
            f"in {_where(files, bindings)}: a file includes itself, or brackets are nested too deep"
        ) from error
    except (ValueError, OSError, SyntaxError, ImportError, AttributeError, NameError) as error:
        raise GinError(_one_line(files, bindings, error)) from error
    except tokenize.TokenError as error:
        raise GinError(
            f"in {_where(files, bindings)}: a bracket or string is left open ({error.args[0]});"
            " close it"
        ) from error
    finally:
        readers.extend(others)
        logging.disable(logging.NOTSET)


def macro(name: str) -> Any:
    """Gives the value of a macro, references in it resolved."""
    with gin.config_scope(name):
        return gin.get_configurable("gin.macro")()


def _check_macros(bindings: Sequence[str]) -> None:
    # Gin takes a macro that nothing uses; on the command line that is a misspelt name.
    known = _macros()
    for binding in bindings:
        match = _MACRO_BINDING.match(binding)
        if match and match.group(1) not in known:
            raise GinError(
                f"binding {binding!r}: the gin files define no macro {match.group(1)!r}."
                f"{did_you_mean(match.group(1), known)} They define: {', '.join(sorted(known))}."
            )


def _check_macro_circles() -> None:
    # Gin would follow them until Python's stack ends, when the value is first asked for.
    uses = {
        scope: {
            reference.scoped_selector.rpartition("/")[0]
            for reference in gin_internals.iterate_references(bound)
            if reference.scoped_selector.endswith("/gin.macro")
        }
        for (scope, selector), bound in gin_internals._CONFIG.items()
        if selector == "gin.macro"
    }
    for name in uses:
        reached, ahead = set(), [name]
        while ahead:
            for used in uses.get(ahead.pop(), set()) - reached:
                reached.add(used)
                ahead.append(used)
        if name in reached:
            raise GinError(f"macro {name!r} is defined by itself; give it a value.")


def _macros() -> set[str]:
    defined = re.findall(r"^(\w+) = ", gin.config_str(), flags=re.MULTILINE)
    return set(defined)


def _where(files: Sequence[str], bindings: Sequence[str]) -> str:
    return ", ".join([*files, *(repr(binding) for binding in bindings)])


def _one_line(files: Sequence[str], bindings: Sequence[str], error: Exception) -> str:
    text = re.sub(r"\s*\n\s*", "; ", str(error).strip())
    if required := _REQUIRED_MACRO.search(text):
        name = required[1]
        return f"{_where(files, bindings)}: {name} has no value; give it one: --gin.{name}=VALUE"
    near = _near(text)
    text = re.sub(r"\.?; In bindings string line \d+; ", "; in the binding ", text)
    return f"gin configuration ({_where(files, bindings)}): {text}{'.' if near else ''}{near}"


def _near(text: str) -> str:
    """The nearest parameters or configurables, where gin does not know one."""
    if found := _UNKNOWN_PARAMETER.search(text):
        function = gin.get_configurable(found[1])
        # Gin registers a subclass of a class, whose own signature says nothing.
        bases = function.__mro__[:-1] if inspect.isclass(function) else (function,)
        return did_you_mean(found[2], {p for b in bases for p in inspect.signature(b).parameters})
    if found := _UNKNOWN_CONFIGURABLE.search(text):
        selectors = {selector for _, selector in gin_internals._CONFIG}
        # In a gin file a name is `module.function`, whatever package the module is in.
        return did_you_mean(found[1], {".".join(each.split(".")[-2:]) for each in selectors})
    return ""
