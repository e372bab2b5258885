"""What goes wrong with templates, always an `InputError` and never more than one line."""

from functools import lru_cache

from instrux.errors import InputError


class TemplateFileError(InputError):
    """A template file cannot be read; the message names the file and, where known, the line."""


class UnknownNameError(InputError, KeyError):
    """A collection has no such dataset, or a dataset no such template."""

    def __str__(self) -> str:
        return str(self.args[0])  # KeyError would show the message's repr


class TemplateLimitError(InputError):
    """A template printed too much, ran too long or asked for a value too large."""


class RenderError(InputError):
    """A template cannot be rendered with an example.

    It is also an instance of the exception that PromptSource raises in the same place (such as
    `jinja2.UndefinedError` or `IndexError`), under that exception's name.
    """

    original: type[Exception] = ValueError

    def __str__(self) -> str:
        return str(self.args[0])

    def __reduce__(self) -> tuple:
        return _render_error, (self.original, self.args[0])


@lru_cache(maxsize=256)
def _render_error_type(original: type[Exception]) -> type[RenderError]:
    bases = (RenderError,) if issubclass(RenderError, original) else (RenderError, original)
    names = {"__module__": __name__, "__doc__": original.__doc__, "original": original}
    return type(original.__name__, bases, names)


def _render_error(original: type[Exception], message: str) -> RenderError:
    try:
        error_type = _render_error_type(original)
        # The original's __init__ may want other arguments, so it is not called.
        error = error_type.__new__(error_type, message)
    except TypeError:  # an exception whose memory layout does not go with another's
        return RenderError(message)
    error.args = (message,)
    return error


def render_error(original: Exception, where: str) -> RenderError:
    """Words an exception of the template engine in one line and keeps its type.

    Args:
        original: what the engine raised.
        where: the template, such as `template 'can we infer' of super_glue/rte`.
    """
    return _render_error(type(original), one_line(original, where))


def one_line(original: Exception, where: str) -> str:
    """Gives `where, line 3: TemplateSyntaxError: what is wrong`."""
    line = getattr(original, "lineno", None)
    at = f", line {line}" if isinstance(line, int) else ""
    detail = " ".join(str(getattr(original, "message", None) or original).split())[:300]
    return f"{where}{at}: {type(original).__name__}: {detail}"
