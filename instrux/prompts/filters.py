"""The filters and tests of templates: Jinja's own and PromptSource's three, within bounds.

`PLAIN_FILTERS` and `PLAIN_TESTS` are the functions as PromptSource has them; what is folded while a
template is compiled is decided by them. `guarded_filters` and `guarded_tests` are what templates
call: the same functions behind a check of what they would make.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from random import Random
from typing import Any

from jinja2.filters import FILTERS
from jinja2.runtime import Context
from jinja2.tests import TESTS
from jinja2.utils import _PassArg, pass_context

from instrux.errors import InputError
from instrux.prompts.limits import MAX_VALUE, Meter

_UNBOUNDED = ("pprint", "urlize", "xmlattr")
_FREE = ("count", "d", "default", "first", "last", "length", "safe")
_LAZY = ("map", "reject", "rejectattr", "select", "selectattr")
_PER_ITEM = (*_LAZY, *"batch groupby list max min reverse slice sort sum unique".split())
_PER_CHARACTER = ("striptags", "title", "urlencode", "wordcount", "wordwrap")
_FREE_TESTS = ("defined", "undefined", "none", "boolean", "false", "true", "integer", "float")


def draw(rng: Random, values: Any) -> Any:
    """Draws as `random.choice` of Python 3.9 does, errors included."""
    count = len(values)
    # Python 3.9 looks up item 0 of an empty sequence, which an undefined value answers in its way.
    return values[rng.choice(range(count)) if count else 0]


def highlight(text: str) -> str:
    """PromptSource's filter `highlight`: marks a text in HTML."""
    return "<span style='color: #F08080'>" + text + "</span>"


def most_frequent(items: Sequence[Any]) -> list[Any] | None:
    """PromptSource's filter `most_frequent`: all items that occur most often, first seen first."""
    if not items:
        return None
    counts = Counter(items)
    highest = max(counts.values())
    return [item for item, count in counts.items() if count == highest]


def _no_draw(values: Any) -> Any:
    raise AssertionError("draws are made by the renderer and by the folding, never by this")


def draws_without_rng() -> InputError:
    """The error of a template that draws although no generator was given."""
    return InputError("the template draws at random: give apply a generator, rng=random.Random(…)")


@pass_context
def _draw_filter(context: Any, values: Any) -> Any:
    context.meter.spend(1)
    if context.rng is None:
        raise draws_without_rng()
    return draw(context.rng, values)


PLAIN_FILTERS: dict[str, Callable[..., Any]] = {
    **{name: filter_ for name, filter_ in FILTERS.items() if name not in _UNBOUNDED},
    "choice": _no_draw,
    "highlight": highlight,
    "most_frequent": most_frequent,
}
PLAIN_TESTS: dict[str, Callable[..., Any]] = dict(TESTS)


def call_plain(
    function: Callable[..., Any], lead: Mapping[Any, Any], args: Sequence[Any], kwargs: Any
) -> Any:
    """Calls a filter or test with the context, evaluation context or environment it asks for."""
    passed = _PassArg.from_obj(function)
    return function(*args, **kwargs) if passed is None else function(lead[passed], *args, **kwargs)


def check_filter(meter: Meter, name: str, args: list[Any], kwargs: dict[str, Any]) -> None:
    """Charges for a filter's arguments and refuses a call whose result would be too large.

    Args:
        meter: the rendering's meter.
        name: the filter.
        args: the filtered value and the positional arguments; an iterator among them is replaced
            by its list where the filter would exhaust it anyway.
        kwargs: the keyword arguments.
    """
    if name not in _LAZY:
        args[0] = meter.listed(args[0])
    largest = meter.weigh(args[0])
    for value in (*args[1:], *kwargs.values()):
        largest = max(largest, meter.weigh(value))
    if isinstance(args[0], str):
        if name in _PER_ITEM:
            meter.allow_items(len(args[0]))
            meter.spend(4 * len(args[0]))
        elif name in _PER_CHARACTER:
            meter.spend(len(args[0]))
    check = _CHECKS.get(name)
    if check is not None:
        check(meter, *args, **kwargs)


def _check_replace(meter: Meter, text: Any, old: Any, new: Any, count: Any = None) -> None:
    text, old, new = str(text), str(old), str(new)
    meter.allow_text(len(text) + (text.count(old) + 1) * len(new))


def _check_format(meter: Meter, pattern: Any, *args: Any, **kwargs: Any) -> None:
    meter.allow_printf(str(pattern), tuple(kwargs.values()) or args)


def _check_join(meter: Meter, values: Any, d: Any = "", attribute: Any = None) -> None:
    if hasattr(values, "__len__"):
        meter.allow_text(len(values) * len(str(d)))


def _check_indent(meter: Meter, text: Any, width: Any = 4, *args: Any, **kwargs: Any) -> None:
    step = len(width) if isinstance(width, str) else _number(width)
    meter.allow_text(len(str(text)) + (str(text).count("\n") + 1) * step)


def _check_width(meter: Meter, value: Any, *args: Any, **kwargs: Any) -> None:
    for number in (*args, *kwargs.values()):
        meter.allow_text(_number(number))


def _check_count(meter: Meter, value: Any, *args: Any, **kwargs: Any) -> None:
    for number in (*args, *kwargs.values()):
        meter.allow_items(_number(number))


def _check_wrap(meter: Meter, text: Any, *args: Any, **kwargs: Any) -> None:
    mark = kwargs.get("wrapstring", args[2] if len(args) > 2 else None) or "\n"
    meter.allow_text(len(text) * (1 + len(mark)))


def _check_round(meter: Meter, value: Any, precision: Any = 0, *args: Any, **kwargs: Any) -> None:
    meter.allow_bits(4 * _number(precision))


def _check_int(meter: Meter, value: Any, *args: Any, **kwargs: Any) -> None:
    if isinstance(value, Decimal) and value.is_finite():
        meter.allow_bits(4 * value.adjusted())


def _check_sum(meter: Meter, values: Any, *args: Any, **kwargs: Any) -> None:
    if hasattr(values, "__len__"):  # adding lists to a list copies it each time
        meter.spend((len(values) * meter.weigh(values)) >> 10)


def _check_json(meter: Meter, value: Any, indent: Any = None) -> None:
    meter.allow_text(meter.weigh(value) * (1 + _number(indent)))


def _check_tags(meter: Meter, value: Any) -> None:
    meter.allow_items(len(str(value)))


def _number(value: Any) -> int:
    return min(abs(value), MAX_VALUE + 1) if isinstance(value, int) else 0


_CHECKS: dict[str, Callable[..., None]] = {
    "batch": _check_count,
    "center": _check_width,
    "format": _check_format,
    "indent": _check_indent,
    "int": _check_int,
    "join": _check_join,
    "replace": _check_replace,
    "round": _check_round,
    "slice": _check_count,
    "striptags": _check_tags,
    "sum": _check_sum,
    "tojson": _check_json,
    "wordwrap": _check_wrap,
}


def _lead(context: Any) -> dict[Any, Any]:
    return {
        _PassArg.context: context,
        _PassArg.eval_context: context.eval_ctx,
        _PassArg.environment: context.environment,
    }


def _guarded_filter(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    passed = _PassArg.from_obj(function)

    @pass_context
    def guarded(context: Any, *values: Any, **kwargs: Any) -> Any:
        meter, args = context.meter, list(values)
        meter.spend(1)
        check_filter(meter, name, args, kwargs)
        if passed is not None:
            args.insert(0, _lead(context)[passed])
        result = function(*args, **kwargs)
        return meter.counted(result) if isinstance(result, Iterator) else meter.made(result)

    return guarded


def _guarded_test(function: Callable[..., Any]) -> Callable[..., Any]:
    passed = _PassArg.from_obj(function)

    @pass_context
    def guarded(context: Any, *values: Any, **kwargs: Any) -> Any:
        for value in values:
            context.meter.weigh(value)
        if passed is not None:
            values = (_lead(context)[passed], *values)
        return function(*values, **kwargs)

    return guarded


def guarded_filters() -> dict[str, Callable[..., Any]]:
    """The filters that templates call."""
    filters = {
        name: function if name in _FREE else _guarded_filter(name, function)
        for name, function in PLAIN_FILTERS.items()
    }
    return {**filters, "choice": _draw_filter, "random": _draw_random}


def guarded_tests() -> dict[str, Callable[..., Any]]:
    """The tests that templates call."""
    return {
        name: function if name in _FREE_TESTS else _guarded_test(function)
        for name, function in PLAIN_TESTS.items()
    }


@pass_context
def _draw_random(context: Context, values: Any) -> Any:
    """Jinja's filter `random`, with the rendering's own generator."""
    try:
        return _draw_filter(context, values)
    except IndexError:
        return context.environment.undefined("No random item, sequence was empty.")
