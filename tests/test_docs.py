"""The pages: every command in them is one, and the site is built of them without a warning.

Which of them are run, `tests/docs` says.
"""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from instrux.errors import InputError
from launch import beam_options, cli, gin_config, stages
from launch.cli_options import UnknownArgument
from tests.docs.pages import PAGES, ROOT, fenced_lines, inline_code, without_remark

LAUNCHERS = ("launch/gpu_box/train.sh", "launch/tpu_vm/train.sh", "launch/gke/train.sh")
SBATCH = "launch/slurm/train.sbatch"
# Gin files that a page means the reader to write.
READERS_OWN = {
    "evaluate.gin",
    "predict.gin",
    "select.gin",
    "choose.gin",
    "mine.gin",
    "report.gin",
}
# A synopsis or a line cut short: the command and the options that it names count, its values do not.
PLACEHOLDER = re.compile(r"…|\.\.\.|\[|\||\bFILE\b|\bRECIPE\b|\bF\b|\bLISTS?\b")
# What the parser says of a command that is named in running text, without all that it needs.
CUT_SHORT = re.compile(r"(is|are) required|expected (one|at least one|\d+) arguments?")


@dataclass(frozen=True)
class Command:
    """A command of a page: where it stands, and its words behind `instrux`."""

    page: str
    line: str
    words: tuple[str, ...]

    @property
    def is_synopsis(self) -> bool:
        return PLACEHOLDER.search(self.line) is not None


def commands_of(
    page: Path, lines_of: Callable[[str], Iterator[str]] = fenced_lines
) -> Iterator[Command]:
    for line in lines_of(page.read_text(encoding="utf-8")):
        if (words := instrux_words(line)) is not None:
            yield Command(str(page.relative_to(ROOT)), line.strip(), tuple(words))


# Variables, a program that starts another with options of its own, then instrux or a launcher.
RUNS_INSTRUX = re.compile(
    r"(\w+=\S+ )*((nohup|srun|sbatch)( --\S+( \w+)?)* )?(\S*instrux\s|launch/\S+\.)|sky jobs launch "
)


def instrux_words(line: str) -> list[str] | None:
    """The words behind `instrux` of a line that runs it, by itself or through a launcher; else None."""
    line = re.sub(r"^\$ ", "", line.strip())
    if not RUNS_INSTRUX.match(line):
        return None
    line = without_remark(line)
    try:
        words = shlex.split(line, comments=True)
    except ValueError:
        return None if PLACEHOLDER.search(line) else ["unbalanced quotes"]
    words = words[: next((n for n, word in enumerate(words) if word in (">", "|", "&&")), None)]
    for number, word in enumerate(words):
        if word == "instrux" or word.endswith("/instrux"):
            return words[number + 1 :]
        if word in LAUNCHERS or word == SBATCH:
            given = [each for each in words[number + 1 :] if each != "train"]
            return ["train", *given] if any(each.startswith("--gin") for each in given) else None
        if word.startswith("ARGUMENTS="):
            return ["train", *shlex.split(word.partition("=")[2])]
    return None


COMMANDS = [command for page in PAGES for command in commands_of(page)]
NAMED = list(dict.fromkeys(c for page in PAGES for c in commands_of(page, inline_code)))


def identity(command: Command) -> str:
    return f"{command.page}: {command.line[:60]}"


def test_the_pages_hold_commands_of_every_kind():
    assert len(COMMANDS) > 80
    shown = {command.words[0] for command in COMMANDS if command.words}
    _, known = cli.parsers()
    # What no page shows, nobody finds.
    assert set(known) - shown <= {"report", "scaling", "select_by_score", "compare"}


@pytest.mark.parametrize(
    "line",
    [
        "instrux packk --mixture a",
        "instrux pack --mixture a --data_dir d --vocabulary v --num_examples 3 --bogus 1",
        "instrux render --task a --data_dir d --runer=DirectRunner",
        "instrux train --gin_file runs/nowhere.gin",
        "instrux train --gin_file runs/nowhere.gin …",
        "instrux train --gin_file runs/sft.gin --gin.BATCHSIZE=3",
        "instrux run t0/t0_3b.gin --gin.train.train.btch_size=1    a note",
        "sbatch --nodes 4 launch/slurm/train.sbatch --gin_file runs/sftt.gin",
        "nohup launch/gpu_box/train.sh --gin_file runs/sft.gin --gin.FOO=1 > x",
        'sky jobs launch x.yaml --env ARGUMENTS="--gin_file runs/sftt.gin"',
        "instrux tasks lst",
    ],
)
def test_a_mistake_in_a_page_would_be_found(line):
    words = instrux_words(line)
    assert words is not None
    with pytest.raises((AssertionError, InputError)):
        test_a_command_of_a_page_is_one(Command("page", line, tuple(words)))


@pytest.mark.parametrize("command", COMMANDS, ids=identity)
def test_a_command_of_a_page_is_one(command):
    parser, known = cli.parsers()
    if command.is_synopsis:
        check_synopsis(command, known)
        return
    if command.words in ((), ("--help",)):
        return
    options, rest = parser.parse_known_args(list(command.words))
    try:
        check_rest(command.words[0], rest)
    except UnknownArgument as error:
        raise AssertionError(f"{command.page}: {error}") from error
    check_gin(command, options, rest)


@pytest.mark.parametrize("command", NAMED, ids=identity)
def test_a_command_that_running_text_names_is_one(command):
    try:
        test_a_command_of_a_page_is_one(command)
    except InputError as error:
        assert CUT_SHORT.search(str(error)), f"{command.page}: {error}"
        check_synopsis(command, cli.parsers()[1])


def test_running_text_names_commands_and_a_mistake_in_it_would_be_found():
    text = "Use `instrux audit`, then `instrux convert --to\nhf`.\n```\nno `instrux x`\n```\n| `a \\| b` |"
    assert list(inline_code(text)) == ["instrux audit", "instrux convert --to hf", "a | b"]
    assert len(NAMED) > 50
    for line in (
        "instrux audti",
        "instrux render --skip_failing_source",
        "instrux run t0/t0_3.gin",
    ):
        words = instrux_words(line)
        assert words is not None
        with pytest.raises((AssertionError, InputError)):
            test_a_command_that_running_text_names_is_one(Command("page", line, tuple(words)))


def check_synopsis(command: Command, known: list[str]) -> None:
    """Of a line cut short: is the command one, and are its options?"""
    names = [word for word in command.words[0].split("|") if word] if command.words else []
    assert set(names) <= set(known), command
    parser, _ = cli.parsers()
    named = cli._named(parser, command.words)
    flags = {flag for action in named._actions for flag in action.option_strings}
    for word in command.words:
        if word.endswith(".gin") and "NAME" not in word and Path(word).name not in READERS_OWN:
            assert PLACEHOLDER.search(word) or gin_config.find(word)
    for word in command.words[1:]:
        flag = word.strip("[]").partition("=")[0]
        if flag.startswith("--") and not flag.startswith("--gin."):
            assert flag in flags or flag in beam_options._known_flags(), f"{command.page}: {flag}"


def check_rest(name: str, rest: list[str]) -> None:
    """What a command does not know itself goes on to gin or to Beam, or is a mistake."""
    others = [word for word in rest if not word.startswith("--gin.")]
    if others and name in ("render", "cache", "pack", "audit", "demonstrations"):
        beam_options.checked(others)
    elif others:
        raise UnknownArgument(others[0])


def check_gin(command: Command, options, rest: list[str]) -> None:
    """Shipped gin files are there, and the bindings are theirs."""
    files = getattr(options, "gin_file", None) or []
    files = [*files, options.recipe] if command.words[0] == "run" else files
    if not files or any(Path(name).name in READERS_OWN for name in files):
        return
    bindings = [word.removeprefix("--gin.") for word in rest]
    try:
        gin_config.parse(files, bindings)
    except InputError as error:
        assert "has no value" in str(error), f"{command.page}: {error}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_gin_file_that_a_page_names_is_there(page):
    named = re.findall(
        r"`((?:t0|flan|tk_instruct|instructgpt|runs|models|recipes|t5x)/[\w/]+\.gin)`",
        page.read_text(),
    )
    for name in named:
        assert gin_config.find(name), name


def test_tasks_and_mixtures_of_the_pages_are_registered():
    from instrux.data import registration
    from launch import declarations

    declarations.load()
    named = {
        name
        for command in COMMANDS
        if not command.is_synopsis and command.words[:1] in (("tasks",), ("mixtures",))
        for name in command.words[2:3]
        if not name.startswith(("-", "acme", "sft_"))
    }
    assert len(named) > 5
    for name in named:
        assert registration.resolve_names([name]), name


# --- the site ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    pytest.importorskip("mkdocs")
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "-q", "-d", str(folder)],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return folder


def test_a_page_fetches_nothing_from_elsewhere(site):
    fetched = re.compile(
        r'<(?:script|img|iframe)[^>]*src="https?:|<link[^>]*rel="(?:stylesheet|preconnect|icon)"[^>]*href="https?:'
    )
    pages = list(site.rglob("*.html"))
    assert len(pages) > 25
    assert [page.name for page in pages if fetched.search(page.read_text())] == []
    styles = [path for path in site.rglob("*.css") if "url(http" in path.read_text()]
    assert styles == []


def test_the_reference_has_every_stage_and_its_parameters(site):
    page = (site / "reference" / "gin.html").read_text()
    for name in stages.NAMES:
        module, _, attribute = stages._FUNCTIONS[name].partition(":")
        assert f'id="{module}.{attribute}"' in page, (
            f"add ::: {module}.{attribute} to docs/reference/gin.md"
        )
    for parameter in ("checkpoint_every_steps", "on_nonfinite", "max_examples"):
        assert f"<code>{parameter}</code>" in page
