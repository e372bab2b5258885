"""Labellers, their tokens, and who is signed in.

A token is 160 random bits, so a plain SHA-256 of it may lie in the file: no dictionary reaches it,
and there is nothing for a slow hash to slow down.
"""

import hashlib
import hmac
import secrets
import sqlite3
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from instrux.errors import InputError, did_you_mean
from instrux.studio.label.study import now

TRAINING, HELD_OUT = "training", "held-out"
SESSION_DAYS = 30


@dataclass(frozen=True)
class Labeller:
    """Somebody who answers.

    Attributes:
        id: in the study.
        name: what they sign in with.
        group: `training`, `held-out` or another; each group answers every task.
    """

    id: int
    name: str
    group: str


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def new_token() -> str:
    """A token in groups of five, to be read from paper if need be."""
    alphabet = "23456789abcdefghjkmnpqrstuvwxyz"
    return "-".join("".join(secrets.choice(alphabet) for _ in range(5)) for _ in range(7))


def add(database: sqlite3.Connection, *, name: str, group: str = TRAINING) -> str:
    """Adds a labeller, and gives the token: it is not stored, only its hash is.

    Raises:
        InputError: the name is taken, or name or group is empty or not printable.
    """
    for what, text in (("name", name), ("group", group)):
        if not text.strip() or text != text.strip() or not text.isprintable() or len(text) > 64:
            raise InputError(
                f"the {what} {text!r} should be 1 to 64 printable characters, none of them a space"
                " at either end."
            )
    token = new_token()
    try:
        database.execute(
            "INSERT INTO labellers (name, grp, token_hash, active) VALUES (?, ?, ?, 1)",
            (name, group, _hash(token)),
        )
    except sqlite3.IntegrityError as error:
        raise InputError(
            f"there is a labeller {name!r}; --new_token gives another token, --retire lets go."
        ) from error
    return token


def imported(database: sqlite3.Connection, *, name: str, group: str) -> int:
    """The id of a labeller whose answers come from elsewhere; added without a token if unknown."""
    found = database.execute("SELECT id FROM labellers WHERE name = ?", (name,)).fetchone()
    if found:
        return found["id"]
    made = database.execute(
        "INSERT INTO labellers (name, grp, token_hash, active) VALUES (?, ?, NULL, 0)",
        (name, group or TRAINING),
    )
    assert made.lastrowid is not None
    return made.lastrowid


def renew(database: sqlite3.Connection, name: str) -> str:
    """Gives a labeller another token, ends their sessions, and makes them active again."""
    known = named(database, name)
    token = new_token()
    database.execute(
        "UPDATE labellers SET token_hash = ?, active = 1 WHERE id = ?", (_hash(token), known.id)
    )
    database.execute("DELETE FROM sessions WHERE labeller = ?", (known.id,))
    return token


def retire(database: sqlite3.Connection, name: str) -> None:
    """Lets a labeller go: no signing in any more, and what they did not answer goes to others."""
    known = named(database, name)
    database.execute("UPDATE labellers SET active = 0 WHERE id = ?", (known.id,))
    database.execute("DELETE FROM sessions WHERE labeller = ?", (known.id,))


def named(database: sqlite3.Connection, name: str) -> Labeller:
    """A labeller by name.

    Raises:
        InputError: there is none.
    """
    names = {row["name"]: row for row in database.execute("SELECT * FROM labellers")}
    if name not in names:
        raise InputError(f"no labeller {name!r}.{did_you_mean(name, names)}")
    return Labeller(names[name]["id"], name, names[name]["grp"])


def sign_in(database: sqlite3.Connection, *, name: str, token: str) -> str | None:
    """Starts a session, and gives its secret; None where name or token is wrong."""
    row = database.execute(
        "SELECT id, token_hash FROM labellers WHERE name = ? AND active = 1", (name,)
    ).fetchone()
    # An unknown name takes as long as a wrong token.
    expected = (row and row["token_hash"]) or _hash("")
    right = hmac.compare_digest(_hash(token.strip().lower()), expected)
    if not right or row is None or row["token_hash"] is None:
        return None
    secret = secrets.token_urlsafe(32)
    expires = (datetime.now(UTC) + timedelta(days=SESSION_DAYS)).isoformat()
    database.execute("DELETE FROM sessions WHERE expires < ?", (now(),))
    database.execute("INSERT INTO sessions VALUES (?, ?, ?)", (_hash(secret), row["id"], expires))
    return secret


def signed_in(database: sqlite3.Connection, secret: str) -> Labeller | None:
    """Whose session it is, if it is one that lasts."""
    row = database.execute(
        "SELECT l.id, l.name, l.grp FROM sessions s JOIN labellers l ON l.id = s.labeller"
        " WHERE s.hash = ? AND s.expires > ? AND l.active = 1",
        (_hash(secret), now()),
    ).fetchone()
    return Labeller(row["id"], row["name"], row["grp"]) if row else None


def sign_out(database: sqlite3.Connection, secret: str) -> None:
    """Ends a session."""
    database.execute("DELETE FROM sessions WHERE hash = ?", (_hash(secret),))


def form_token(secret: str) -> str:
    """What a form of this session carries, so that no other site can send one."""
    return _hash(f"form:{secret}")
