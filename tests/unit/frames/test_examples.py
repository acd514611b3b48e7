"""The notebook and the page about pandas run as they are, on recorded runs."""

from __future__ import annotations

import ast
import json
import re
import shutil
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]
NOTEBOOK = ROOT / "examples" / "analyse.ipynb"
PAGE = ROOT / "docs" / "how-to" / "analyse-with-pandas.md"


def cells() -> list[str]:
    notebook = json.loads(NOTEBOOK.read_text())
    return ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]


def shown(cell: str, names: dict[str, Any]) -> Any:
    """Run a cell in a namespace, and return the value of its last expression, as a notebook shows it."""
    tree = ast.parse(cell)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "cell", "exec"), names)
    return None if last is None else eval(compile(ast.Expression(last.value), "cell", "eval"), names)


def test_the_notebook_runs_from_its_first_cell_to_its_last(reports: Path) -> None:
    names: dict[str, Any] = {}
    shutil.rmtree(reports / "c")
    values = [shown(cell, names) for cell in cells()]
    assert names["run"].path == Path("reports/b")
    assert (values[2].loc["run"] > 0).all()
    assert list(values[4].columns) == ["value_ms", "low_ms", "high_ms", "n", "effective_n"]
    assert values[5].n > 0
    assert values[7].to_dict()["mark"] == {"type": "line"}
    assert len(values[8]) == 2
    assert values[3] == (names["p95"].value_ms, names["p95"].ci95_ms, names["p95"].n)


def test_the_page_shows_the_cells_of_the_notebook() -> None:
    assert [
        text.strip() for text in re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.M)
    ] == cells()
