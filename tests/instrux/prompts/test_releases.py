import hashlib
import io
import subprocess
import sys
import tarfile

import pytest

from instrux.errors import InputError
from instrux.prompts import releases
from instrux.prompts.releases import Release, fetch_promptsource, unpack_templates

BASE = "promptsource-9/promptsource/templates"
YAML = b"templates: {n: {jinja: a}}"


def archive(path, members):
    with tarfile.open(path, "w:gz") as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            if isinstance(content, bytes):
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
            else:
                info.type, info.linkname = content
                tar.addfile(info)
    return path


@pytest.fixture
def published(tmp_path, monkeypatch):
    """A release of one template, whose archive lies in the cache folder already."""
    monkeypatch.setenv("INSTRUX_CACHE", str(tmp_path / "cache"))
    (tmp_path / "cache").mkdir()
    path = archive(
        tmp_path / "cache" / "promptsource-9.tar.gz",
        [(f"{BASE}/d/templates.yaml", YAML), ("promptsource-9/setup.py", b"raise SystemExit")],
    )
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setitem(releases.RELEASES, "promptsource-9", Release("9", digest, 1))
    return path


def test_only_template_files_are_unpacked_and_once(published):
    folder = fetch_promptsource("9")
    assert [str(p.relative_to(folder)) for p in folder.rglob("*")] == ["d", "d/templates.yaml"]
    published.unlink()
    assert fetch_promptsource("9") == folder


def test_another_archive_is_refused_and_leaves_nothing(published):
    published.write_bytes(published.read_bytes() + b"\0")
    with pytest.raises(InputError, match="is not the published archive"):
        fetch_promptsource("9")
    assert sorted(p.name for p in published.parent.iterdir()) == [
        "promptsource-9.lock",
        "promptsource-9.tar.gz",
    ]


def test_processes_may_fetch_at_once(published):
    code = (
        "from instrux.prompts import releases as r;"
        f"r.RELEASES['promptsource-9'] = r.{releases.RELEASES['promptsource-9']!r};"
        "print(r.fetch_promptsource('9'))"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    outputs = {process.communicate()[0] for process in running}
    assert outputs == {f"{published.parent / 'promptsource-9'}\n"}


@pytest.mark.parametrize(
    "members",
    [
        [(f"{BASE}/../../../x/templates.yaml", YAML)],
        [(f"{BASE}/d/templates.yaml", (tarfile.SYMTYPE, "/etc/passwd"))],
        [(f"{BASE}/d/templates.yaml", (tarfile.LNKTYPE, "setup.py"))],
        [(f"{BASE}/d/templates.yaml", YAML)] * 2,
        [(f"{BASE}/d/templates.yaml", b"x" * (4 * 2**20 + 1))],
    ],
    ids=["traversal", "symbolic link", "hard link", "twice", "large"],
)
def test_a_hostile_archive_is_refused(tmp_path, members):
    path = archive(tmp_path / "a.tar.gz", members)
    with pytest.raises(InputError, match=r"^a\.tar\.gz: "):
        unpack_templates(path, tmp_path / "out")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.tar.gz", "out"]


def test_a_broken_archive_is_refused(tmp_path):
    path = archive(tmp_path / "a.tar.gz", [(f"{BASE}/d/templates.yaml", bytes(range(256)) * 99)])
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(InputError, match="broken archive"):
        unpack_templates(path, tmp_path / "out")


def test_a_failing_pip_is_told_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("INSTRUX_CACHE", str(tmp_path))
    for name, value in {
        "PIP_CONFIG_FILE": "/dev/null",
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(tmp_path),
    }.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match=r"pip cannot fetch PromptSource 0\.2\.3: ") as raised:
        fetch_promptsource("0.2.3")
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "promptsource-0.2.3").exists()


def test_unknown_versions_are_refused():
    with pytest.raises(InputError, match=r"'0\.2\.4' is known here; give one of 0\.2\.3, 0\.1\.0"):
        fetch_promptsource("0.2.4")
