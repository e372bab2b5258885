"""Compiles a template once and renders it many times, drawing as if it were compiled each time.

A template that draws from a constant list while it is compiled (see `folding`) has one compiled
form for each outcome. `Program` keeps them in a tree: each inner node is a draw, each leaf a
compiled form. Rendering walks the tree, drawing at every node, which makes the same draws in the
same order as compiling anew; only an outcome not met before is compiled.
"""

import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from random import Random
from types import CodeType
from typing import Any

from jinja2 import nodes
from jinja2.compiler import CodeGenerator, operators, optimizeconst
from jinja2.nodes import EvalContext

from instrux.errors import InputError
from instrux.prompts.filters import draws_without_rng
from instrux.prompts.folding import Draws, Folding, FoldingOptimizer
from instrux.prompts.limits import MAX_SOURCE, Limits, Meter
from instrux.prompts.sandbox import PromptEnvironment, RenderContext, bounded_text, new_context

MAX_PROGRAMS = 8192
_MAX_VARIANTS = 1024
_ENVIRONMENT = PromptEnvironment()
_SHARED_EVAL_CTX = EvalContext(_ENVIRONMENT)
_GLOBALS = dict(_ENVIRONMENT.globals)
_SCALARS = (str, int, float, bool, type(None))


class _CodeGenerator(CodeGenerator):
    """Jinja's code generator with our folding, a charge for each round, and cheaper printing."""

    def __init__(self, draws: Draws) -> None:
        super().__init__(_ENVIRONMENT, None, None)
        self._folding = Folding(draws, Meter())
        self.optimizer = FoldingOptimizer(_ENVIRONMENT, self._folding)

    def visit_For(self, node: nodes.For, frame: Any) -> None:
        _charge(node)
        super().visit_For(node, frame)

    def visit_Macro(self, node: nodes.Macro, frame: Any) -> None:
        _charge(node)
        super().visit_Macro(node, frame)

    def visit_CallBlock(self, node: nodes.CallBlock, frame: Any) -> None:
        _charge(node)
        super().visit_CallBlock(node, frame)

    def visit_ExprStmt(self, node: nodes.ExprStmt, frame: Any) -> None:
        # Only `_charge` makes these: the extension that has a statement for them is not loaded.
        assert isinstance(node.node, nodes.Const)
        self.writeline(f"context.step({node.node.value})")

    def _output_child_to_const(self, node: Any, frame: Any, finalize: Any) -> str:
        if isinstance(node, nodes.TemplateData) or frame.eval_ctx.autoescape:
            return super()._output_child_to_const(node, frame, finalize)
        value = self._folding.fold(node, frame.eval_ctx)
        self._folding.meter.weigh(value)
        return str(value)

    def _output_child_pre(self, node: Any, frame: Any, finalize: Any) -> None:
        if frame.eval_ctx.volatile:
            self.write("(escape if context.eval_ctx.autoescape else str)(context.weighed(")
        elif frame.eval_ctx.autoescape:
            self.write("escape(context.weighed(")
        else:
            self.write("context.text((")

    def _output_child_post(self, node: Any, frame: Any, finalize: Any) -> None:
        self.write("))")

    # The base class's methods are reached below their decorator: the decorator folds, and folding
    # twice would draw twice.
    @optimizeconst
    def visit_Filter(self, node: nodes.Filter, frame: Any) -> None:
        if _is_truncation(node):
            self._visit_truncation(node.node, frame)
        else:
            CodeGenerator.visit_Filter.__wrapped__(self, node, frame)  # type: ignore[attr-defined]

    def _visit_truncation(self, inner: Any, frame: Any) -> None:
        # Jinja would come to the inner filter and try to fold it, which may draw.
        folded = inner
        if self.optimizer is not None and not frame.eval_ctx.volatile:
            folded = self.optimizer.visit(inner, frame.eval_ctx)
        self.write("context.truncated(")
        self.visit(folded if folded != inner else inner.node, frame)
        self.write(")")

    @optimizeconst
    def visit_Concat(self, node: nodes.Concat, frame: Any) -> None:
        if frame.eval_ctx.volatile:
            self.write("(markup_join if context.eval_ctx.volatile else str_join)(context.joined((")
        else:
            name = "markup_join" if frame.eval_ctx.autoescape else "str_join"
            self.write(f"{name}(context.joined((")
        for item in node.nodes:
            self.visit(item, frame)
            self.write(", ")
        self.write(")))")

    @optimizeconst
    def visit_Compare(self, node: nodes.Compare, frame: Any) -> None:
        operands = [node.expr, *(operand.expr for operand in node.ops)]
        contained = any(operand.op in ("in", "notin") for operand in node.ops)
        if len(operands) == 2 and not contained and any(map(_is_scalar, operands)):
            CodeGenerator.visit_Compare.__wrapped__(self, node, frame)  # type: ignore[attr-defined]
            return
        self.write("(")
        self._visit_weighed(node.expr, frame)
        for operand in node.ops:
            self.write(f" {operators[operand.op]} ")
            self._visit_weighed(operand.expr, frame)
        self.write(")")

    def _visit_weighed(self, node: nodes.Expr, frame: Any) -> None:
        if _is_scalar(node):
            self.visit(node, frame)
            return
        self.write("context.weighed(")
        self.visit(node, frame)
        self.write(")")

    def visit_List(self, node: nodes.List, frame: Any) -> None:
        self._visit_built(super().visit_List, node, node.items, frame)

    def visit_Dict(self, node: nodes.Dict, frame: Any) -> None:
        self._visit_built(super().visit_Dict, node, [pair.value for pair in node.items], frame)

    def visit_Tuple(self, node: nodes.Tuple, frame: Any) -> None:
        if node.ctx == "load":
            self._visit_built(super().visit_Tuple, node, node.items, frame)
        else:
            super().visit_Tuple(node, frame)

    def _visit_built(
        self, visit: Callable[..., None], node: Any, items: list[Any], frame: Any
    ) -> None:
        if all(isinstance(item, nodes.Const) for item in items):
            visit(node, frame)
            return
        self.write("context.built(")
        visit(node, frame)
        self.write(")")


def _charge(node: nodes.For | nodes.Macro | nodes.CallBlock) -> None:
    """Puts a charge for all nodes of the body at its start."""
    count = 1 + sum(1 for _ in node.find_all(nodes.Node))
    node.body.insert(0, nodes.ExprStmt(nodes.Const(count)))


def _is_scalar(node: Any) -> bool:
    return isinstance(node, nodes.Const) and isinstance(node.value, _SCALARS)


def _is_truncation(node: nodes.Filter) -> bool:
    """Whether the filter is the `| string | truncate(2048)` that PromptSource puts everywhere."""
    inner = node.node
    return (
        node.name == "truncate"
        and [type(arg) is nodes.Const and arg.value for arg in node.args] == [2048]
        and not (node.kwargs or node.dyn_args or node.dyn_kwargs)
        and isinstance(inner, nodes.Filter)
        and inner.name == "string"
        and inner.node is not None
        and not (inner.args or inner.kwargs or inner.dyn_args or inner.dyn_kwargs)
    )


@dataclass(frozen=True, slots=True)
class _Variant:
    """One compiled form: the function that prints, and whether it changes its evaluation context."""

    root: Callable[[RenderContext], Iterator[str]]
    blocks: Mapping[str, Any]
    own_eval_ctx: bool


@dataclass(slots=True)
class _Draw:
    """A draw made while compiling, and what follows each of its outcomes."""

    count: int
    outcomes: dict[int, "_Draw | _Variant"] = field(default_factory=dict)


class Program:
    """A template's source, compiled on demand.

    Attributes:
        source: the Jinja source.
    """

    def __init__(self, source: str) -> None:
        if len(source) > MAX_SOURCE:
            raise InputError(f"the template is longer than {MAX_SOURCE:,} characters")
        self.source = source
        self._tree: _Draw | _Variant | None = None
        self._variants = 0
        self._lock = threading.Lock()

    def variant(self, rng: Random | None) -> _Variant:
        """Gives a compiled form, making the draws of compilation from `rng`.

        Raises:
            InputError: if the template draws and `rng` is None.
            jinja2.TemplateSyntaxError: if the source is wrong.
        """
        node = self._tree
        if type(node) is _Variant:
            return node
        if rng is None:
            variant, path = self._compile(Draws(Random(0)))
            if path:
                raise draws_without_rng()
            self._keep(path, variant)
            return variant
        drawn: list[int] = []
        while type(node) is _Draw:
            index = rng.choice(range(node.count))
            drawn.append(index)
            node = node.outcomes.get(index)
        if type(node) is _Variant:
            return node
        variant, path = self._compile(Draws(rng, tuple(drawn)))
        self._keep(path, variant)
        return variant

    def draws_when_compiled(self) -> bool:
        """Whether compiling the source draws; compiles it if it was not yet."""
        if self._tree is None:
            variant, path = self._compile(Draws(Random(0)))
            self._keep(path, variant)
        return isinstance(self._tree, _Draw)

    def _keep(self, path: list[tuple[int, int]], variant: _Variant) -> None:
        with self._lock:
            if self._variants >= _MAX_VARIANTS:
                return
            self._variants += 1
            if not path:
                self._tree = variant
                return
            if self._tree is None:
                self._tree = _Draw(path[0][0])
            node = self._tree
            for step, (_, index) in enumerate(path[:-1]):
                assert isinstance(node, _Draw)
                node = node.outcomes.setdefault(index, _Draw(path[step + 1][0]))
            assert isinstance(node, _Draw)
            node.outcomes[path[-1][1]] = variant

    def _compile(self, draws: Draws) -> tuple[_Variant, list[tuple[int, int]]]:
        generator = _CodeGenerator(draws)
        generator.visit(_ENVIRONMENT.parse(self.source))
        code = generator.stream.getvalue()  # type: ignore[attr-defined]
        names: dict[str, Any] = {"environment": _ENVIRONMENT}
        exec(_python(code), names)
        variant = _Variant(names["root"], names["blocks"], ".eval_ctx" in code)
        return variant, draws.path

    def render(self, variables: Mapping[str, Any], rng: Random | None, limits: Limits) -> str:
        """Prints the template.

        Args:
            variables: what the template may name; not copied, not changed.
            rng: the generator of all draws, first those of compilation.
            limits: what the rendering may do.
        """
        return self.run(self.variant(rng), variables, rng, limits)

    def run(
        self, variant: _Variant, variables: Mapping[str, Any], rng: Random | None, limits: Limits
    ) -> str:
        """Prints a compiled form of the template."""
        eval_ctx = EvalContext(_ENVIRONMENT) if variant.own_eval_ctx else _SHARED_EVAL_CTX
        context = new_context(_ENVIRONMENT, {**_GLOBALS, **variables}, eval_ctx, rng, Meter(limits))
        if variant.blocks:
            context.blocks = {name: [block] for name, block in variant.blocks.items()}
        return bounded_text(variant.root(context), limits.max_output)


def _python(code: str) -> CodeType:
    with warnings.catch_warnings():
        # Python warns of constants that are called or subscripted; that is the template's affair.
        warnings.simplefilter("ignore", SyntaxWarning)
        return compile(code, "<template>", "exec")


_programs: dict[str, Program] = {}


def program(source: str) -> Program:
    """Gives the program of a source: one for each source and process, the oldest dropped first."""
    known = _programs.get(source)
    if known is None:
        known = Program(source)
        if len(_programs) >= MAX_PROGRAMS:
            _programs.pop(next(iter(_programs)), None)
        _programs[source] = known
    return known
