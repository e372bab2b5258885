"""Templates: a prompt and its target from one example, rendered as PromptSource 0.2.3 does."""

import copy
import random
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

from jinja2 import meta
from jinja2.sandbox import SandboxedEnvironment

from instrux.errors import InputError
from instrux.prompts.compiling import Program, program
from instrux.prompts.errors import render_error
from instrux.prompts.limits import DEFAULT_LIMITS, Limits

SEPARATOR = "|||"
PROTECTOR = "3ed2dface8203c4c9dfb1a5dc58e41e0"
"""Stands for the separator in values. Templates of multi_news split on it, so it is fixed."""

_MAY_DRAW = re.compile(r"\b(?:choice|random)\b")  # and not `answer_choices`
_MAY_CHANGE = re.compile(
    r"append|clear|extend|indent|insert|pop|remove|reverse|setdefault|sort|update|discard|add\b"
)


class Rendered(NamedTuple):
    """What a template makes of an example.

    Attributes:
        parts: the text split on `|||`: one part where the template does not apply to the example,
            two for inputs and targets.
        inputs: the first of two parts; None where there are not exactly two.
        targets: the second of two parts; None where there are not exactly two.
        answer_choices: all acceptable targets, or None where the template has no choices.
    """

    parts: list[str]
    inputs: str | None
    targets: str | None
    answer_choices: list[str] | None


@dataclass(frozen=True)
class TemplateMetadata:
    """What a template's authors say about it; None and () where the file says nothing.

    Attributes:
        original_task: whether it asks for the task that the dataset was made for.
        choices_in_prompt: whether the prompt shows the answer choices.
        metrics: names of metrics, such as `Accuracy`.
        languages: languages of the prompt.
        turned_around: whether it gives what is usually the answer and asks for what is usually
            given, as up to four of FLAN's ten templates for a dataset do.
    """

    original_task: bool | None = None
    choices_in_prompt: bool | None = None
    metrics: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    turned_around: bool | None = None


@dataclass(frozen=True)
class Template:
    """A prompt template.

    Plain strings only, so that it travels to workers; what is compiled stays in the process.

    Attributes:
        name: unique in its dataset; looked up byte for byte.
        jinja: the text, in Jinja, with `|||` between prompt and target.
        answer_choices: a Jinja expression that prints the choices with `|||` between them, or None.
        metadata: what its authors say about it.
        id: unique in its release.
        reference: who wrote it, or the paper it comes from.
        dataset: `dataset` or `dataset/subset`, for messages.
    """

    name: str
    jinja: str
    answer_choices: str | None = None
    metadata: TemplateMetadata = field(default_factory=TemplateMetadata)
    id: str = ""
    reference: str = ""
    dataset: str = ""

    def apply(
        self,
        example: Mapping[str, Any],
        rng: random.Random | None = None,
        truncate: bool = True,
        strip: bool = True,
        highlight: bool = False,
        limits: Limits = DEFAULT_LIMITS,
    ) -> Rendered:
        """Renders an example.

        Args:
            example: the row; it is never changed.
            rng: what `choice` and `random` draw from. Only templates that draw need it.
            truncate: whether every printed expression is cut to 2,048 characters.
            strip: whether outer whitespace of the parts is dropped. The published P3 was rendered
                before PromptSource did so.
            highlight: whether printed expressions are marked in HTML.
            limits: how much the rendering may do.

        Raises:
            RenderError: if the template cannot be rendered with this example; it is also an
                instance of the exception that PromptSource raises.
            TemplateLimitError: if the template prints too much or runs too long.
            InputError: if the template draws and there is no `rng`.
        """
        form = _form(self.jinja, self.answer_choices, truncate, highlight)
        try:
            return form.apply(example, rng, strip, limits)
        except InputError as error:
            raise type(error)(f"{self._where()}: {error}") from error
        except Exception as error:
            raise render_error(error, self._where()) from error

    def example_answer_choices(
        self,
        example: Mapping[str, Any],
        rng: random.Random | None = None,
        limits: Limits = DEFAULT_LIMITS,
    ) -> list[str] | None:
        """Gives the choices for an example alone, or None where the template has none.

        Raises:
            RenderError: if the expression cannot be rendered with this example.
        """
        form = _form(self.jinja, self.answer_choices, True, False)
        try:
            return form.choices(_protected(example, form.may_change), rng, limits)
        except InputError as error:
            raise type(error)(f"{self._where()}: {error}") from error
        except Exception as error:
            raise render_error(error, self._where()) from error

    @property
    def fixed_answer_choices(self) -> list[str] | None:
        """The choices where they are the same for all examples, else None."""
        form = _form(self.jinja, self.answer_choices, True, False)
        try:
            fixed = form.fixed_choices()
        except InputError as error:
            raise type(error)(f"{self._where()}: {error}") from error
        except Exception as error:
            raise render_error(error, self._where()) from error
        return None if fixed is None else list(fixed)

    @property
    def draws(self) -> bool:
        """Whether rendering may draw at random; never False for a template that draws."""
        return bool(_MAY_DRAW.search(f"{self.jinja}{self.answer_choices}"))

    def _where(self) -> str:
        return f"template {self.name!r}" + (f" of {self.dataset}" if self.dataset else "")


class _Form:
    """A template under one setting of `truncate` and `highlight`, ready to render."""

    def __init__(self, jinja: str, answer_choices: str | None) -> None:
        self._source = jinja
        self._choices_source = answer_choices
        self._text: Program | None = None
        self._choices: Program | None = None
        self._fixed: tuple[str, ...] | None = None
        self._fixed_known = answer_choices is None
        self._choices_draw = bool(answer_choices and _MAY_DRAW.search(answer_choices))
        self.may_change = bool(_MAY_CHANGE.search(f"{jinja}{answer_choices}"))

    def apply(
        self, example: Mapping[str, Any], rng: random.Random | None, strip: bool, limits: Limits
    ) -> Rendered:
        # The order of PromptSource's own steps: it decides the order of draws and of errors.
        start = rng.getstate() if rng is not None and self._choices_draw else None
        text = self._text
        if text is None:
            text = self._text = program(self._source)
        variant = text.variant(rng)
        variables = _protected(example, self.may_change)
        if "answer_choices" in variables:
            raise ValueError("Example contains the restricted key 'answer_choices'.")
        choices = self.choices(variables, rng, limits)
        variables["answer_choices"] = None if choices is None else list(choices)
        _check_keys(variables)
        printed = text.run(variant, variables, rng, limits)
        parts = printed.split(SEPARATOR)
        if PROTECTOR in printed:
            parts = [part.replace(PROTECTOR, SEPARATOR) for part in parts]
        if strip:
            parts = [part.strip() for part in parts]
        if start is not None:  # the choices' own draws start where those of the text started
            again = random.Random()
            again.setstate(start)
            choices = self.choices(_protected(example, self.may_change), again, limits)
        if len(parts) == 2:
            return Rendered(parts, parts[0], parts[1], choices)
        return Rendered(parts, None, None, choices)

    def choices(
        self, variables: dict[str, Any], rng: random.Random | None, limits: Limits
    ) -> list[str] | None:
        """The choices for protected variables."""
        if self._choices_source is None:
            return None
        fixed = self.fixed_choices()
        if fixed is not None:
            _check_keys(variables)
            return list(fixed)
        assert self._choices is not None
        variant = self._choices.variant(rng)
        _check_keys(variables)
        return _split_choices(self._choices.run(variant, variables, rng, limits))

    def fixed_choices(self) -> tuple[str, ...] | None:
        """The choices where they name no variable and draw nothing."""
        if not self._fixed_known:
            source = self._choices_source
            assert source is not None
            self._choices = program(source)
            if not (self._choices_draw or _undeclared(source)):
                printed = self._choices.render({}, None, DEFAULT_LIMITS)
                self._fixed = tuple(choice.strip() for choice in printed.split(SEPARATOR))
            self._fixed_known = True
        return self._fixed


@lru_cache(maxsize=8192)
def _form(jinja: str, answer_choices: str | None, truncate: bool, highlight: bool) -> _Form:
    if truncate:
        jinja = jinja.replace("}}", " | string | truncate(2048) }}")
    if highlight:
        jinja = jinja.replace("}}", " | highlight }}")
    return _Form(jinja, answer_choices)


def _undeclared(source: str) -> set[str]:
    environment = SandboxedEnvironment()
    environment.globals["zip"] = zip
    environment.filters = _known_filters()
    return meta.find_undeclared_variables(environment.parse(source))


def _known_filters() -> dict[str, Any]:
    from instrux.prompts.filters import guarded_filters

    return guarded_filters()


def _protected(example: Mapping[str, Any], may_change: bool) -> dict[str, Any]:
    """Copies the example with `|||` in its texts replaced by the protector.

    Lists and dictionaries in it are copied only where the template might change them.
    """
    variables: dict[str, Any] = {}
    for key, value in example.items():
        if isinstance(value, str):
            variables[key] = value.replace(SEPARATOR, PROTECTOR) if SEPARATOR in value else value
        elif may_change and isinstance(value, list | dict | set):
            variables[key] = copy.deepcopy(value)
        else:
            variables[key] = value
    return variables


def _check_keys(variables: Mapping[Any, Any]) -> None:
    """Refuses what cannot be a keyword argument, as PromptSource passes the example by keyword."""
    if "self" in variables:
        raise TypeError("render() got multiple values for argument 'self'")
    for key in variables:
        if not isinstance(key, str):
            raise TypeError(f"keywords must be strings, not {key!r}")


def _split_choices(printed: str) -> list[str]:
    choices = [choice.strip() for choice in printed.split(SEPARATOR)]
    if PROTECTOR in printed:
        choices = [choice.replace(PROTECTOR, SEPARATOR) for choice in choices]
    return choices
