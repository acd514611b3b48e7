"""The data of a chart as a table, for those who do not see it or want the numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from loadtest.report.formatting import DASH

MAX_ROWS = 60


@dataclass(frozen=True)
class DataTable:
    """What a chart draws, as text; `note` says what was left out, if anything was."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""


def data_table(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, tuple[str, str]]) -> DataTable:
    """Rows of a chart in columns, each a field with its title and number format; thinned where they are many."""
    stride = max(1, -(-len(rows) // MAX_ROWS))
    shown = rows[::stride]
    note = f"Every {_ordinal(stride)} of {len(rows)} rows." if stride > 1 else ""
    texts = [[number(row.get(field), form) for field, (_, form) in columns.items()] for row in shown]
    return DataTable([title for title, _ in columns.values()], texts, note)


def number(value: float | str | None, form: str) -> str:
    """A value as its format has it; a dash for none, text as it is."""
    if value is None:
        return DASH
    return value if isinstance(value, str) else format(value, form).replace("%", " %")


def _ordinal(n: int) -> str:
    """2nd, 3rd, 4th …"""
    ending = "th" if n % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(n % 10, "th")
    return f"{n}{ending}"
