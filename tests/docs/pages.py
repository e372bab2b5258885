"""Every command that the pages show, taken from their fenced blocks."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
_SETTING = re.compile(r"[A-Z_]+=\S+$")
_PROGRAM = re.compile(
    r"(\S*/)?(instrux|python|make|pip|git|gcloud|xpk|sky|sbatch|srun|squeue|scancel|nohup|tail|cp|sh|export)$"
    r"|launch/\S+$"
)


@dataclass(frozen=True)
class ShownCommand:
    """A command of a page: the page's name, the line as it stands there, and its words."""

    page: str
    line: str

    @property
    def words(self) -> list[str]:
        """The words behind settings of the environment; without what stands behind `>` or `&&`."""
        words = shlex.split(self.line, comments=True)
        end = next((n for n, word in enumerate(words) if word in (">", "|", "&&")), None)
        return words[len(self.environment) : end]

    @property
    def environment(self) -> dict[str, str]:
        """Variables that the line sets for its command."""
        found = {}
        for word in self.line.split():
            if not _SETTING.match(word):
                break
            name, _, value = word.partition("=")
            found[name] = value
        return found


def fenced_lines(text: str) -> Iterator[str]:
    """Gives the lines of the fenced blocks that hold shell lines; continued ones are joined."""
    for language, block in re.findall(
        r"^```(\w*)[^\n]*\n(.*?)^```", text, re.DOTALL | re.MULTILINE
    ):
        if language in ("", "bash", "sh", "console", "shell"):
            yield from re.sub(r"\\\n\s*", " ", block).splitlines()


def shown_file(page: str, name: str) -> str:
    """Gives a file that a page shows whole: the fenced block whose first line is `# name`."""
    text = (ROOT / page).read_text(encoding="utf-8")
    (block,) = re.findall(
        rf"^```\w*\n(# {re.escape(name)}\n.*?)^```", text, re.DOTALL | re.MULTILINE
    )
    return block


def inline_code(text: str) -> Iterator[str]:
    """Gives what stands between backticks in running text and tables, each on one line."""
    running = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    for code in re.findall(r"(?<!`)`([^`]+)`(?!`)", running):
        yield " ".join(code.replace(r"\|", "|").split())


def without_remark(line: str) -> str:
    """Cuts off what a page says of a command behind it, three blanks or more apart."""
    return re.sub(r"\s{3,}(?![-\s]).*$", "", line.strip())


def shown_commands() -> list[ShownCommand]:
    """Gives the commands of all pages, in their order."""
    return [command for page in PAGES for command in _of_page(page)]


def command_of(page: str, begins: str) -> ShownCommand:
    """Gives the one command of a page whose line begins so; it may stand there more than once."""
    found = [*_of_page(ROOT / page)]
    (command,) = {each for each in found if each.line.startswith(begins)}
    return command


def _of_page(page: Path) -> Iterator[ShownCommand]:
    for line in map(without_remark, fenced_lines(page.read_text(encoding="utf-8"))):
        first = next((word for word in line.split() if not _SETTING.match(word)), "")
        if _PROGRAM.match(first):
            yield ShownCommand(str(page.relative_to(ROOT)), line)
