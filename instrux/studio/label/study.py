"""A study: what is asked of whom, in one SQLite file.

The file is in write-ahead mode with full synchronisation: what a page was told is saved survives
a crash of the process, of the machine, and a laptop that is closed.
"""

import contextlib
import json
import sqlite3
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from instrux.errors import InputError
from instrux.studio.label.guidelines import (
    GUIDELINES,
    GUIDELINES_VERSION,
    TOXICITY_GUIDELINES,
    TOXICITY_GUIDELINES_VERSION,
)

FORM, PAIRS, TOXICITY = "form", "pairs", "toxicity"
MODES = (FORM, PAIRS, TOXICITY)
_APPLICATION_ID = 0x494E5358  # "INSX"
_VERSION = 1
_SCHEMA = """
CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE guidelines (
  number INTEGER PRIMARY KEY, version TEXT NOT NULL UNIQUE, text TEXT NOT NULL) STRICT;
CREATE TABLE prompts (
  id TEXT PRIMARY KEY, text TEXT NOT NULL, use_case TEXT NOT NULL, source TEXT NOT NULL,
  split TEXT NOT NULL, closed_domain INTEGER, has_constraint INTEGER) STRICT;
CREATE TABLE outputs (
  prompt TEXT NOT NULL REFERENCES prompts, system TEXT NOT NULL, text TEXT NOT NULL,
  PRIMARY KEY (prompt, system)) STRICT;
CREATE TABLE tasks (
  id TEXT PRIMARY KEY, prompt TEXT NOT NULL REFERENCES prompts, systems TEXT NOT NULL) STRICT;
CREATE TABLE labellers (
  id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, grp TEXT NOT NULL, token_hash TEXT,
  active INTEGER NOT NULL) STRICT;
CREATE TABLE sessions (
  hash TEXT PRIMARY KEY, labeller INTEGER NOT NULL REFERENCES labellers,
  expires TEXT NOT NULL) STRICT;
CREATE TABLE views (
  id INTEGER PRIMARY KEY, task TEXT NOT NULL REFERENCES tasks,
  labeller INTEGER NOT NULL REFERENCES labellers, systems TEXT NOT NULL, opened TEXT NOT NULL,
  submitted TEXT) STRICT;
CREATE INDEX views_of ON views (labeller, task);
CREATE TABLE drafts (
  task TEXT NOT NULL REFERENCES tasks, labeller INTEGER NOT NULL REFERENCES labellers,
  content TEXT NOT NULL, saved TEXT NOT NULL, PRIMARY KEY (task, labeller)) STRICT;
CREATE TABLE answers (
  id INTEGER PRIMARY KEY, task TEXT NOT NULL REFERENCES tasks,
  labeller INTEGER NOT NULL REFERENCES labellers, view INTEGER REFERENCES views,
  systems TEXT NOT NULL, content TEXT NOT NULL, guideline TEXT NOT NULL, seconds REAL,
  submitted TEXT NOT NULL) STRICT;
CREATE INDEX answers_of ON answers (labeller, task);
"""


@dataclass(frozen=True, kw_only=True)
class StudySettings:
    """What a study asks; fixed when it is created.

    Attributes:
        mode: `form`: each output is rated, and several are ranked; `pairs`: two outputs, which
            of them are acceptable and which is better; `toxicity`: how toxic the prompt is and how
            each output goes on with it, and several are ranked.
        share: share of the tasks that `raters` labellers of each group answer, for agreement;
            the others are answered by one of each group.
        raters: labellers of a group for such a task.
        outputs_per_task: outputs shown together in the form; 0 for all of a prompt.
        baseline: with `pairs`, a system that every other one is paired with; "" for all pairs.
        seed: of the overlap, of who is asked what, and of the order of tasks.
    """

    mode: str = FORM
    share: float = 0.15
    raters: int = 2
    outputs_per_task: int = 0
    baseline: str = ""
    seed: int = 0

    def __post_init__(self):
        if self.mode not in MODES:
            raise InputError(f"--mode should be one of {list(MODES)}, found {self.mode!r}")
        if not 0 <= self.share <= 1:
            raise InputError(f"--share should be from 0 to 1, found {self.share}")
        if self.raters < 2 or self.outputs_per_task < 0:
            raise InputError("--raters should be 2 or more, --outputs_per_task 0 or more")
        if self.baseline and self.mode != PAIRS:
            raise InputError("--baseline goes with --mode pairs")


def now() -> str:
    """The time as it is stored: ISO 8601, UTC, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def create(path: Path, settings: StudySettings) -> None:
    """Makes a study with the built-in guidelines and nothing else in it.

    Raises:
        InputError: the file exists, or cannot be made.
    """
    if path.exists():
        raise InputError(f"{path} exists; a study's settings are fixed, so name another file.")
    try:
        # Made under another name, so that a study that exists is whole.
        partial = path.with_name(f".{path.name}.partial")
        partial.unlink(missing_ok=True)
        with contextlib.closing(sqlite3.connect(partial, isolation_level=None)) as database:
            database.executescript(f"BEGIN; {_SCHEMA} COMMIT;")
            database.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
            database.execute(f"PRAGMA user_version = {_VERSION}")
            database.executemany(
                "INSERT INTO settings VALUES (?, ?)",
                [(name, json.dumps(value)) for name, value in asdict(settings).items()],
            )
            database.execute(
                "INSERT INTO guidelines (version, text) VALUES (?, ?)",
                _guidelines_for(settings.mode),
            )
        partial.rename(path)
    except (OSError, sqlite3.Error) as error:
        raise InputError(f"{path}: cannot be made ({error}).") from error


def _guidelines_for(mode: str) -> tuple[str, str]:
    if mode == TOXICITY:
        return TOXICITY_GUIDELINES_VERSION, TOXICITY_GUIDELINES
    return GUIDELINES_VERSION, GUIDELINES


def is_study(path: Path) -> bool:
    """Whether a file is an SQLite database, and so no JSON lines."""
    try:
        with path.open("rb") as file:
            return file.read(16) == b"SQLite format 3\0"
    except OSError:
        return False


@contextlib.contextmanager
def opened(path: Path, *, write: bool = False) -> Iterator[sqlite3.Connection]:
    """A connection; with `write` in one transaction, which is on disk when this returns.

    Raises:
        InputError: the file is missing, or no study of this version.
    """
    if not path.exists():
        raise InputError(
            f"{path}: no such study; `instrux studio label create --db {path}` makes one."
        )
    if not is_study(path):
        raise InputError(f"{path}: no study but another file.")
    with contextlib.closing(sqlite3.connect(path, isolation_level=None, timeout=10)) as database:
        database.row_factory = sqlite3.Row
        _check(database, path)
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        database.execute("PRAGMA foreign_keys = ON")
        if not write:
            yield database
            return
        database.execute("BEGIN IMMEDIATE")
        try:
            yield database
        except BaseException:
            database.execute("ROLLBACK")
            raise
        database.execute("COMMIT")


def _check(database: sqlite3.Connection, path: Path) -> None:
    try:
        application = database.execute("PRAGMA application_id").fetchone()[0]
        version = database.execute("PRAGMA user_version").fetchone()[0]
    except sqlite3.DatabaseError as error:
        raise InputError(f"{path}: a damaged database ({error}).") from error
    if application != _APPLICATION_ID:
        raise InputError(f"{path}: an SQLite database, but no study of `instrux studio label`.")
    if version != _VERSION:
        raise InputError(f"{path}: a study of version {version}; this program reads {_VERSION}.")


def settings_of(database: sqlite3.Connection) -> StudySettings:
    """The settings a study was created with."""
    rows = database.execute("SELECT name, value FROM settings")
    return StudySettings(**{name: json.loads(value) for name, value in rows})


def guidelines_of(database: sqlite3.Connection) -> tuple[str, str]:
    """Version and text of the guidelines in force."""
    row = database.execute("SELECT version, text FROM guidelines ORDER BY number DESC").fetchone()
    return row["version"], row["text"]


def set_guidelines(database: sqlite3.Connection, *, version: str, text: str) -> None:
    """Puts other guidelines in force; answers given before keep the version they were given by.

    Raises:
        InputError: the version's name is taken, or there is no text.
    """
    if not text.strip() or not version.strip():
        raise InputError("guidelines need a text and the name of a version.")
    try:
        database.execute("INSERT INTO guidelines (version, text) VALUES (?, ?)", (version, text))
    except sqlite3.IntegrityError as error:
        raise InputError(
            f"guidelines of version {version!r} exist; give others by another --version."
        ) from error
