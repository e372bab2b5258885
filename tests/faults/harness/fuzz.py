"""Readers fed with bytes that nobody wrote: whatever comes, they give something or an InputError.

The harness draws bytes that are almost right; tests/faults/test_fuzz.py has hypothesis look for the
smallest that a reader chokes on.
"""

import copy
import functools
import json
import random
import shutil
import struct
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from instrux.data.examples import RenderedExample
from instrux.data.packed import PackedDataset
from instrux.data.seal import sealed
from instrux.data.tfrecord import frame, masked_crc32c, read_records
from instrux.errors import InputError
from instrux.prompts import Template
from instrux.prompts import natural_instructions as ni
from instrux.prompts.natural_instructions_task import load_task
from instrux.prompts.template_files import read_templates
from tests.faults.harness import damage
from tests.faults.harness.trials import Kind, Outcome, WrongError, damaged

ROW = {"text": "some text", "label": 1, "items": ["a", "b"], "deep": {"x": [1, {"y": None}]}}
_PARTS_AT_MOST = 1 << 20

JINJA = (
    "{{", "}}", "{%", "%}", "{#", "#}", "-%}", "{%-", "|||", " ", "\n", "text", "label", "items", "deep",
    "deep.x", "items[0]", "items[", "]", "(", ")", "'", '"', "'a'", "1", "0", "-1", "1.5", "1e400", "none",
    "true", " | ", " ~ ", " + ", " * ", " ** ", " % ", " // ", " if ", " else ", " in ", " is ", " not ",
    "for i in items", "for i in range(9)", "endfor", "if label", "elif", "else", "endif", "set a = ",
    "set ns = namespace(a=1)", "ns.a", "macro m(x)", "endmacro", "m(1)", "filter upper", "endfilter",
    "choice", "lower", "upper", "join(',')", "length", "list", "string", "replace('a', 'b')", "trim",
    "tojson", "map(attribute='x')", "selectattr('x')", "sort", "random", "truncate(3)", "format(1)",
    "loop.index", "loop.cycle(1, 2)", "self", "raw", "endraw", "include 'x'", "import 'x' as y",
    "extends 'x'", "block a", "endblock", "call m()", "endcall", "do x", "break", "continue", "__class__",
    "answer_choices", "answer_choices[label]", "ß", "\u2028", "\x00", "\U0001f600", "defined", "odd",
)  # fmt: skip
YAML = (
    "templates:", "\n  ", "\n    ", "one: ", "!Template", "!TemplateMetadata", "!!python/name:os.system", "{", "}",
    "[", "]", ": ", ", ", "- ", "name", "jinja", "answer_choices", "metadata", "metrics", "original_task",
    "'{{text}} ||| {{label}}'", "null", "true", "1", "&a ", "*a", "<<: ", "|\n", ">\n", "?", "#", "---\n",
    "'", '"', "\t", "é", "\x00", "a ||| b", "Accuracy", "%YAML 1.1\n", "!", "0x1F", "2001-01-01", "~",
)  # fmt: skip


def template_engine(data: bytes) -> None:
    """Compiles and renders a template."""
    jinja = data.decode("utf-8", "replace")
    parts = Template("fuzzed", jinja, "no ||| {{text}}").apply(ROW, random.Random(0)).parts
    if not all(isinstance(part, str) for part in parts) or sum(map(len, parts)) > _PARTS_AT_MOST:
        raise WrongError(f"{jinja!r} gave {parts!r:.200}")


def template_file(data: bytes) -> None:
    """Reads a file of templates, and renders those that are there."""
    with _file("fuzzed.yaml", data) as path:
        for template in read_templates(path, "toy").values():
            try:
                template.apply(ROW, random.Random(0))
            except InputError:
                continue


def natural_instructions(data: bytes) -> None:
    """Reads a task of Natural Instructions, and encodes its first instances."""
    with _file("task001_fuzzed.json", data) as path:
        task = load_task(path)
    for instance in task.instances[:3]:
        text = ni.encode(
            task, instance, num_pos_examples=2, num_neg_examples=2, add_explanation=True
        )
        if not text.endswith("Output: "):
            raise WrongError(f"an instance became {text!r:.200}")


def tfrecord(data: bytes) -> None:
    """Reads a TFRecord file of rendered examples; what is read frames to the bytes that were read."""
    with _file("fuzzed.tfrecord", data) as path:
        again = b""
        try:
            for record in read_records(path):
                again += frame(record)
                RenderedExample.from_bytes(record)
        finally:
            if not data.startswith(again):
                raise WrongError("records were read that are not there")


def example(data: bytes) -> None:
    """Reads one record, and writes it again."""
    read = RenderedExample.from_bytes(data)
    if RenderedExample.from_bytes(read.to_bytes()) != read:
        raise WrongError(f"{read} is written as something else")


def packed_manifest(data: bytes) -> None:
    """Opens a packed set whose manifest is sealed, whatever it says; and reads its rows."""
    folder = Path(tempfile.mkdtemp(prefix="instrux-fuzz-"))
    try:
        for path in _packed().iterdir():
            shutil.copy(path, folder)
        try:
            content = json.loads(data)
        except (ValueError, RecursionError):
            content = None
        given = json.dumps(sealed(content)).encode() if isinstance(content, dict) else data
        (folder / "manifest.json").write_bytes(given)
        opened = PackedDataset(folder)
        rows = opened.rows(np.arange(min(len(opened), 3)))
        if not 0 < len(rows) <= 3:
            raise WrongError("rows were read that are not there")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def packed_rows(data: bytes) -> None:
    """Reads the rows of a packed set whose digests are not looked at, as of one too large for that."""
    folder = Path(tempfile.mkdtemp(prefix="instrux-fuzz-"))
    try:
        for path in _packed().iterdir():
            shutil.copy(path, folder)
        victim = sorted(folder.glob("rows.*"))[0]
        size = victim.stat().st_size
        victim.write_bytes((data + bytes(size))[:size])
        opened = PackedDataset(folder, verify=False)
        opened.rows(np.arange(len(opened)))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@functools.cache
def _packed() -> Path:
    folder, _ = damage._sound(next(f for f in damage.FORMATS if f.make is damage.make_packed))
    return damage.packed_settings().folder(folder)


@contextmanager
def _file(name: str, data: bytes) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="instrux-fuzz-") as folder:
        path = Path(folder) / name
        path.write_bytes(data)
        yield path


# --- Bytes that are almost right -------------------------------------------------------------------


def _pieces(pieces: tuple[str, ...]) -> Callable[[random.Random], bytes]:
    def drawn(draw: random.Random) -> bytes:
        text = "".join(draw.choice(pieces) for _ in range(draw.randint(1, 40)))
        return text.encode("utf-8", "surrogatepass")

    return drawn


def _yaml_bytes(draw: random.Random) -> bytes:
    text = damage.YAML
    for _ in range(draw.randint(0, 3)):
        at, piece = draw.randrange(len(text)), draw.choice(YAML)
        text = text[:at] + piece + text[at + draw.choice([0, 0, len(piece)]) :]
    return text.encode()


def _natural_bytes(draw: random.Random) -> bytes:
    odd = [
        None,
        1,
        -1.5,
        True,
        "",
        "text",
        [],
        ["a"],
        [None],
        {},
        {"input": 1},
        [[["a"]]],
        "\ud800",
    ]
    task: dict[str, Any] = {
        "Categories": ["Mathematics"],
        "Definition": ["Name it."],
        "Positive Examples": [{"input": "i", "output": "o", "explanation": "e"}],
        "Negative Examples": [{"input": "i", "output": "o", "explanation": "e"}],
        "Instances": [{"id": f"task001-{n}", "input": f"q{n}", "output": ["a"]} for n in range(3)],
    }
    for _ in range(draw.randint(0, 3)):
        place: Any = task
        while True:
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            if not keys:
                break
            key = draw.choice(keys)
            if isinstance(place[key], dict | list) and draw.random() < 0.7:
                place = place[key]
                continue
            place[key] = copy.deepcopy(draw.choice(odd))
            break
    content = json.dumps(task).encode()
    return damaged(content, draw) if draw.random() < 0.3 else content


def _tfrecord_bytes(draw: random.Random) -> bytes:
    records = [_example_bytes(draw) for _ in range(draw.randint(0, 3))]
    content = b"".join(map(frame, records))
    if draw.random() < 0.3:
        length = struct.pack("<Q", draw.choice([0, 1, 2**31, 2**63, 2**64 - 1]))
        content += length + struct.pack("<I", masked_crc32c(length)) + draw.randbytes(9)
    return damaged(content, draw) if content and draw.random() < 0.5 else content


def _example_bytes(draw: random.Random) -> bytes:
    texts = ["", "a", "ß\u2028", "x" * 99]
    choices = draw.choice([None, ("a",), ("a", "b")])
    content = RenderedExample(
        draw.choice(texts), draw.choice(texts), "a/b/train/0", "t", answer_choices=choices
    ).to_bytes()
    return damaged(content, draw) if draw.random() < 0.6 else content


def _manifest_bytes(draw: random.Random) -> bytes:
    odd = [
        None,
        0,
        1,
        -1,
        2**40,
        1.5,
        True,
        "",
        "text",
        "../../etc/passwd",
        [],
        {},
        [None],
        "\ud800",
    ]
    manifest = json.loads((_packed() / "manifest.json").read_text())
    place: Any = manifest
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        if not keys:
            break
        key = draw.choice(keys)
        if isinstance(place[key], dict | list) and draw.random() < 0.8:
            place = place[key]
            continue
        if isinstance(place, dict) and draw.random() < 0.2:
            del place[key]
        else:
            place[key] = copy.deepcopy(draw.choice(odd))
        break
    return json.dumps(manifest).encode()


def _row_bytes(draw: random.Random) -> bytes:
    content = sorted(_packed().glob("rows.*"))[0].read_bytes()
    return damaged(content, draw)


@dataclass(frozen=True)
class Target:
    """A reader to fuzz.

    Attributes:
        name: what it is called.
        read: feeds it; raises anything but an InputError where it is at fault.
        drawn: bytes that are almost right.
        checked: whether what it gives is looked at; else it may be anything.
    """

    name: str
    read: Callable[[bytes], None]
    drawn: Callable[[random.Random], bytes]
    checked: bool = True

    def attempt(self, draw: random.Random, folder: Path) -> Outcome:
        """Feeds it once."""
        self.read(self.drawn(draw))
        return Outcome.HELD if self.checked else Outcome.UNSEEN


TARGETS = (
    Target("template engine", template_engine, _pieces(JINJA)),
    Target("reader of template files", template_file, _yaml_bytes),
    Target("reader of Natural Instructions", natural_instructions, _natural_bytes),
    Target("reader of TFRecord", tfrecord, _tfrecord_bytes),
    Target("reader of rendered examples", example, _example_bytes),
    Target("reader of packed manifests", packed_manifest, _manifest_bytes),
    Target("reader of packed rows, digests not looked at", packed_rows, _row_bytes, checked=False),
)


def kinds() -> list[Kind]:
    """Every reader."""
    # A refusal names the file, the template, or what was to be read.
    names = ("fuzz", "tf.train.Example", "endered example", "instrux-fuzz-", "task001")
    return [Kind("Fuzzed readers", t.name, t.attempt, names) for t in TARGETS]
