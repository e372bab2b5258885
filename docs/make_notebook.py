"""Makes docs/notebook.ipynb of docs/notebook.md: its Python blocks become cells.

python docs/make_notebook.py
"""

import json
import re
from pathlib import Path
from typing import Any

PAGE = Path(__file__).with_name("notebook.md")
_CODE = re.compile(r"^```python\n(.*?)^```\n", re.DOTALL | re.MULTILINE)


def cells(page: str) -> list[tuple[str, str]]:
    """Splits a page into its cells: `markdown` or `code`, and the text."""
    parts = _CODE.split(page)
    kinds = ("markdown", "code")
    found = [(kinds[number % 2], text.strip("\n")) for number, text in enumerate(parts)]
    return [(kind, text) for kind, text in found if text]


def notebook(page: str) -> dict[str, Any]:
    """A page as a notebook of format 4.5, which Jupyter, VS Code and Colab read."""
    made = []
    for number, (kind, text) in enumerate(cells(page)):
        if kind == "markdown":
            # Other pages do not lie beside a notebook that was downloaded.
            text = re.sub(r"\[([^\]]*)\]\([\w./]+\.(?:md|ipynb)(?:#\w+)?\)", r"\1", text)
        cell: dict[str, Any] = {"cell_type": kind, "id": f"cell-{number}", "metadata": {}}
        if kind == "code":
            cell |= {"execution_count": None, "outputs": []}
        made.append(cell | {"source": text.splitlines(keepends=True)})
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    return {"cells": made, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}


def written(page: str) -> str:
    """The notebook's file."""
    return json.dumps(notebook(page), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    text = written(PAGE.read_text(encoding="utf-8"))
    PAGE.with_suffix(".ipynb").write_text(text, encoding="utf-8")
