"""The index of runs in a real browser: its columns sort, its trends are drawn."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from playwright.sync_api import Browser
from typer.testing import CliRunner

from loadtest.cli import app
from loadtest.commands.runs_index import write_index
from tests.browser.conftest import Rendered
from tests.unit.commands.test_runs_index import RECORDED, add_run


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reports")
    built = Path(shutil.copytree(RECORDED, folder / "night-0"))
    assert CliRunner().invoke(app, ["report", str(built)]).exit_code == 0
    for day, factor in ((1, 3.0), (2, 2.0)):
        add_run(built, folder / f"night-{day}", day, factor)
    return write_index(folder)[0]


def test_columns_sort_both_ways_and_by_value(browser: Browser, index: Path) -> None:
    rendered = Rendered(browser, index)
    names = "rows => rows.map(row => row.cells[0].innerText.trim())"

    def shown() -> list[str]:
        found: list[str] = rendered.page.eval_on_selector_all("#all-runs tbody tr", names)
        return found

    assert shown() == ["night-2", "night-1", "night-0"]
    rendered.page.click("#all-runs th:has-text('End-to-end p95') button")
    assert shown() == ["night-0", "night-2", "night-1"]
    rendered.page.click("#all-runs th:has-text('End-to-end p95') button")
    assert shown() == ["night-1", "night-2", "night-0"]
    assert rendered.messages == []
    assert rendered.page.eval_on_selector_all(".plot svg", "plots => plots.length") == 4


@pytest.mark.parametrize("width", [400, 1280])
def test_index_does_not_scroll_sideways(browser: Browser, index: Path, width: int) -> None:
    assert Rendered(browser, index, width).page.evaluate("document.documentElement.scrollWidth") == width
