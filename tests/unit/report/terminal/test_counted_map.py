"""The line of progress: on a terminal alone, and without any effect on results."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from rich.console import Console

from loadtest.report.terminal.counted_map import counted


def of_pool(function: Any, items: Iterable[Any]) -> Iterator[Any]:
    return map(function, items)


@pytest.mark.parametrize("map_fn", [map, of_pool])
def test_nothing_is_written_if_the_output_is_no_terminal(map_fn: Any) -> None:
    console = Console(file=io.StringIO())
    with counted(map_fn, "simulating", console) as mapped:
        assert mapped is map_fn
    assert console.file.getvalue() == ""  # type: ignore[attr-defined]


def test_terminal_shows_how_many_items_are_done() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=80)
    with counted(of_pool, "simulating", console) as mapped:
        first, second = mapped(str, [1, 2]), mapped(str, [3])
        assert list(first) + list(second) == ["1", "2", "3"]
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "simulating" in shown
    assert "3/3" in shown


def test_plain_map_keeps_its_identity_on_a_terminal() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=80)
    with counted(map, "simulating", console) as mapped:
        assert mapped is map
