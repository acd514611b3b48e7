"""The page of a capacity plan in a real browser, from a file and with no network."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser

from loadtest.report.pages.capacity import capacity_html
from tests.browser.conftest import Rendered
from tests.unit.report.pages.test_capacity import planned


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("plan") / "capacity.html"
    path.write_text(capacity_html(planned()))
    return path


def test_every_chart_is_drawn_without_an_error_or_a_request(browser: Browser, page: Path) -> None:
    rendered = Rendered(browser, page)
    assert rendered.messages == []
    assert rendered.requests == [page.as_uri()]
    plots = rendered.page.query_selector_all(".plot")
    assert len(plots) == 4
    marks = "plot => plot.querySelectorAll('svg .role-mark path, svg .role-mark line').length"
    assert all(plot.evaluate(marks) > 5 for plot in plots)
    for width in (400, 820):
        rendered.page.set_viewport_size({"width": width, "height": 900})
        assert rendered.page.evaluate("document.documentElement.scrollWidth") == width
