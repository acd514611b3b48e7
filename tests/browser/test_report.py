"""The report in a real browser, from a file and with no network."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from loadtest.analyze.series import series
from loadtest.analyze.summarize import summarize
from loadtest.report.html import report_html
from tests.conftest import MadeUpRun

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
QUIET = [
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on the path")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield opened
        opened.close()


@pytest.fixture
def report(steady: MadeUpRun, tmp_path: Path) -> Path:
    return written(steady, tmp_path)


def written(made: MadeUpRun, directory: Path) -> Path:
    summary = summarize(made.run, made.samples, made.requests, None)
    path = directory / "report.html"
    path.write_text(report_html(made.run, summary, series(made.run, made.samples, made.requests, made.health)))
    return path


class Seen:
    """A page, what it said on its console, and what it asked for."""

    def __init__(self, browser: Browser, path: Path, width: int = 1280, scheme: str = "light") -> None:
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, offline=True)
        self.page: Page = context.new_page()
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(path.as_uri())
        self.page.wait_for_selector("body[data-drawn]", timeout=10_000)


def test_every_chart_is_drawn_soon_without_an_error_or_a_request(browser: Browser, report: Path) -> None:
    seen = Seen(browser, report)
    assert seen.said == []
    assert seen.asked == [report.as_uri()]
    marks = "plot => plot.querySelectorAll('svg .role-mark path, svg .role-mark line').length"
    plots = seen.page.query_selector_all(".plot")
    assert len(plots) == 14
    assert all(plot.evaluate(marks) > 0 for plot in plots)
    assert seen.page.evaluate("Number(document.body.dataset.drawn)") < 2000


@pytest.mark.parametrize("width", [400, 820, 1280])
def test_nothing_stands_out_over_the_edge(browser: Browser, report: Path, width: int) -> None:
    assert Seen(browser, report, width).page.evaluate("document.documentElement.scrollWidth") == width


def test_charts_follow_the_page_into_the_dark(browser: Browser, report: Path) -> None:
    def colours(scheme: str) -> list[str]:
        page = Seen(browser, report, scheme=scheme).page
        line = "#plot-load .mark-line path"
        text = "#plot-load .role-axis-label text"
        return [
            page.eval_on_selector(line, "each => getComputedStyle(each).stroke"),
            page.eval_on_selector(text, "each => getComputedStyle(each).fill"),
            page.evaluate("getComputedStyle(document.documentElement).backgroundColor"),
        ]

    light, dark = colours("light"), colours("dark")
    assert light[2] == "rgb(255, 255, 255)"
    assert all(one != other for one, other in zip(light, dark, strict=True))


def test_dragging_across_one_chart_zooms_them_all_and_a_double_click_goes_back(
    browser: Browser, report: Path
) -> None:
    page = Seen(browser, report).page
    labels = "plot => [...plot.querySelectorAll('.role-axis-label text')].map(each => each.textContent).sort().join()"
    before = page.eval_on_selector("#plot-delay-over-time", labels)
    box = page.locator("#plot-load svg").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 300, box["y"] + 80)
    page.mouse.down()
    page.mouse.move(box["x"] + 450, box["y"] + 80, steps=4)
    page.mouse.up()
    page.wait_for_function(f"({labels})(document.getElementById('plot-delay-over-time')) !== {before!r}")
    assert page.is_visible("#whole")
    page.dblclick("#plot-delay-over-time svg")
    page.wait_for_function(f"({labels})(document.getElementById('plot-delay-over-time')) === {before!r}")
    assert not page.is_visible("#whole")


def test_the_figures_of_a_bin_stand_under_the_pointer(browser: Browser, report: Path) -> None:
    page = Seen(browser, report).page
    box = page.locator("#plot-load svg").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 300, box["y"] + 80)
    page.wait_for_selector("#vg-tooltip-element.visible")
    assert "completed, /s" in page.inner_text("#vg-tooltip-element")


def test_a_single_job_is_drawn_too(browser: Browser, make_run: Callable[..., MadeUpRun], tmp_path: Path) -> None:
    seen = Seen(browser, written(make_run(jobs=1), tmp_path))
    assert seen.said == []
