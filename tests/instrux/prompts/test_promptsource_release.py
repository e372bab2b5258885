"""The published collection as a whole. The figures are counts made with PromptSource itself."""

import json
import re
import tarfile
from collections import Counter

import pytest

from instrux.prompts import seeded_rng
from instrux.prompts.compiling import program
from instrux.prompts.errors import RenderError
from instrux.prompts.template import SEPARATOR

SAMPLE = 12  # of the re-rendered files; each is of another dataset


def test_the_releases_have_their_published_sizes(release, older_release):
    templates = list(release.templates())
    assert (len(release), len(templates)) == (279, 2085)
    assert (len(older_release), sum(map(len, older_release.values()))) == (272, 1966)
    assert len({template.id for template in templates}) == 2085


def test_flags_and_metrics(release):
    metadata = [template.metadata for template in release.templates()]
    assert Counter(each.original_task for each in metadata) == {True: 1535, False: 550}
    choices = Counter(each.choices_in_prompt for each in metadata)
    assert choices == {True: 841, False: 1209, None: 35}
    metrics = Counter(name for each in metadata for name in each.metrics)
    assert (metrics["Accuracy"], metrics["ROUGE"], metrics["BLEU"]) == (1283, 363, 356)


def test_structure_of_the_texts(release):
    templates = list(release.templates())
    separators = Counter(template.jinja.count(SEPARATOR) for template in templates)
    assert separators == {1: 2078, 2: 5, 3: 2}
    drawing = [each for each in templates if re.search(r"\|\s*(choice|random)\b", each.jinja)]
    assert len(drawing) == 246
    assert all(template.draws for template in drawing)
    assert sum(template.answer_choices is not None for template in templates) == 1145


def test_all_fixed_choices_are_found(release):
    fixed = [each.fixed_answer_choices for each in release.templates()]
    sizes = Counter(len(choices) for choices in fixed if choices is not None)
    assert sum(sizes.values()) == 911
    assert (sizes[2], sizes[3], sizes[4], sizes[5], max(sizes)) == (385, 236, 115, 56, 174)


@pytest.mark.slow
def test_every_template_compiles(release):
    for template in release.templates():
        truncated = template.jinja.replace("}}", " | string | truncate(2048) }}")
        for source in (template.jinja, truncated, template.answer_choices or ""):
            program(source).draws_when_compiled()


@pytest.mark.slow
def test_rerenders_what_another_group_rendered(release, shared_data):
    """Rows of P3 as published with self-instruct: outputs stripped, one template a file."""
    index = json.loads((shared_data / "p3_rendered" / "index.json").read_text())
    by_task = {
        re.sub(r"[^\w.]+", "_", f"{template.dataset.replace('/', '_')}_{template.name}"): template
        for template in release.templates()
    }
    checked: dict[str, int] = {}
    with tarfile.open(shared_data / "p3_rendered" / "rendered.tar.xz") as tar:
        for task, entry in index.items():
            rows = shared_data / "p3" / entry["dataset"] / "train.jsonl"
            if not rows.exists():
                rows = shared_data / "p3" / entry["dataset"] / "default" / "train.jsonl"
            template = by_task.get(task)
            whole = entry["rows"] == 200 and entry["dataset"] not in checked and rows.exists()
            if template is None or not whole or template.draws or "trec" in task:
                continue
            file = tar.extractfile(f"{task}.jsonl")
            assert file is not None
            expected = [json.loads(line) for line in file.read().decode().split("\n") if line]
            checked[entry["dataset"]] = _check(template, rows, expected)
            if len(checked) == SAMPLE:
                break
    assert len(checked) == SAMPLE
    assert sum(checked.values()) >= 0.97 * 200 * SAMPLE, checked


def _check(template, rows, expected) -> int:
    """How many rows render to what was published."""
    lines = [line for line in rows.read_text(encoding="utf-8").split("\n") if line]
    equal = 0
    for number, (line, published) in enumerate(zip(lines, expected, strict=False)):
        rng = seeded_rng(0, f"{template.dataset}/{number}", template.name)
        try:
            rendered = template.apply(json.loads(line), rng)
        except RenderError:
            continue
        inputs, targets = f"{rendered.inputs}\n", f"{rendered.targets}<|endoftext|>"
        equal += (inputs, targets) == (published["prompt"], published["completion"])
    return equal
