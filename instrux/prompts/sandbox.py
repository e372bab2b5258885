"""Jinja's sandbox, tightened: what a template may read, call and build, and how much of it."""

import datetime
import operator
from collections.abc import Iterator, Mapping, Sequence
from types import BuiltinMethodType, MethodType
from typing import Any

from jinja2.exceptions import SecurityError
from jinja2.nodes import EvalContext
from jinja2.runtime import BlockReference, Context, LoopContext, Macro, TemplateReference, Undefined
from jinja2.sandbox import (
    SandboxedEnvironment,
    SandboxedEscapeFormatter,
    SandboxedFormatter,
)
from jinja2.utils import Cycler, Joiner, Namespace
from markupsafe import Markup

from instrux.prompts.errors import TemplateLimitError
from instrux.prompts.filters import guarded_filters, guarded_tests
from instrux.prompts.limits import MAX_ITEMS, MAX_VALUE, Meter

_TRUNCATED_LENGTH = 2048
_TRUNCATED_LEEWAY = 5  # Jinja's own policy
_DICT_METHODS = frozenset("clear copy get items keys pop popitem setdefault update values".split())
_METHODS: dict[type, frozenset[str]] = {
    bytes: frozenset(["decode"]),
    dict: _DICT_METHODS,
    float: frozenset(["is_integer"]),
    list: frozenset("append clear copy count extend index insert pop remove reverse sort".split()),
    set: frozenset(
        "add clear copy difference discard intersection pop remove union update".split()
    ),
    str: frozenset(
        name
        for name in dir(str)
        if not name.startswith("_") and name not in ("maketrans", "translate")
    ),
    tuple: frozenset(["count", "index"]),
}
_FIELDS: dict[type, frozenset[str]] = {
    datetime.date: frozenset("year month day".split()),
    datetime.datetime: frozenset("year month day hour minute second microsecond".split()),
    datetime.time: frozenset("hour minute second microsecond".split()),
    int: frozenset(["real", "imag"]),
    range: frozenset("start stop step count index".split()),
}
_OF_JINJA = (BlockReference, Cycler, Joiner, LoopContext, Macro, Namespace, TemplateReference)
_CONSTRUCTORS = (Cycler, Joiner, Namespace, dict, zip)
_DICT_ATTRIBUTES = frozenset(dir(dict))


class RenderContext(Context):
    """The variables of one rendering, with its generator and its meter.

    Attributes:
        rng: what `choice` and `random` draw from, or None.
        meter: counts the rendering's work.
    """

    rng: Any
    meter: Meter

    def step(self, nodes: int) -> None:
        """Charges for one round of a loop or one call of a macro."""
        self.meter.spend(nodes)

    def text(self, value: Any) -> str:
        """Writes out a printed value."""
        return value if type(value) is str and len(value) < 1000 else str(self.weighed(value))

    def truncated(self, value: Any) -> str:
        """Does what `| string | truncate(2048)` does."""
        if type(value) is not str:
            # Markup stays Markup, as it does in Jinja's filter.
            value = value if isinstance(value, str) else str(self.weighed(value))
        if len(value) <= _TRUNCATED_LENGTH + _TRUNCATED_LEEWAY:
            return value
        return value[: _TRUNCATED_LENGTH - 3].rsplit(" ", 1)[0] + "..."

    def weighed(self, value: Any) -> Any:
        """Charges for a value that is about to be written out or compared."""
        self.meter.weigh(value)
        return value

    def built(self, value: Any) -> Any:
        """Checks a list, dict or tuple that the template wrote down."""
        return self.meter.made(value)

    def joined(self, values: Sequence[Any]) -> Sequence[Any]:
        """Checks the operands of `~` before they are joined."""
        self.meter.allow_text(sum(map(self.meter.weigh, values)))
        return values


class TextFormat:
    """The method `format` or `format_map` of a text, called only through the environment."""

    def __init__(self, text: str, is_map: bool) -> None:
        self.text = text
        self.is_map = is_map

    def format(self, environment: "PromptEnvironment", meter: Meter, args: Any, kwargs: Any) -> str:
        """Formats within bounds, attributes read through the sandbox."""
        if self.is_map:
            if kwargs or len(args) != 1:
                raise TypeError("format_map() takes exactly one argument")
            args, kwargs = (), args[0]
        if isinstance(self.text, Markup):
            escaping = _EscapingFormatter(environment, meter, escape=self.text.escape)
            return Markup(escaping.vformat(self.text, args, kwargs))
        return _MeteredFormatter(environment, meter).vformat(self.text, args, kwargs)


class _MeteredFormatter(SandboxedFormatter):
    def __init__(self, environment: "PromptEnvironment", meter: Meter, **kwargs: Any) -> None:
        super().__init__(environment, **kwargs)
        self._meter = meter
        self._length = 0

    def format_field(self, value: Any, format_spec: str) -> str:
        self._meter.allow_widths(format_spec)
        self._length += self._meter.weigh(value)
        self._meter.allow_text(self._length)
        text = super().format_field(value, format_spec)
        self._length += len(text)
        self._meter.allow_text(self._length)
        return text

    def convert_field(self, value: Any, conversion: Any) -> Any:
        self._meter.weigh(value)
        return super().convert_field(value, conversion)


class _EscapingFormatter(_MeteredFormatter, SandboxedEscapeFormatter):
    """The formatter of `Markup` texts."""


class PromptEnvironment(SandboxedEnvironment):
    """Where templates run: lists of their own may be changed, nothing else may be touched."""

    intercepted_binops = frozenset(["+", "*", "**", "%"])
    context_class = RenderContext

    def __init__(self) -> None:
        super().__init__(autoescape=False, cache_size=0)
        self.filters = guarded_filters()
        self.tests = guarded_tests()
        self.globals = {
            "cycler": Cycler,
            "dict": dict,
            "joiner": Joiner,
            "namespace": Namespace,
            "range": range,
            "zip": zip,
        }

    @staticmethod
    def concat(pieces: Any) -> str:  # type: ignore[override]
        """Joins what a block or macro printed."""
        if sum(map(len, pieces)) > MAX_VALUE:
            raise TemplateLimitError(f"a block prints more than {MAX_VALUE:,} characters")
        return "".join(pieces)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Whether a template may read the attribute: public ones of plain data and of Jinja's own."""
        if attr.startswith("_"):
            return False
        if isinstance(obj, _OF_JINJA):
            return True
        for kind in type(obj).__mro__:
            if attr in _METHODS.get(kind, ()) or attr in _FIELDS.get(kind, ()):
                return True
        return isinstance(obj, Mapping) and attr in _DICT_METHODS

    def wrap_str_format(self, value: Any) -> Any:
        """Puts `str.format` and `str.format_map` behind the sandbox."""
        if type(value) is BuiltinMethodType or type(value) is MethodType:
            name, text = value.__name__, value.__self__
            if name in ("format", "format_map") and isinstance(text, str):
                return TextFormat(text, name == "format_map")
        return None

    def getattr(self, obj: Any, attribute: str) -> Any:
        """Reads an attribute, or an item of that name where there is no such attribute."""
        if type(obj) is dict and attribute not in _DICT_ATTRIBUTES:
            value = obj.get(attribute, self)
            return self.undefined(obj=obj, name=attribute) if value is self else value
        return super().getattr(obj, attribute)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Computes `+`, `*`, `**` and `%` within bounds."""
        return binary(context.meter, operator, left, right)

    def call(__self, __context: Any, __obj: Any, *args: Any, **kwargs: Any) -> Any:
        """Calls a method of plain data, a macro, or one of the few global functions."""
        meter = __context.meter
        meter.spend(2)
        kwargs.pop("_loop_vars", None)  # the compiler's own, for functions that take the context
        kwargs.pop("_block_vars", None)
        if type(__obj) is BuiltinMethodType or _is_text_method(__obj):
            return _call_method(meter, __obj, args, kwargs)
        if isinstance(__obj, TextFormat):
            return meter.made(__obj.format(__self, meter, args, kwargs))
        if __obj is range:
            values = range(*args, **kwargs)
            if values[MAX_ITEMS:]:
                meter.allow_items(MAX_ITEMS + 1)
            return values
        if isinstance(__obj, _OF_JINJA):
            return __context.call(__obj, *args, **kwargs)
        if isinstance(__obj, MethodType) and isinstance(__obj.__self__, _OF_JINJA):
            return __context.call(__obj, *args, **kwargs)
        if isinstance(__obj, Undefined):
            return __obj(*args, **kwargs)
        if any(__obj is known for known in _CONSTRUCTORS):
            for value in (*args, *kwargs.values()):
                meter.weigh(value)
            return meter.made(__obj(*args, **kwargs))
        if not callable(__obj):
            return __obj(*args, **kwargs)  # Python's own TypeError
        raise SecurityError(f"{type(__obj).__name__} objects may not be called")


def _is_text_method(function: Any) -> bool:
    """Whether this is a method of `Markup`, which is written in Python."""
    return type(function) is MethodType and isinstance(function.__self__, str)


def binary(meter: Meter, name: str, left: Any, right: Any) -> Any:
    """Computes one of the operators that can make large values, within bounds."""
    meter.spend(1)
    if name == "+":
        if isinstance(left, str) and isinstance(right, str):
            meter.allow_text(len(left) + len(right))
            return left + right
        return meter.made(left + right)
    if name == "%":
        if isinstance(left, str):
            meter.allow_printf(left, right)
        return meter.made(left % right)
    if name == "**":
        _check_power(meter, left, right)
        return meter.made(left**right)
    _check_product(meter, left, right)
    return meter.made(left * right)


def _check_power(meter: Meter, base: Any, exponent: Any) -> None:
    if isinstance(base, int) and isinstance(exponent, int) and not -1 <= base <= 1:
        meter.allow_bits(abs(base).bit_length() * abs(exponent))


def _check_product(meter: Meter, left: Any, right: Any) -> None:
    if isinstance(left, int) and isinstance(right, int):
        meter.allow_bits(left.bit_length() + right.bit_length())
        return
    for value, count in ((left, right), (right, left)):
        if not isinstance(count, int):
            continue
        if isinstance(value, str | bytes):
            meter.allow_text(len(value) * max(0, count))
        elif isinstance(value, list | tuple):
            meter.allow_items(len(value) * max(0, count))


def _call_method(meter: Meter, method: Any, args: Any, kwargs: Any) -> Any:
    """Calls a built-in method of a value; the methods that can make large values are checked."""
    owner, name = method.__self__, method.__name__
    kind = next((base for base in type(owner).__mro__ if base in _METHODS), None)
    if kind is None or name not in _METHODS[kind]:
        if kind is None and name in _FIELDS.get(type(owner), ()):  # range.index, range.count
            return method(*args, **kwargs)
        raise SecurityError(f"the method {name!r} of {type(owner).__name__} may not be called")
    if kind is str:
        return _call_text_method(meter, method, name, args, kwargs)
    args = tuple(map(meter.listed, args))
    for value in (*args, *kwargs.values()):
        meter.weigh(value)
    if kind is list:
        if name == "extend" and args and hasattr(args[0], "__len__"):
            meter.allow_items(len(owner) + len(args[0]))
        elif name == "sort" and "key" in kwargs:
            raise SecurityError("list.sort with a key may not be called; use the filter `sort`")
        elif name in ("index", "count", "remove", "copy"):
            meter.weigh(owner)
    result = method(*args, **kwargs)
    return meter.made(result) if kind in (set, bytes) else result


def _call_text_method(meter: Meter, method: Any, name: str, args: Any, kwargs: Any) -> Any:
    text = method.__self__
    meter.allow_text(len(text))
    if name == "replace":
        if len(args) > 1 and isinstance(args[0], str) and isinstance(args[1], str):
            meter.allow_text(len(text) + text.count(args[0]) * len(args[1]))
    elif name == "join":
        args = tuple(map(meter.listed, args))
        for values in args:
            count = len(values) if hasattr(values, "__len__") else 0
            meter.allow_text(meter.weigh(values) + count * len(text))
    elif name in ("center", "ljust", "rjust", "zfill"):
        for width in args[:1]:
            meter.allow_text(operator.index(width))
    elif name == "expandtabs":
        size = operator.index(next(iter((*args, *kwargs.values())), 8))
        meter.allow_text(len(text) + text.count("\t") * max(0, size))
    result = method(*args, **kwargs)
    if type(result) is list:
        meter.allow_items(len(result))  # its items are texts, so no deeper look is needed
        return result
    return meter.made(result)


def new_context(
    environment: PromptEnvironment,
    variables: dict[str, Any],
    eval_ctx: EvalContext,
    rng: Any,
    meter: Meter,
) -> RenderContext:
    """Makes a context without the copying that Jinja's own constructor does.

    Args:
        environment: the environment of the compiled template.
        variables: globals and variables together.
        eval_ctx: shared by renderings whose template never changes it.
        rng: the generator of the draws, or None.
        meter: the rendering's meter.
    """
    context = RenderContext.__new__(RenderContext)
    context.parent = variables
    context.vars = {}
    context.environment = environment
    context.eval_ctx = eval_ctx
    context.exported_vars = set()
    context.name = None
    context.globals_keys = set()
    context.blocks = {}
    context.rng = rng
    context.meter = meter
    return context


def bounded_text(pieces: Iterator[str], limit: int) -> str:
    """Joins the pieces that a template prints.

    Raises:
        TemplateLimitError: if there are more than `limit` characters.
    """
    kept: list[str] = []
    length = 0
    for piece in pieces:
        length += len(piece)
        if length > limit:
            raise TemplateLimitError(
                f"the template prints more than {limit:,} characters; raise Limits.max_output"
            )
        kept.append(piece)
    return "".join(kept)
