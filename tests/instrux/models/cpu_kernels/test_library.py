"""When the CPU kernels are compiled, and what happens where they cannot be."""

import subprocess
import warnings

import jax.numpy as jnp
import pytest

from instrux.errors import InputError
from instrux.models import attention
from instrux.models.cpu_kernels import library, machine


@pytest.fixture
def fresh(monkeypatch, tmp_path):
    """`library.load` as in a new process, on a CPU that has all that is needed, with no cache."""
    monkeypatch.setenv("INSTRUX_CACHE", str(tmp_path))
    monkeypatch.setattr(machine, "processor_features", lambda: set(machine.NEEDED))
    monkeypatch.delenv(machine.SWITCH, raising=False)
    monkeypatch.setattr(library, "load", library.load.__wrapped__)
    return tmp_path


def test_the_switch_leaves_products_to_xla(fresh, monkeypatch):
    monkeypatch.setenv(machine.SWITCH, "off")
    assert library.load() == library.Kernels(False, "INSTRUX_CPU_KERNELS is off")
    assert not library.available()
    chosen = attention.choose(
        "auto", dtype=jnp.float32, heads_and_width=(8, 64), lengths=(512, 512)
    )
    assert chosen == "rows"


def test_a_cpu_without_matrix_units_is_named(fresh, monkeypatch):
    monkeypatch.setattr(machine, "processor_features", lambda: machine.NEEDED - {"amx_bf16"})
    assert library.load() == library.Kernels(False, "this CPU has no amx_bf16")


def test_attention_that_is_asked_for_and_cannot_be_had_is_an_error(fresh, monkeypatch):
    monkeypatch.setenv(machine.SWITCH, "off")
    rows = jnp.ones((1, 4, 1, 8))
    with pytest.raises(InputError, match=r'attention = "amx": INSTRUX_CPU_KERNELS is off'):
        attention.attend(rows, rows, rows, bias=None, mask=None, implementation="amx")


def test_without_a_compiler_xla_serves(fresh, monkeypatch):
    monkeypatch.setenv("PATH", str(fresh))
    monkeypatch.delenv("CXX", raising=False)
    loaded = library.load()
    assert not loaded.usable and "no C++ compiler was found" in loaded.reason


def test_a_compiler_that_fails_is_told_once_and_xla_serves(fresh, monkeypatch):
    failing = fresh / "failing"
    failing.write_text(
        '#!/bin/sh\ncase "$*" in *--version*) exit 0;; esac\n'
        "echo 'In file included from tiles.h:' >&2\n"
        "echo 'cc1plus: error: unknown value' >&2\nexit 1\n"
    )
    failing.chmod(0o755)
    monkeypatch.setenv("CXX", str(failing))
    with pytest.warns(UserWarning, match="compiled and loaded: cc1plus: error: unknown value"):
        loaded = library.load()
    assert not loaded.usable
    assert list((fresh / "cpu_kernels").iterdir()) == []


def test_a_compiler_that_dies_without_a_word_is_told_too(fresh, monkeypatch):
    dying = fresh / "dying"
    dying.write_text('#!/bin/sh\ncase "$*" in *--version*) exit 0;; esac\nkill -9 $$\n')
    dying.chmod(0o755)
    monkeypatch.setenv("CXX", str(dying))
    with pytest.warns(UserWarning, match="SIGKILL"):
        assert not library.load().usable


def test_a_damaged_library_is_named_and_xla_serves(fresh, monkeypatch):
    path = fresh / "damaged.so"
    path.write_bytes(b"\x7fELF")
    monkeypatch.setattr(library, "_compiled", lambda: path)
    monkeypatch.setattr(library, "why_not", lambda: None)
    with pytest.warns(UserWarning, match=f"compiled and loaded: {path}"):
        assert not library.load().usable


@pytest.mark.skipif(library.why_not() is not None, reason=str(library.why_not()))
def test_a_library_is_compiled_once_and_found_again(fresh, monkeypatch):
    first = library._compiled()
    assert first.parent == fresh / "cpu_kernels" and first.stat().st_size > 0
    run = subprocess.run

    def only_asked(command, **options):
        assert command[1:] == ["--version"], "it was compiled again"
        return run(command, **options)

    monkeypatch.setattr(subprocess, "run", only_asked)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert library._compiled() == first
    assert [path.name for path in first.parent.iterdir()] == [first.name]
