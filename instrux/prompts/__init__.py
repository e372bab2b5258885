"""Prompt templates: read, rendered and sandboxed; see docs/templates.md."""

from instrux.prompts.collection import DatasetTemplates, TemplateCollection, TemplateReference
from instrux.prompts.limits import Limits
from instrux.prompts.randomness import seeded_rng
from instrux.prompts.template import Rendered, Template, TemplateMetadata

__all__ = [
    "DatasetTemplates",
    "Limits",
    "Rendered",
    "Template",
    "TemplateCollection",
    "TemplateMetadata",
    "TemplateReference",
    "seeded_rng",
]
