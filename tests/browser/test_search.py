"""The page of a measured search in a real browser, from a file and with no network."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Browser

from loadtest.report.pages.search import search_html
from tests.browser.conftest import Rendered
from tests.unit.report.pages.test_search import FOUND


def test_chart_is_drawn_without_an_error_or_a_request(browser: Browser, tmp_path: Path) -> None:
    path = tmp_path / "search.html"
    path.write_text(search_html(FOUND))
    rendered = Rendered(browser, path)
    assert (rendered.messages, rendered.requests) == ([], [path.as_uri()])
    dots = "plot => plot.querySelectorAll('svg .mark-symbol path').length"
    assert [plot.evaluate(dots) for plot in rendered.page.query_selector_all(".plot")] == [4]
    rendered.page.set_viewport_size({"width": 400, "height": 900})
    assert rendered.page.evaluate("document.documentElement.scrollWidth") == 400
