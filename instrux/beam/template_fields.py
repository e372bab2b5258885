"""Which fields of a row a template takes, read from its syntax."""

from typing import Any

from jinja2 import TemplateSyntaxError, meta, nodes

from instrux.prompts.sandbox import PromptEnvironment


def template_fields(template: Any) -> tuple[str, ...]:
    """Names that a Jinja template takes from the row; () for templates of another kind.

    A name that the template asks about (`{% if note is defined %}`) may well be absent, and is
    left out, as are the functions that every template has.
    """
    sources = [getattr(template, name, None) for name in ("jinja", "answer_choices")]
    environment = PromptEnvironment()
    names: set[str] = set()
    optional = {"answer_choices", *environment.globals}
    for source in sources:
        if not isinstance(source, str):
            continue
        try:
            tree = environment.parse(source)
        except (TemplateSyntaxError, RecursionError):
            continue  # told when the template is rendered, with its name
        names |= meta.find_undeclared_variables(tree)
        optional |= {
            test.node.name
            for test in tree.find_all(nodes.Test)
            if test.name in ("defined", "undefined") and isinstance(test.node, nodes.Name)
        }
    return tuple(sorted(names - optional))
