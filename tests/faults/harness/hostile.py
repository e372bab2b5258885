"""Hostile input: templates, template files, archives, rows and gin files."""

import io
import json
import os
import random
import stat
import tarfile
import time
import zipfile
from pathlib import Path
from typing import Any

from instrux.data import natural_instructions_files
from instrux.data.prompted_task import PromptedTask
from instrux.data.rendered import RenderedSplit
from instrux.data.sources import JsonLinesSource
from instrux.errors import InputError
from instrux.prompts import Template
from instrux.prompts.releases import unpack_templates
from instrux.prompts.template_files import read_templates
from launch import gin_config
from pipelines.render import render
from tests.faults.harness.trials import CANARY, Kind, Outcome, WrongError

# --- Templates -------------------------------------------------------------------------------------

ROOTS = (
    "''", "[]", "{}", "x", "1", "self", "cycler", "joiner", "namespace", "lipsum", "dict", "range",
    "loop", "request", "config", "outside", "outside.method", "x.upper", "''.format", "namespace(a=1)",
    "cycler('a')", "joiner(',')", "[].append", "(x | list)", "varargs", "caller", "zip",
)  # fmt: skip
ATTRIBUTES = (
    "__class__", "__mro__", "__base__", "__bases__", "__subclasses__", "__init__", "__globals__",
    "__builtins__", "__import__", "__dict__", "__func__", "__self__", "__code__", "__closure__",
    "__reduce_ex__", "__getattribute__", "__class_getitem__", "__wrapped__", "gi_frame", "f_back",
    "f_globals", "f_builtins", "cr_frame", "tb_frame", "func_globals", "im_func", "mro", "os",
    "popen", "_Namespace__attrs", "_TemplateReference__context", "environment", "eval_ctx",
)  # fmt: skip
GROWTHS = (
    "ns.v ~ ns.v", "ns.v + ns.v", "ns.v * 9", "[ns.v, ns.v]", "(ns.v, ns.v)", "ns.v | string ~ ns.v",
    "ns.v | list", "ns.v | join(ns.v | string)", "(ns.v | string).replace('a', ns.v | string)",
    "'%s%s' % (ns.v, ns.v)", "'{0}{0}'.format(ns.v)", "ns.v | center(10 ** 9)", "ns.v | tojson",
    "ns.v | indent(99999)", "ns.v | pprint", "{'a': ns.v, 'b': ns.v}", "namespace(a=ns.v, b=ns.v)",
    "ns.v | wordwrap(1)", "ns.v | batch(1) | list", "ns.v | urlize", "ns.v | escape", "ns.v ** 9",
    "range(10 ** 9) | list", "ns.v | replace('', ns.v | string)", "ns.v | xmlattr", "ns.v | sort",
)  # fmt: skip
STARTS = ("'aa'", "'a' * 9999", "7", "['a']", "'a b ' * 999", "{'a': 1}", "2 ** 9999")


class Outside:
    """What a row must never be able to hold; made for a template to try its hands on."""

    def method(self) -> None:
        """Makes the file that tells of it."""
        Path(os.environ[CANARY]).touch()


def _reach(draw: random.Random) -> str:
    """An expression that climbs from a value to what lies behind it."""
    text = draw.choice(ROOTS)
    for _ in range(draw.randint(1, 5)):
        name = draw.choice(ATTRIBUTES)
        text = draw.choice(
            [
                f"{text}.{name}",
                f"{text}['{name}']",
                f"({text} | attr('{name}'))",
                f"{text}['{name[:3]}' ~ '{name[3:]}']",
                f"([{text}] | map(attribute='{name}') | list | first)",
                f"{text}.{name}()",
                f"('{{0.{name}}}'.format({text}))",
                f"('{{0[{name}]}}' | format({text}))",
                f"({text} | groupby('{name}'))",
                f"{text}.{name}[0]",
            ]
        )
    touch = f"touch ${CANARY}"
    return text + draw.choice(
        ["", "()", f"('{touch}')", f".system('{touch}')", f".popen('{touch}').read()"]
    )


def escape(draw: random.Random, folder: Path) -> Outcome:
    """Renders a template that tries to leave the sandbox; it may print text, and reach nothing."""
    jinja = "{{ " + _reach(draw) + " }}"
    try:
        parts = Template("attack", jinja).apply({"x": "v", "outside": Outside()}).parts
    except InputError as error:
        return _refusal(error, "attack")
    if any(
        sign in part for part in parts for sign in ("<class", "<function", "<module", "<built-in")
    ):
        raise WrongError(f"{jinja} reached {parts}")
    return Outcome.HELD


def exhaust(draw: random.Random, folder: Path) -> Outcome:
    """Renders a template that asks for more time or memory than there is."""
    grow = "".join(f"{{% set ns.v = {draw.choice(GROWTHS)} %}}" for _ in range(draw.randint(1, 3)))
    loops = draw.randint(1, 3)
    opening = "".join(
        f"{{% for i{n} in range({draw.choice([60, 9999, 10**6])}) %}}" for n in range(loops)
    )
    start = draw.choice(STARTS)
    jinja = f"{{% set ns = namespace(v={start}) %}}{opening}{grow}{'{% endfor %}' * loops}{{{{ ns.v }}}}"
    began = time.thread_time()
    try:
        parts = Template("attack", jinja).apply({}, truncate=False).parts
    except InputError as error:
        outcome = _refusal(error, "attack")
    else:
        outcome = Outcome.HELD
        if sum(map(len, parts)) > 2**20:
            raise WrongError(f"{jinja} printed {sum(map(len, parts)):,} characters")
    if time.thread_time() - began > 10:
        raise WrongError(f"{jinja} took {time.thread_time() - began:.0f} s of processor time")
    return outcome


def _refusal(error: InputError, name: str) -> Outcome:
    if "\n" in str(error) or name not in str(error):
        raise WrongError(f"a refusal that does not name it in one line: {error}")
    return Outcome.REFUSED


# --- Template files --------------------------------------------------------------------------------

TAGS = (
    "!!python/object/apply:os.system ['touch {canary}']",
    "!!python/object/new:subprocess.Popen [['touch', '{canary}']]",
    '!!python/object/apply:builtins.eval [\'open("{canary}", "w")\']',
    "!!python/name:os.system",
    "!!python/module:os",
    "!!python/object:tests.faults.harness.hostile.Outside {{}}",
    "!Template {{jinja: 'x ||| y', answer_choices: !!python/name:os.system }}",
    "!!binary '////'",
    "!!timestamp 0000-00-00",
    "!!set {{a, b}}",
    "!unknown {{}}",
)


def yaml_file(draw: random.Random, folder: Path) -> Outcome:
    """Reads a template file with tags that make objects, aliases that multiply, or endless nesting."""
    path = folder / "templates.yaml"
    depth, width = draw.choice([9, 30, 300]), draw.choice([2, 9])
    rows = [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * width)}]" for n in range(1, depth)]
    bomb = "a0: &a0 lol\n" + "\n".join(rows) + f"\ntemplates: *a{depth - 1}\n"
    tag = draw.choice(TAGS).format(canary=os.environ[CANARY])
    many = draw.choice([50, 5_000, 100_000])
    content = draw.choice(
        [
            bomb,
            f"templates: {tag}\n",
            f"templates:\n  one: {tag}\n",
            f"templates:\n  one: {{name: {tag}, jinja: x}}\n",
            f"templates:\n  one: {{name: a, jinja: x, metadata: {tag}}}\n",
            "templates: " + "[" * many + "]" * many,
            "templates: " + "{a: " * many + "}" * many,
            "templates: &a [*a]\n",
            "templates: &a {one: *a}\n",
            "templates:\n  one: &a {name: a, jinja: x, <<: *a}\n",
            "templates:\n  one: {name: a, name: b, jinja: x}\n",
            "templates:\n  ? [a, b]\n  : {jinja: x}\n",
            "templates:\n  one: {name: a, jinja: '" + "{{ x }}" * 99_999 + "'}\n",
            "\x00templates: \ud800".encode("utf-8", "surrogatepass").decode("latin-1"),
            "%YAML 9.9\n---\ntemplates: {}\n",
            "--- {}\n--- {templates: {}}\n",
        ]
    )
    path.write_text(content, encoding="utf-8")
    for template in read_templates(path, "toy").values():
        if type(template.name) is not str or type(template.jinja) is not str:
            raise WrongError(f"a template of {type(template.name)}")
    return Outcome.HELD


# --- Archives --------------------------------------------------------------------------------------

INNER = "natural-instructions-2.8/tasks/task001_a.json"
MEMBERS = (
    INNER, "tasks/task002_b.json", "../../escaped.json", "/tmp/task003_c.json", "tasks/../../task004_d.json",
    "a/../../tasks/task005_e.json", "..\\..\\tasks\\task006_f.json", "tasks/task007_g.json/../../../x",
    "C:/tasks/task008_h.json", "splits/default/test_tasks.txt", "x/splits/../../y.txt", "tasks/task009_" + "i" * 240 + ".json",
    "tasks/task010_\u202e.json", "tasks/task001_a.json\0.txt", "x/promptsource/templates/a/templates.yaml",
    "x/promptsource/templates/../../../templates.yaml", "/x/promptsource/templates/a/templates.yaml",
    "x/promptsource/templates/" + "d/" * 200 + "templates.yaml",
)  # fmt: skip


def _tar(draw: random.Random, path: Path) -> None:
    with tarfile.open(
        path, draw.choice(["w:gz", "w"]) if path.suffix != ".gz" else "w:gz"
    ) as archive:
        for _ in range(draw.randint(1, 9)):
            member = tarfile.TarInfo(draw.choice(MEMBERS))
            kind = draw.choice(
                [tarfile.REGTYPE] * 4
                + [
                    tarfile.SYMTYPE,
                    tarfile.LNKTYPE,
                    tarfile.CHRTYPE,
                    tarfile.FIFOTYPE,
                    tarfile.DIRTYPE,
                ]
            )
            member.type = kind
            if kind in (tarfile.SYMTYPE, tarfile.LNKTYPE):
                member.linkname = draw.choice(["/etc/passwd", "../../..", "..", "/tmp", INNER])
                archive.addfile(member)
            elif kind == tarfile.REGTYPE:
                content = draw.choice([b"{}", bytes(3 << 20), draw.randbytes(99)])
                member.size = len(content)
                member.mode = 0o4777
                archive.addfile(member, io.BytesIO(content))
            else:
                archive.addfile(member)


def _zip(draw: random.Random, path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in draw.sample(MEMBERS, draw.randint(1, 9)):
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            if draw.random() < 0.3:
                info.external_attr = (stat.S_IFLNK | 0o777) << 16
            archive.writestr(info, draw.choice([b"{}", bytes(3 << 20), b"/etc/passwd"]))


def archive(draw: random.Random, folder: Path) -> Outcome:
    """Unpacks an archive with climbing paths, links, devices and bombs; some are damaged besides."""
    natural = draw.random() < 0.7
    path = folder / (
        "release" + (draw.choice([".zip", ".tar", ".tar.gz"]) if natural else ".tar.gz")
    )
    _zip(draw, path) if path.suffix == ".zip" else _tar(draw, path)
    if draw.random() < 0.4:
        from tests.faults.harness.trials import damaged

        path.write_bytes(damaged(path.read_bytes(), draw))
    target = folder / "target" / "release"
    target.parent.mkdir()
    before = natural_instructions_files._MAX_MEMBER_BYTES
    natural_instructions_files._MAX_MEMBER_BYTES = 1 << 20  # so that a bomb need not be a large one
    try:
        if natural:
            natural_instructions_files.unpack(path, target)
        else:
            unpack_templates(path, target)
    finally:
        natural_instructions_files._MAX_MEMBER_BYTES = before
        _nothing_outside(folder, path, target)
    return Outcome.HELD


def _nothing_outside(folder: Path, path: Path, target: Path) -> None:
    for found in folder.rglob("*"):
        inside = found == target or target in found.parents or found in (path, target.parent)
        if not inside and "cache_folder" not in found.parts:
            raise WrongError(f"{found.relative_to(folder)} was written outside")
        if found.is_symlink() or not (found.is_file() or found.is_dir()):
            raise WrongError(f"{found.relative_to(folder)} is a link or a device")
    if Path("/tmp/task003_c.json").exists() or (folder.parent / "escaped.json").exists():
        raise WrongError("a member was written outside")


# --- Rows ------------------------------------------------------------------------------------------

HOSTILE_LINES = (
    b"", b"{", b"null", b"[]", b"1", b'"x"', b"{}", b'{"text": null}', b'{"text": NaN, "label": 1}',
    b'{"text": "\\ud800", "label": 0}', b'{"text": "a\\udc00b", "label": 1}', b'{"\\ud800": 1}',
    b'{"text": "\xff\xfe"}', b'\xef\xbb\xbf{"text": "bom", "label": 1}', b'{"text": "nul \\u0000", "label": 0}',
    b'{"text": {"a": [1, {"b": null}]}, "label": 1}', b'{"text": [[[[1]]]], "label": 0}',
    b'{"text": "x", "label": 99}', b'{"text": "x", "label": -9}', b'{"text": "x", "label": "1"}',
    b'{"text": "x", "label": 1e400}', b'{"text": "x", "label": true}', b'{"text": "x", "label": 1, "label": 0}',
    b'{"text": ' + b"9" * 5000 + b', "label": 1}', b'{"text": "' + b"y" * 3_000_000 + b'", "label": 1}',
    b'{"text": ' + b"[" * 50_000 + b"]" * 50_000 + b"}", b'{"a": ' * 3000 + b"1" + b"}" * 3000,
    b'{"text": "a ||| b ||| c", "label": 0}', b'{"text": "{{ 7 * 7 }}{% raw %}", "label": 1}',
    b'{"self": 1, "loop": 2, "text": "x", "label": 1}', b'{"": 1, "__class__": 2, "text": "x", "label": 0}',
    b'{"text": "x", "label": 0}\r', b'{"text": "a\\u2028b\\u0085c", "label": 0}', b"\x00" * 99,
)  # fmt: skip


def _line(draw: random.Random) -> bytes:
    if draw.random() < 0.5:
        return draw.choice(HOSTILE_LINES)
    text = "".join(
        chr(draw.randrange(plane << 16, plane + 1 << 16)) for plane in range(17) for _ in range(3)
    )
    text = "".join(c for c in text if not "\ud800" <= c <= "\udfff")
    return json.dumps(
        {"text": text, "label": draw.randrange(2)}, ensure_ascii=draw.random() < 0.5
    ).encode()


def rows(draw: random.Random, folder: Path) -> Outcome:
    """Renders lines that are no rows, or odd ones; every line is an example or has a reason."""
    lines = [_line(draw).replace(b"\n", b" ") for _ in range(draw.randint(1, 40))]
    path = folder / "rows.jsonl"
    path.write_bytes(b"\n".join(lines) + b"\n")
    template = Template(
        "ask", "{{text}} which? ||| {{answer_choices[label]}}", answer_choices="no ||| yes"
    )
    task = PromptedTask(
        "toy", JsonLinesSource("toy", None, {"train": str(path)}), template, {"train": "train"}
    )
    render(tasks=[task], data_dir=folder, max_bad_share=1.0, allow_missing_fields=True)
    split = RenderedSplit(folder, "toy", "train")
    manifest = split.manifest()
    examples = list(split.read())
    _all_accounted(manifest, examples, lines)
    return Outcome.COUNTED if manifest.dropped else Outcome.HELD


def _all_accounted(manifest: Any, examples: list[Any], lines: list[bytes]) -> None:
    expected = sum(1 for line in lines if line.strip())
    if manifest.rows != expected:
        raise WrongError(f"{expected} lines, {manifest.rows} rows")
    if len(examples) != manifest.examples or manifest.rows != len(examples) + sum(
        manifest.dropped.values()
    ):
        raise WrongError(f"{manifest.rows} rows, {len(examples)} examples, {manifest.dropped}")
    for example in examples:
        example.inputs.encode()  # a lone surrogate would not be text


# --- Gin -------------------------------------------------------------------------------------------

GIN_ATTACKS = (
    "import os\nos.system.command = 'touch {canary}'\nt5.T5Config.vocab_size = @os.system()\n",
    "import subprocess\nsubprocess.getoutput.cmd = 'touch {canary}'\nW = @subprocess.getoutput()\nt5.T5Config.vocab_size = %W\n",
    'import builtins\nbuiltins.eval.source = \'open("{canary}", "w")\'\nt5.T5Config.vocab_size = @builtins.eval()\n',
    "from os import system\nsystem.command = 'touch {canary}'\nt5.T5Config.vocab_size = @system()\n",
    "import posix\nposix.system.command = 'touch {canary}'\nt5.T5Config.vocab_size = @posix.system()\n",
    "import pathlib\npathlib.Path.touch.self = '{canary}'\nt5.T5Config.vocab_size = @pathlib.Path.touch()\n",
    "import {module}\n",
    "from launch import gin_config\ngin_config.os.system.command = 'touch {canary}'\nt5.T5Config.vocab_size = @gin_config.os.system()\n",
    "t5.dataclasses.sys.modules = 1\n",
    "t5.T5Config.vocab_size = __import__('os').system('touch {canary}')\n",
    "t5.T5Config.vocab_size = (lambda: 1)()\n",
    "t5.T5Config.vocab_size = {nested}\n",
    "t5.T5Config.vocab_size = 9{digits}\n",
    "t5.T5Config.vocab_size = %vocab\nvocab = %vocab\n",
    "include '/etc/passwd'\n",
    "include '{self}'\n",
    "include '../../../../../etc/shadow'\n",
    "t5.T5Config.vocab_size = 'a' * 9999999999\n",
    "t5.T5Config.__init__.__globals__ = 1\n",
    "t5.T5Config.nothing = 1\n",
    "t5.T5Confg.vocab_size = 1\n",
    "\x00\x01\x02",
    "t5.T5Config.vocab_size = '\ud7ff",
    "t5.T5Config:\n\tvocab_size = 1\n  emb_dim = 2\n",
    "@@@ = ((((\n",
)


def gin_file(draw: random.Random, folder: Path) -> Outcome:
    """Parses a gin file that would run code, include itself or what is not its own, or has no end."""
    import gin

    from instrux.models.t5 import T5Config

    path = folder / "file.gin"
    attack = draw.choice(GIN_ATTACKS).format(
        canary=os.environ[CANARY],
        module=draw.choice(["no.such.module", "antigravity", "this", "os.path"]),
        nested="[" * 3000 + "]" * 3000,
        digits="0" * 9000,
        self=path,
    )
    path.write_text(
        f"from __gin__ import dynamic_registration\nfrom instrux.models import t5\n{attack}"
    )
    try:
        gin_config.parse([str(path)])
        try:
            gin.get_configurable(T5Config)()
        except (TypeError, ValueError):
            return Outcome.HELD  # parsed, and refused by what it configures
        return Outcome.HELD
    finally:
        gin.clear_config()


KINDS = [
    Kind("Hostile templates", "out of the sandbox", escape, ("attack",)),
    Kind("Hostile templates", "without end in time or size", exhaust, ("attack",)),
    Kind("Hostile templates", "YAML: tags, bombs, nesting", yaml_file),
    Kind("Hostile archives", "climbing paths, links, devices, bombs", archive, ("release",)),
    Kind("Hostile rows", "wrong lines and types, every plane of Unicode", rows, ("toy",)),
    Kind("Hostile gin", "code, includes, nesting, circles", gin_file, ("macro 'vocab'",)),
]


def kinds() -> list[Kind]:
    """Every kind of hostile input."""
    return KINDS
