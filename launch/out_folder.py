"""Paths below a recipe's output folder, for gin, whose macros cannot be joined."""


def under(*, out: str, path: str) -> str:
    """Gives `path` below the folder `out`, which may be a bucket's.

    In a recipe, with `OUT` the folder that a user sets:

        out_folder.under.out = %OUT
        data/out_folder.under.path = "data"
        DATA_DIR = @data/out_folder.under()
    """
    return f"{out.rstrip('/')}/{path}" if out.rstrip("/") else f"/{path}"
