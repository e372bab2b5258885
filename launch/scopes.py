"""What a recipe reads off gin's scope, so that a stage's name says where its run lies and which it is.

In a recipe, for stages such as `prompts/rte/seed1/train`:

    prompts/train.train.model_dir = @scopes.folder()
    prompts/train.train.seed = @scopes.number()
"""

import gin

from instrux.errors import InputError
from launch import out_folder


def folder(*, out: str) -> str:
    """Gives the folder of the scope below `out`: `OUT/prompts/rte/seed1`."""
    return out_folder.under(out=out, path=name())


def name() -> str:
    """Gives the scope: `prompts/rte/seed1`.

    Raises:
        InputError: there is none.
    """
    scope = gin.current_scope_str()
    if not scope:
        raise InputError("launch.scopes reads the name of a stage, and this one has no scope.")
    return scope


def number(*, of: str = "seed") -> int:
    """Gives the number of a part of the scope: 1 in `prompts/rte/seed1`.

    Args:
        of: what that part starts with.

    Raises:
        InputError: no part is `of` and a number.
    """
    for part in reversed(name().split("/")):
        if part.startswith(of) and part.removeprefix(of).isdecimal():
            return int(part.removeprefix(of))
    raise InputError(f"scope {name()!r}: no part of it is {of!r} and a number, as {of}1.")
