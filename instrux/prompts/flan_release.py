"""Imports the released FLAN templates into the cache folder, in our YAML form.

The released file is Python. It is read as data: parsed with `ast`, and nothing in it is run. Only
the table `PATTERNS` of pairs of texts is taken, every size is bounded, and each imported template is
rendered once and compared with what its pattern gives.
"""

import ast
import hashlib
import os
import re
import tempfile
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from instrux.cache_folder import cache_folder
from instrux.errors import InputError
from instrux.progress import tell
from instrux.prompts.flan_defects import EVERY_TEXT_DEFECT
from instrux.prompts.flan_templates import load_key
from instrux.prompts.releases import locked
from instrux.prompts.template import SEPARATOR
from instrux.prompts.template_files import FILE_NAME

COMMIT = "e9e4ec6e2701182c7a91af176f705310da541277"
SHA256 = "b861032a4f9951e50c3e99dd3c6f840ccce48dc5ed5e100ae60e5da3445619b7"
FILE = "flan/templates.py"
_URL = f"https://raw.githubusercontent.com/google-research/FLAN/{COMMIT}/{FILE}"
_SECONDS = 60
_TABLE = "PATTERNS"
_MAX_BYTES = 4 * 2**20
_MAX_KEYS = 512
_MAX_TEMPLATES = 64
_MAX_PATTERN = 20_000
_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_]{0,99}")
_SLOT = re.compile(r"\{(\w+)\}")
_SENTENCE_FIELDS = {"sent1", "sent2"}

Pattern = tuple[str, str]
Patterns = Mapping[str, Sequence[Pattern]]


def released_folder(*, as_released: bool = False) -> Path:
    """Gives where the imported templates lie, whether or not they do yet."""
    return cache_folder() / ("flan-templates-as-released" if as_released else "flan-templates")


def fetch_flan_templates(source: str | None = None, *, as_released: bool = False) -> Path:
    """Puts the released templates into the cache folder as `<key>/templates.yaml`.

    Args:
        source: a checkout of google-research/FLAN, or its templates file; the public repository, at
            a pinned commit, where None.
        as_released: whether the file's known slips stay; see `flan_defects`.

    Returns:
        A folder that `flan_templates.load_key` reads.

    Raises:
        InputError: the file cannot be had, or is not such a file.
    """
    folder = released_folder(as_released=as_released)
    if source is None and folder.is_dir():
        return folder
    content = _download() if source is None else _read(Path(source))
    where = FILE if source is None else source
    patterns = parse_patterns(content, where)
    if not as_released:
        patterns = mended(patterns)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with locked(folder.parent / f"{folder.name}.lock"):
            _store(patterns, folder, where)
    except OSError as error:
        raise InputError(
            f"cannot write {folder}: {error.strerror};"
            " set INSTRUX_CACHE to a folder that can be written"
        ) from error
    return folder


def _read(path: Path) -> bytes:
    file = path / FILE if path.is_dir() else path
    try:
        if file.stat().st_size > _MAX_BYTES:
            raise InputError(f"{file}: larger than {_MAX_BYTES:,} bytes; give {FILE}")
        content = file.read_bytes()
    except OSError as error:
        raise InputError(
            f"{file}: {error.strerror}; give a checkout of google-research/FLAN, or its {FILE}"
        ) from error
    if hashlib.sha256(content).hexdigest() != SHA256:
        tell(f"{file} is not the file of commit {COMMIT[:7]}; it is read all the same")
    return content


def _download() -> bytes:
    tell(f"fetching {FILE} of google-research/FLAN")
    try:
        with urllib.request.urlopen(_URL, timeout=_SECONDS) as response:
            content = response.read(_MAX_BYTES + 1)
    except (urllib.error.URLError, OSError, ValueError) as error:
        raise InputError(
            f"cannot fetch {FILE} of google-research/FLAN ({getattr(error, 'reason', error)});"
            " clone it and give the folder by --source"
        ) from error
    digest = hashlib.sha256(content).hexdigest()
    if digest != SHA256:
        raise InputError(
            f"what was fetched is not {FILE} of commit {COMMIT[:7]}: its SHA-256 is {digest};"
            " clone the repository and give the folder by --source"
        )
    return content


def parse_patterns(content: bytes, where: str) -> dict[str, list[Pattern]]:
    """Reads the table of patterns out of a Python file without running it.

    Args:
        content: the file.
        where: its name, for messages.

    Raises:
        InputError: it is no Python, has no such table, or the table is not of plain texts or too
            large.
    """
    try:
        module = ast.parse(content)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = getattr(error, "lineno", None)
        at = f", line {line}" if line else ""
        raise InputError(f"{where}{at}: cannot be read as Python; give {FILE}") from error
    for statement in module.body:
        if isinstance(statement, ast.Assign) and _is_table(statement.targets):
            return _table(statement.value, where)
    raise InputError(f"{where}: has no table {_TABLE}; give {FILE} of google-research/FLAN")


def _is_table(targets: Sequence[ast.expr]) -> bool:
    return any(isinstance(target, ast.Name) and target.id == _TABLE for target in targets)


def _table(node: ast.expr, where: str) -> dict[str, list[Pattern]]:
    if not isinstance(node, ast.Dict):
        raise InputError(f"{where}, line {node.lineno}: {_TABLE} is not a literal dictionary")
    if len(node.keys) > _MAX_KEYS:
        raise InputError(f"{where}: more than {_MAX_KEYS} keys in {_TABLE}")
    patterns: dict[str, list[Pattern]] = {}
    for key_node, value in zip(node.keys, node.values, strict=True):
        key = _text(key_node or value, where)
        if not _KEY.fullmatch(key) or key in patterns:
            raise InputError(
                f"{where}, line {value.lineno}: key {key[:60]!r} is no plain name or comes twice"
            )
        if not isinstance(value, ast.List | ast.Tuple) or len(value.elts) > _MAX_TEMPLATES:
            raise InputError(
                f"{where}, line {value.lineno}: {key!r} is not a list of up to {_MAX_TEMPLATES}"
            )
        patterns[key] = [_pattern(element, key, where) for element in value.elts]
    return patterns


def _pattern(node: ast.expr, key: str, where: str) -> Pattern:
    if not isinstance(node, ast.Tuple) or len(node.elts) != 2:
        raise InputError(f"{where}, line {node.lineno}: a template of {key!r} is not a pair")
    inputs, targets = (_text(element, where) for element in node.elts)
    if SEPARATOR in inputs + targets:
        raise InputError(f"{where}, line {node.lineno}: {SEPARATOR} in a template of {key!r}")
    return inputs, targets


def _text(node: ast.expr, where: str) -> str:
    """The text of a literal, or of literals joined by `+`."""
    parts: list[str] = []
    pending = [node]
    while pending:
        each = pending.pop()
        if isinstance(each, ast.BinOp) and isinstance(each.op, ast.Add):
            pending += [each.right, each.left]
        elif isinstance(each, ast.Constant) and isinstance(each.value, str):
            parts.append(each.value)
        else:
            raise InputError(f"{where}, line {each.lineno}: a text is wanted here, and no code")
    text = "".join(parts)
    if len(text) > _MAX_PATTERN:
        raise InputError(f"{where}, line {node.lineno}: a text of over {_MAX_PATTERN:,} characters")
    return text


def mended(patterns: Patterns) -> dict[str, list[Pattern]]:
    """Mends the slips whose right reading is plain; see `flan_defects`."""
    assert {"stray_n_before_options", "snli_swapped"} <= EVERY_TEXT_DEFECT
    whole = {key: list(pairs) for key, pairs in patterns.items()}
    for key in ("rte", "anli", "cb"):
        whole[key] = [
            (inputs.replace("{hypothesis}n\n{options_}", "{hypothesis}\n\n{options_}"), targets)
            for inputs, targets in whole.get(key, [])
        ]
    for index in (7, 8):
        pairs = whole.get("snli", [])
        if index < len(pairs) and _hypothesis_is_condition(pairs[index][0]):
            pairs[index] = (_swapped(pairs[index][0]), pairs[index][1])
    return {key: pairs for key, pairs in whole.items() if key in patterns}


def _hypothesis_is_condition(inputs: str) -> bool:
    return re.search(r"\{premise\}.*\bif\b.*\{hypothesis\}", inputs) is not None


def _swapped(inputs: str) -> str:
    other = {"{premise}": "{hypothesis}", "{hypothesis}": "{premise}"}
    return re.sub(r"\{(?:premise|hypothesis)\}", lambda match: other[match[0]], inputs)


@dataclass(frozen=True)
class _Entry:
    key: str
    index: int
    pattern: Pattern
    turned_around: bool

    @property
    def name(self) -> str:
        return f"released {self.index}"

    def fields(self) -> dict[str, Any]:
        inputs, targets = self.pattern
        choices = "{options_}" in inputs or "{options_str}" in inputs
        return {
            "name": self.name,
            "id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"{FILE}#{self.key}/{self.index}")),
            "reference": f"google-research/FLAN, {FILE}, {self.key}[{self.index}]",
            "jinja": f"{jinja(inputs)}{SEPARATOR}{jinja(targets)}",
            "metadata": {
                "original_task": not self.turned_around,
                "turned_around": self.turned_around,
                "choices_in_prompt": choices,
                "languages": ["en"],
            },
        }


def jinja(pattern: str) -> str:
    """Writes a pattern with `{field}` slots as Jinja that prints the same.

    White space at its ends is printed by an expression, for files do not keep it.
    """
    body = pattern.strip()
    before = pattern[: len(pattern) - len(pattern.lstrip())] if body else pattern
    after = pattern[len(pattern.rstrip()) :] if body else ""
    pieces = [_printed(before)]
    for index, piece in enumerate(_SLOT.split(body)):
        pieces.append(f"{{{{{piece}}}}}" if index % 2 else _literal(piece))
    return "".join([*pieces, _printed(after)])


def _literal(text: str) -> str:
    return re.sub(r"[{}]", lambda match: _printed(match[0]), text)


def _printed(text: str) -> str:
    if not text:
        return ""
    escaped = text.replace("\n", "\\n").replace("\t", "\\t")
    return "{{'" + escaped + "'}}"


def is_turned_around(pattern: Pattern, usual: Pattern) -> bool:
    """Says whether a pattern asks for something else than the key's first pattern does.

    Both directions of a translation are usual; writing any sentence, or naming a language, is not.
    """
    asked, shown = set(_SLOT.findall(pattern[1])), set(_SLOT.findall(pattern[0]))
    if _SENTENCE_FIELDS & set(_SLOT.findall(usual[1])):
        return not (asked <= _SENTENCE_FIELDS and shown & _SENTENCE_FIELDS - asked)
    return asked != set(_SLOT.findall(usual[1]))


def _store(patterns: Patterns, folder: Path, where: str) -> None:
    """Puts the templates at `folder`, which appears complete or not at all."""
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as scratch:
        made = Path(scratch) / "templates"
        for key, pairs in patterns.items():
            entries = [
                _Entry(key, index, pair, is_turned_around(pair, pairs[0]))
                for index, pair in enumerate(pairs)
            ]
            _write(made / key / FILE_NAME, entries)
            _compare(made, key, entries, where)
        if folder.exists():
            os.replace(folder, Path(scratch) / "old")
        os.replace(made, folder)
    load_key.cache_clear()


def _write(path: Path, entries: Iterable[_Entry]) -> None:
    path.parent.mkdir(parents=True)
    content = {"templates": [entry.fields() for entry in entries]}
    path.write_text(
        yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=10_000), encoding="utf-8"
    )


def _compare(folder: Path, key: str, entries: Sequence[_Entry], where: str) -> None:
    for entry, template in zip(entries, load_key(folder, key), strict=True):
        slots = set(_SLOT.findall("".join(entry.pattern)))
        row = {slot: f" <{slot} {{x}}> " for slot in slots}
        wanted = tuple(_filled(text, row) for text in entry.pattern)
        rendered = template.apply(row, truncate=False, strip=False)
        if (rendered.inputs, rendered.targets) != wanted:
            raise InputError(
                f"{where}: template {entry.index} of {key!r} cannot be written as Jinja;"
                " use the bundled templates"
            )


def _filled(pattern: str, row: Mapping[str, str]) -> str:
    return _SLOT.sub(lambda match: row[match[1]], pattern)
