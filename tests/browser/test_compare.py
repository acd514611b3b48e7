"""The page of several runs in a real browser, from a file and with no network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import pyarrow.parquet as pq
import pytest
from playwright.sync_api import Browser

from loadtest.commands.compare import comparison_of
from loadtest.record.directory import RunDirectory
from loadtest.report.pages.comparison import compare_html
from tests.browser.conftest import Rendered
from tests.conftest import MadeUpRun


@pytest.fixture
def page(steady: MadeUpRun, make_run: Callable[..., MadeUpRun], tmp_path: Path) -> Path:
    made = [steady, make_run(seed=2), make_run(jobs=600, rate=40.0), make_run(jobs=1)]
    folders = [tmp_path / f"run-{number}" for number in range(len(made))]
    for folder, each in zip(folders, made, strict=True):
        folder.mkdir()
        RunDirectory(folder).write_run(msgspec.structs.replace(each.run, id=folder.name))
        for table in ("samples", "requests", "health"):
            pq.write_table(getattr(each, table), folder / f"{table}.parquet")
    path = tmp_path / "compare.html"
    path.write_text(compare_html(comparison_of(folders, 0.05)))
    return path


def test_every_chart_is_drawn_in_every_runs_colour_without_an_error_or_a_request(
    browser: Browser,
    page: Path,
) -> None:
    rendered = Rendered(browser, page)
    assert rendered.messages == []
    assert rendered.requests == [page.as_uri()]
    plots = rendered.page.query_selector_all(".plot")
    assert len(plots) == 11
    marks = "plot => plot.querySelectorAll('svg .role-mark path').length"
    assert all(plot.evaluate(marks) > 0 for plot in plots)
    colours = "plot => [...plot.querySelectorAll('.mark-line path')].map(each => getComputedStyle(each).stroke)"
    drawn = rendered.page.eval_on_selector("#plot-throughput", colours)
    assert len(set(drawn)) == 4
    rendered.page.set_viewport_size({"width": 400, "height": 900})
    assert rendered.page.evaluate("document.documentElement.scrollWidth") == 400
