"""No command of a page is forgotten: each is run by a chain, or excused with a reason."""

import re

import pytest

from tests.docs.chains import CHAINS
from tests.docs.excused import EXCUSES, Excuse
from tests.docs.pages import ROOT, ShownCommand, shown_commands

COMMANDS = shown_commands()
STEPS = [step for chain in CHAINS.values() for step in chain]


def _forgotten(commands: list[ShownCommand]) -> list[str]:
    return [
        f"{command.page}: {command.line}"
        for command in commands
        if not any(each.is_of(command) for each in (*STEPS, *EXCUSES))
    ]


def test_every_command_of_a_page_is_run_or_excused():
    assert len(COMMANDS) > 150
    assert _forgotten(COMMANDS) == [], "add a step to tests/docs/chains.py, or an excuse"


def test_a_new_command_would_be_found():
    new = ShownCommand("docs/packing.md", "instrux verify data/packed")
    assert _forgotten([new]) == ["docs/packing.md: instrux verify data/packed"]


@pytest.mark.parametrize("step", STEPS, ids=lambda each: f"{each.page}: {each.begins}")
def test_a_step_is_of_a_command_in_a_page(step):
    assert any(step.is_of(command) for command in COMMANDS)


@pytest.mark.parametrize("excuse", EXCUSES, ids=lambda each: f"{each.page}: {each.begins}")
def test_an_excuse_is_for_the_commands_that_it_was_written_for(excuse: Excuse):
    lines = [command.line for command in COMMANDS if excuse.is_of(command)]
    assert len(lines) == excuse.lines, lines


def test_no_excuse_is_for_a_command_that_a_chain_runs():
    for command in COMMANDS:
        if any(step.is_of(command) for step in STEPS):
            assert not [each.begins for each in EXCUSES if each.is_of(command)], command.line


@pytest.mark.parametrize("excuse", EXCUSES, ids=lambda each: f"{each.page}: {each.begins}")
def test_an_excuse_names_a_reason_and_a_test_that_is_there(excuse: Excuse):
    assert excuse.why
    if excuse.held_by:
        path, _, name = excuse.held_by.partition("::")
        text = (ROOT / path).read_text(encoding="utf-8")
        assert re.search(rf"^def {name or 'test_'}", text, re.MULTILINE), excuse.held_by
