"""Constant folding, done as Jinja's compiler does it, with draws replayed and work bounded.

Jinja evaluates constant expressions while it compiles, and PromptSource compiles a template each
time it is applied. So a `choice` from a constant list draws from the generator *before* everything
that is drawn while rendering, and sometimes twice (a first attempt at folding may draw and then
meet a variable). To draw the same, `fold` follows `as_const` of Jinja's nodes step by step; what
differs is that draws come from `Draws` and that operators and filters are bounded.
"""

import operator
from collections.abc import Callable
from random import Random
from typing import Any

from jinja2 import nodes
from jinja2.nodes import EvalContext, Impossible
from jinja2.optimizer import Optimizer
from jinja2.utils import _PassArg

from instrux.prompts.filters import PLAIN_FILTERS, PLAIN_TESTS, call_plain, check_filter
from instrux.prompts.limits import Meter
from instrux.prompts.sandbox import binary

_MAX_FOLDED_ITEMS = 10_000
_BOUNDED = {nodes.Add: "+", nodes.Mul: "*", nodes.Pow: "**", nodes.Mod: "%"}
_BINARY: dict[type, Callable[[Any, Any], Any]] = {
    nodes.Div: operator.truediv,
    nodes.FloorDiv: operator.floordiv,
    nodes.Sub: operator.sub,
}
_UNARY: dict[type, Callable[[Any], Any]] = {
    nodes.Neg: operator.neg,
    nodes.Not: operator.not_,
    nodes.Pos: operator.pos,
}
_COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "eq": operator.eq,
    "ne": operator.ne,
    "gt": operator.gt,
    "gteq": operator.ge,
    "lt": operator.lt,
    "lteq": operator.le,
    "in": lambda item, items: item in items,
    "notin": lambda item, items: item not in items,
}


class Draws:
    """The draws made while one template is compiled: some replayed, the rest from a generator.

    Attributes:
        path: `(number of items, index drawn)` of every draw so far.
    """

    def __init__(self, rng: Random, replayed: tuple[int, ...] = ()) -> None:
        self._rng = rng
        self._replayed = replayed
        self.path: list[tuple[int, int]] = []

    def choice(self, values: Any) -> Any:
        """Draws one of the values."""
        count = len(values)
        if not count:
            return values[0]
        if len(self.path) < len(self._replayed):
            index = self._replayed[len(self.path)]
        else:
            index = self._rng.choice(range(count))
        self.path.append((count, index))
        return values[index]


class FoldingOptimizer(Optimizer):
    """Jinja's optimizer with `Folding.fold` in the place of `as_const`."""

    def __init__(self, environment: Any, folding: "Folding") -> None:
        super().__init__(environment)
        self._fold = folding.fold

    def generic_visit(self, node: nodes.Node, *args: Any, **kwargs: Any) -> nodes.Node:
        """Folds the children, then the node."""
        node = super(Optimizer, self).generic_visit(node, *args, **kwargs)
        if isinstance(node, nodes.Expr):
            try:
                value = self._fold(node, args[0])
                if isinstance(value, (list, tuple, dict, set)) and len(value) > _MAX_FOLDED_ITEMS:
                    return node  # it would be written out in the compiled code
                return nodes.Const.from_untrusted(
                    value, lineno=node.lineno, environment=self.environment
                )
            except Impossible:
                pass
        return node


class Folding:
    """Evaluates constant expressions of one template while it is compiled."""

    def __init__(self, draws: Draws, meter: Meter) -> None:
        self.draws = draws
        self.meter = meter

    def fold(self, node: Any, eval_ctx: EvalContext) -> Any:
        """Gives the value of a constant expression.

        Raises:
            Impossible: if the expression is not constant; draws may have been made before that was
                found out, as in Jinja.
        """
        self.meter.spend(1)
        kind = type(node)
        if kind is nodes.Const or kind is nodes.TemplateData:
            return node.as_const(eval_ctx)
        if kind in _BOUNDED or kind in _BINARY or kind in _UNARY:
            return self._fold_operator(node, kind, eval_ctx)
        method = self._METHODS.get(kind)
        if method is None:
            raise Impossible
        return method(self, node, eval_ctx)

    def _fold_operator(self, node: Any, kind: type, eval_ctx: EvalContext) -> Any:
        try:
            if kind in _UNARY:
                return _UNARY[kind](self.fold(node.node, eval_ctx))
            left, right = self.fold(node.left, eval_ctx), self.fold(node.right, eval_ctx)
            if kind in _BOUNDED:
                return binary(self.meter, _BOUNDED[kind], left, right)
            return _BINARY[kind](left, right)
        except Exception as error:
            raise Impossible from error

    def _fold_filter(self, node: nodes.Filter, eval_ctx: EvalContext) -> Any:
        if node.node is None:
            raise Impossible
        return self._fold_call(node, PLAIN_FILTERS, eval_ctx)

    def _fold_test(self, node: nodes.Test, eval_ctx: EvalContext) -> Any:
        return self._fold_call(node, PLAIN_TESTS, eval_ctx)

    def _fold_call(self, node: Any, known: dict[str, Any], eval_ctx: EvalContext) -> Any:
        function = known.get(node.name)
        passed = _PassArg.from_obj(function) if function is not None else None
        if eval_ctx.volatile or function is None or passed is _PassArg.context:
            raise Impossible
        # Arguments are evaluated before the filtered value, as in Jinja: it decides what is drawn first.
        args = [self.fold(arg, eval_ctx) for arg in node.args]
        kwargs = dict(self._fold_pair(pair.key, pair.value, eval_ctx) for pair in node.kwargs)
        try:
            if node.dyn_args is not None:
                args.extend(self.fold(node.dyn_args, eval_ctx))
            if node.dyn_kwargs is not None:
                kwargs.update(self.fold(node.dyn_kwargs, eval_ctx))
        except Exception as error:
            raise Impossible from error
        args.insert(0, self.fold(node.node, eval_ctx))
        try:
            if known is PLAIN_FILTERS and node.name == "choice":
                return self.draws.choice(*args, **kwargs)
            if known is PLAIN_FILTERS:
                check_filter(self.meter, node.name, args, kwargs)
            lead = {
                _PassArg.eval_context: eval_ctx,
                _PassArg.environment: eval_ctx.environment,
            }
            return self.meter.made(call_plain(function, lead, args, kwargs))
        except Exception as error:
            raise Impossible from error

    def _fold_pair(self, key: Any, value: Any, eval_ctx: EvalContext) -> tuple[Any, Any]:
        folded = self.fold(key, eval_ctx) if isinstance(key, nodes.Expr) else key
        return folded, self.fold(value, eval_ctx)

    def _fold_list(self, node: nodes.List, eval_ctx: EvalContext) -> list[Any]:
        return self.meter.made([self.fold(item, eval_ctx) for item in node.items])

    def _fold_tuple(self, node: nodes.Tuple, eval_ctx: EvalContext) -> tuple[Any, ...]:
        return self.meter.made(tuple(self.fold(item, eval_ctx) for item in node.items))

    def _fold_dict(self, node: nodes.Dict, eval_ctx: EvalContext) -> dict[Any, Any]:
        pairs = (self._fold_pair(item.key, item.value, eval_ctx) for item in node.items)
        return self.meter.made(dict(pairs))

    def _fold_condition(self, node: nodes.CondExpr, eval_ctx: EvalContext) -> Any:
        if self.fold(node.test, eval_ctx):
            return self.fold(node.expr1, eval_ctx)
        if node.expr2 is None:
            raise Impossible
        return self.fold(node.expr2, eval_ctx)

    def _fold_item(self, node: nodes.Getitem, eval_ctx: EvalContext) -> Any:
        if node.ctx != "load":
            raise Impossible
        try:
            value = self.fold(node.node, eval_ctx)
            return eval_ctx.environment.getitem(value, self.fold(node.arg, eval_ctx))
        except Exception as error:
            raise Impossible from error

    def _fold_attribute(self, node: nodes.Getattr, eval_ctx: EvalContext) -> Any:
        if node.ctx != "load":
            raise Impossible
        try:
            return eval_ctx.environment.getattr(self.fold(node.node, eval_ctx), node.attr)
        except Exception as error:
            raise Impossible from error

    def _fold_slice(self, node: nodes.Slice, eval_ctx: EvalContext) -> slice:
        ends = (node.start, node.stop, node.step)
        return slice(*(None if end is None else self.fold(end, eval_ctx) for end in ends))

    def _fold_concat(self, node: nodes.Concat, eval_ctx: EvalContext) -> str:
        values = [self.fold(item, eval_ctx) for item in node.nodes]
        self.meter.allow_text(sum(map(self.meter.weigh, values)))
        return "".join(map(str, values))

    def _fold_compare(self, node: nodes.Compare, eval_ctx: EvalContext) -> Any:
        result = value = self.fold(node.expr, eval_ctx)
        try:
            for operand in node.ops:
                other = self.fold(operand.expr, eval_ctx)
                self.meter.weigh(other)
                result = _COMPARE[operand.op](value, other)
                if not result:
                    return False
                value = other
        except Exception as error:
            raise Impossible from error
        return result

    def _fold_and(self, node: nodes.And, eval_ctx: EvalContext) -> Any:
        return self.fold(node.left, eval_ctx) and self.fold(node.right, eval_ctx)

    def _fold_or(self, node: nodes.Or, eval_ctx: EvalContext) -> Any:
        return self.fold(node.left, eval_ctx) or self.fold(node.right, eval_ctx)

    _METHODS: dict[type, Callable[["Folding", Any, EvalContext], Any]] = {  # noqa: RUF012
        nodes.And: _fold_and,
        nodes.Compare: _fold_compare,
        nodes.Concat: _fold_concat,
        nodes.CondExpr: _fold_condition,
        nodes.Dict: _fold_dict,
        nodes.Filter: _fold_filter,
        nodes.Getattr: _fold_attribute,
        nodes.Getitem: _fold_item,
        nodes.List: _fold_list,
        nodes.Or: _fold_or,
        nodes.Slice: _fold_slice,
        nodes.Test: _fold_test,
        nodes.Tuple: _fold_tuple,
    }
