from __future__ import annotations

import pytest

from loadtest.report.charts.base import MAX_ROWS, data_table, number

COLUMNS = {"s": ("from, s", ",.6g"), "p50": ("p50, ms", ",.1f")}


def test_table_of_few_rows_has_all_of_them() -> None:
    table = data_table([{"s": 0.0, "p50": 1234.56}, {"s": 1.0, "p50": None}, {"s": 2.5}], COLUMNS)
    assert table.columns == ["from, s", "p50, ms"]
    assert table.rows == [["0", "1,234.6"], ["1", "–"], ["2.5", "–"]]
    assert table.note == ""


@pytest.mark.parametrize(
    ("n", "shown", "note"), [(60, 60, ""), (61, 31, "Every 2nd of 61 rows."), (660, 60, "Every 11th of 660 rows.")]
)
def test_table_of_many_rows_is_thinned_with_a_note(n: int, shown: int, note: str) -> None:
    table = data_table([{"s": float(i), "p50": 1.0} for i in range(n)], COLUMNS)
    assert len(table.rows) == shown <= MAX_ROWS
    assert table.note == note


def test_share_is_in_percent_and_text_unchanged() -> None:
    assert number(0.31, ".0%") == "31 %"
    assert number("run", "") == "run"
