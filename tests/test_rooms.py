"""The rooms of docs/architecture.md, held against the imports, the package list and each other."""

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
EVERY_ROOM_MAY_IMPORT = {"instrux", "instrux.cache_folder", "instrux.errors", "instrux.progress"}
# Room -> rooms it may import besides itself. The same table stands in docs/architecture.md.
ALLOWED = {
    "instrux.prompts": set(),
    "instrux.data": {"instrux.prompts"},
    "instrux.beam": {"instrux.prompts", "instrux.data"},
    "instrux.models": set(),
    "instrux.interop": {"instrux.models"},
    "instrux.training": {"instrux.models", "instrux.data"},
    "instrux.evaluation": {"instrux.models", "instrux.data"},
    "instrux.studio": {"instrux.prompts", "instrux.data", "instrux.evaluation"},
    "tasks": {"instrux"},
    "mixtures": {"tasks", "instrux"},
    "pipelines": {"tasks", "mixtures", "instrux"},
    "launch": {"pipelines", "tasks", "mixtures", "instrux"},
}
TOP_LEVEL = {"instrux", "tasks", "mixtures", "pipelines", "launch"}


def _modules() -> list[Path]:
    return sorted(path for room in TOP_LEVEL for path in (ROOT / room).rglob("*.py"))


def _module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _room(module: str) -> str | None:
    for room in ALLOWED:
        if module == room or module.startswith(f"{room}."):
            return room
    return None


def _imports(path: Path, *, top_level_only: bool = False) -> set[str]:
    tree = ast.parse(path.read_text())
    nodes = tree.body if top_level_only else ast.walk(tree)
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            base = node.module or ""
            found |= {f"{base}.{alias.name}" for alias in node.names}
    return found


def _ours(imported: set[str]) -> set[str]:
    known = {_module_name(path) for path in _modules()}
    ours = set()
    for name in imported:
        while name.partition(".")[0] in TOP_LEVEL:
            if name in known:
                ours.add(name)
                break
            if "." not in name:
                break
            name = name.rpartition(".")[0]
    return ours


@pytest.mark.parametrize("path", _modules(), ids=_module_name)
def test_a_module_imports_only_what_its_room_may(path):
    room = _room(_module_name(path))
    for imported in _ours(_imports(path)) - EVERY_ROOM_MAY_IMPORT:
        other = _room(imported)
        allowed = room is None or other == room or other in ALLOWED[room]
        allowed = allowed or imported.partition(".")[0] in ALLOWED[room]
        assert allowed, f"{_module_name(path)} imports {imported}"


def test_no_import_cycle_between_modules():
    graph = {_module_name(p): _ours(_imports(p, top_level_only=True)) for p in _modules()}
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, f"cycle: {' -> '.join([*path, module])}"
        if module in done:
            return
        for imported in graph.get(module, ()):
            if imported != module:
                visit(imported, (*path, module))
        done.add(module)

    for module in graph:
        visit(module, ())


def test_every_package_is_listed_for_the_wheel():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = project["tool"]["setuptools"]["packages"]
    listed = set(packages)
    assert len(packages) == len(listed)
    on_disk = {_module_name(path) for path in _modules() if path.name == "__init__.py"}
    folders = {path.parent.relative_to(ROOT / "gin") for path in (ROOT / "gin").rglob("*.gin")}
    on_disk |= {"instrux_gin"} | {".".join(["instrux_gin", *path.parts]) for path in folders}
    assert listed == on_disk


def test_gin_folder_is_no_package_and_the_root_has_no_conftest():
    assert not list((ROOT / "gin").rglob("__init__.py"))
    assert not (ROOT / "conftest.py").exists()


@pytest.mark.parametrize("module", ["instrux.models.t5", "launch.train", "instrux.data.packed"])
def test_the_training_path_imports_no_tensorflow(module):
    heavy = "{'tensorflow', 'apache_beam', 'torch', 'seqio'}"
    program = f"import sys, {module}; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
