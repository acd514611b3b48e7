"""The report in a real browser, from a file and with no network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from msgspec import structs
from playwright.sync_api import Browser

from loadtest.analyze.series import series
from loadtest.analyze.summarize import summarize
from loadtest.record.sample import HEALTH
from loadtest.report.pages.run import report_html
from tests.browser.conftest import Rendered
from tests.conftest import MadeUpRun
from tests.unit.analyze.rows import run_data
from tests.unit.report.charts.test_tokens import OVER_TIME, PANELS, llm_run


@pytest.fixture(scope="module")
def report(steady: MadeUpRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(steady, tmp_path_factory.mktemp("report"))


def written(made: MadeUpRun, directory: Path) -> Path:
    summary = summarize(run_data(made.run, made.samples, made.requests, health=made.health))
    path = directory / "report.html"
    path.write_text(
        report_html(made.run, summary, series(run_data(made.run, made.samples, made.requests, health=made.health)))
    )
    return path


@pytest.mark.alone
def test_every_chart_is_drawn_in_two_seconds_without_an_error_or_a_request(browser: Browser, report: Path) -> None:
    rendered = Rendered(browser, report)
    assert rendered.messages == []
    assert rendered.requests == [report.as_uri()]
    marks = "plot => plot.querySelectorAll('svg .role-mark path, svg .role-mark line').length"
    plots = rendered.page.query_selector_all(".plot")
    assert len(plots) == 17
    assert all(plot.evaluate(marks) > 0 for plot in plots)
    assert rendered.page.evaluate("Number(document.body.dataset.drawn)") < 2000


@pytest.mark.parametrize("width", [400, 820, 1280])
def test_page_does_not_scroll_sideways(browser: Browser, report: Path, width: int) -> None:
    assert Rendered(browser, report, width).page.evaluate("document.documentElement.scrollWidth") == width


def test_charts_follow_the_page_into_dark_mode(browser: Browser, report: Path) -> None:
    def colours(scheme: str) -> list[str]:
        page = Rendered(browser, report, scheme=scheme).page
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


def test_drag_across_one_chart_zooms_all_and_a_double_click_returns(browser: Browser, report: Path) -> None:
    page = Rendered(browser, report).page
    labels = "plot => [...plot.querySelectorAll('.role-axis-label text')].map(each => each.textContent).sort().join()"
    before = page.eval_on_selector("#plot-delay-over-time", labels)
    box = page.locator("#plot-load svg").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 300, box["y"] + 80)
    page.mouse.down()
    page.mouse.move(box["x"] + 450, box["y"] + 80, steps=4)
    page.mouse.up()
    page.wait_for_function(f"({labels})(document.getElementById('plot-delay-over-time')) !== {before!r}")
    assert page.is_visible("#reset")
    page.dblclick("#plot-delay-over-time svg")
    page.wait_for_function(f"({labels})(document.getElementById('plot-delay-over-time')) === {before!r}")
    assert not page.is_visible("#reset")


def test_pointing_at_one_chart_shows_the_figures_of_all(browser: Browser, report: Path) -> None:
    page = Rendered(browser, report).page
    box = page.locator("#plot-load svg").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 300, box["y"] + 80)
    page.wait_for_selector("#plot-load .rule:not([hidden])")
    lefts = page.eval_on_selector_all(".zoomable .rule", "all => all.map(each => each.style.left)")
    assert len(lefts) == 10
    places = [float(left.removesuffix("px")) for left in lefts]
    assert max(places) - min(places) < 1
    readouts = page.eval_on_selector_all(".readout", "all => all.map(each => each.textContent)")
    assert all(readout.startswith("30 s to ") for readout in readouts[:5])
    assert "completed" in readouts[0]
    assert "p50" in readouts[1]
    page.mouse.move(5, 5)
    page.wait_for_selector("#plot-load .rule", state="hidden")
    assert page.is_hidden("#plot-load + .readout, figure .readout")


def test_arrow_keys_move_from_bin_to_bin_and_plus_minus_and_escape_zoom(browser: Browser, report: Path) -> None:
    page = Rendered(browser, report).page
    page.focus("#plot-delay-over-time")
    for key, reported in (("ArrowRight", "0 s to 2 s"), ("ArrowRight", "2 s to 4 s"), ("ArrowLeft", "0 s to 2 s")):
        page.keyboard.press(key)
        assert page.inner_text("#announced").startswith(reported)
    assert page.is_visible("#plot-workers .rule")
    page.keyboard.press("+")
    page.wait_for_selector("#reset", state="visible")
    page.keyboard.press("-")
    page.wait_for_selector("#reset", state="hidden")
    page.keyboard.press("End")
    assert page.inner_text("#announced").startswith("118 s to ")
    page.keyboard.press("Escape")
    assert page.inner_text("#announced") == ""
    assert page.is_hidden("#plot-workers .rule")


def test_data_of_a_chart_opens_with_the_keyboard(browser: Browser, report: Path) -> None:
    page = Rendered(browser, report).page
    page.focus("figure[aria-labelledby=title-load] summary")
    page.keyboard.press("Enter")
    rows = page.locator("figure[aria-labelledby=title-load] tbody tr")
    assert rows.first.is_visible()
    assert 1 < rows.count() <= 60


def test_finger_scrolls_and_a_tap_shows_the_figures(browser: Browser, report: Path) -> None:
    context = browser.new_context(viewport={"width": 400, "height": 800}, has_touch=True, offline=True)
    page = context.new_page()
    page.goto(report.as_uri())
    page.wait_for_selector("body[data-drawn]")
    assert page.eval_on_selector("#plot-load", "each => getComputedStyle(each).touchAction") == "auto"
    page.tap("#plot-load svg")
    page.wait_for_selector("#plot-delay-over-time .rule:not([hidden])")
    assert page.evaluate("document.documentElement.scrollWidth") == 400


def test_term_links_to_its_definition_and_back(browser: Browser, report: Path) -> None:
    page = Rendered(browser, report).page
    page.click("#title-delay-over-time a")
    assert page.evaluate("location.hash") == "#def-delay"
    page.click("#def-delay a.back")
    assert page.evaluate("location.hash") == "#use-delay"


CONTRASTS = """() => {
  const rgb = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => {
    const linear = (v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    const [x, y, z] = [r, g, b].map((v) => linear(v / 255));
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const under = (each) => {
    for (let at = each; at; at = at.parentElement) {
      const colour = rgb(getComputedStyle(at).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
  };
  const ratio = (one, other) => {
    const [high, low] = [light(one), light(other)].sort((a, b) => b - a);
    return (high + 0.05) / (low + 0.05);
  };
  const found = {};
  for (const each of document.querySelectorAll("body *")) {
    const style = getComputedStyle(each);
    const texts = [...each.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    const drawn = each.ownerSVGElement !== null && each.ownerSVGElement !== undefined;
    const seen = each.getClientRects().length > 0 && !["SCRIPT", "STYLE"].includes(each.tagName);
    if (!texts || !seen || (drawn && each.tagName !== "text")) continue;
    const value = ratio(rgb(drawn ? style.fill : style.color), under(each));
    const name = `${each.tagName}.${each.className.baseVal ?? each.className}`;
    found[name] = Math.min(found[name] ?? 99, value);
  }
  for (const name of ["accent", "ink-2", "grey", "bad", "warning"]) {
    const probe = document.body.appendChild(document.createElement("p"));
    probe.style.color = `var(--${name})`;
    found[`line ${name}`] = ratio(rgb(getComputedStyle(probe).color), under(probe)) * 1.5;
    probe.remove();
  }
  return found;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_have_a_contrast_of_4_5_and_lines_of_3(browser: Browser, report: Path, scheme: str) -> None:
    found = Rendered(browser, report, scheme=scheme).page.evaluate(CONTRASTS)
    assert len(found) > 20
    assert {name: value for name, value in found.items() if value < 4.5} == {}


def test_print_is_light_and_complete(browser: Browser, report: Path) -> None:
    page = Rendered(browser, report, scheme="dark").page
    page.set_viewport_size({"width": 680, "height": 900})
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.documentElement).backgroundColor") == "rgb(255, 255, 255)"
    assert page.evaluate("document.documentElement.scrollWidth") == 680
    edges = "all => all.filter(e => e.getClientRects().length).map(e => e.getBoundingClientRect().right)"
    assert max(page.eval_on_selector_all("table, .plot svg", edges)) <= 681
    assert not any(page.eval_on_selector_all("details", "all => all.map(each => each.checkVisibility())"))


def test_reduced_motion_turns_smooth_scrolling_off(browser: Browser, report: Path) -> None:
    page = Rendered(browser, report).page
    page.emulate_media(reduced_motion="reduce")
    assert page.evaluate("getComputedStyle(document.documentElement).scrollBehavior") == "auto"


def failed(made: MadeUpRun) -> MadeUpRun:
    index = made.samples.schema.get_field_index("outcome")
    outcomes = pa.array(["failed"] * len(made.samples))
    return replace(made, samples=made.samples.set_column(index, made.samples.schema.field(index), outcomes))


UNUSUAL: dict[str, Callable[[MadeUpRun], MadeUpRun]] = {
    "a single job": lambda made: replace(made, samples=made.samples.slice(0, 1)),
    "nothing completed": failed,
    "no job": lambda made: replace(made, samples=made.samples.slice(0, 0)),
    "no health": lambda made: replace(made, health=HEALTH.empty_table()),
    "no end": lambda made: replace(made, run=structs.replace(made.run, ending=None, ended_at=None)),
}


@pytest.mark.parametrize("name", UNUSUAL)
def test_unusual_run_is_drawn_too(
    browser: Browser, make_run: Callable[..., MadeUpRun], tmp_path: Path, name: str
) -> None:
    rendered = Rendered(browser, written(UNUSUAL[name](make_run(jobs=60)), tmp_path))
    if name != "no job":
        rendered.page.focus("#plot-load")
        rendered.page.keyboard.press("ArrowRight")
        assert rendered.page.inner_text("#announced").startswith("0 s to ")
    assert rendered.messages == []


@pytest.mark.parametrize(("scheme", "paper"), [("light", "#fff"), ("dark", "#15181c")])
def test_chart_is_saved_as_a_file_with_the_colours_of_the_page(
    browser: Browser, report: Path, scheme: str, paper: str
) -> None:
    rendered = Rendered(browser, report, scheme=scheme)
    saved = {}
    for kind in ("svg", "png"):
        with rendered.page.expect_download() as download:
            rendered.page.click(f"button[data-chart=load][data-save={kind}]")
        assert download.value.suggested_filename == f"load.{kind}"
        saved[kind] = Path(download.value.path()).read_bytes()
    assert saved["png"].startswith(b"\x89PNG")
    svg = saved["svg"].decode()
    assert "var(--" not in svg
    assert f'fill="{paper}"' in svg
    assert svg.count("<path") > 5
    assert rendered.messages == []


def test_verdict_is_copied_as_markdown(browser: Browser, report: Path) -> None:
    page = Rendered(browser, report).page
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.click("#copy")
    page.wait_for_selector("#copy:has-text('Copied')")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied.startswith("## Load test ")
    assert "| flow | jobs |" in copied


@pytest.fixture(scope="module")
def llm_report(make_run: Callable[..., MadeUpRun], tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = llm_run(make_run(jobs=400))
    path = tmp_path_factory.mktemp("llm") / "report.html"
    path.write_text(report_html(data.run, summarize(data), series(data)))
    return path


@pytest.mark.parametrize("width", [400, 820, 1280])
def test_charts_of_tokens_are_drawn_at_every_width(browser: Browser, llm_report: Path, width: int) -> None:
    rendered = Rendered(browser, llm_report, width)
    assert rendered.messages == []
    marks = "plot => plot.querySelectorAll('svg .role-mark path, svg .role-mark line').length"
    for name in OVER_TIME + PANELS:
        plot = rendered.page.query_selector(f"#plot-{name}")
        assert plot is not None
        assert plot.evaluate(marks) > 0
        labels = plot.query_selector_all(".role-axis-label text")
        assert len(labels) >= 6
    assert rendered.page.evaluate("document.documentElement.scrollWidth") == width


def test_charts_of_tokens_are_printed_within_the_page_and_follow_dark_mode(
    browser: Browser, llm_report: Path
) -> None:
    page = Rendered(browser, llm_report, scheme="dark").page
    dark = page.eval_on_selector("#plot-latency-by-length .mark-symbol path", "e => getComputedStyle(e).fill")
    page.set_viewport_size({"width": 680, "height": 900})
    page.emulate_media(media="print", color_scheme="dark")
    assert page.eval_on_selector("#plot-latency-by-length .mark-symbol path", "e => getComputedStyle(e).fill") != dark
    edges = "all => all.filter(e => e.getClientRects().length).map(e => e.getBoundingClientRect().right)"
    assert max(page.eval_on_selector_all(".plot svg", edges)) <= 681


def test_pointing_at_the_load_shows_the_tokens_of_the_moment(browser: Browser, llm_report: Path) -> None:
    page = Rendered(browser, llm_report).page
    page.focus("#plot-tokens-over-time")
    page.keyboard.press("ArrowRight")
    assert "output tokens" in page.inner_text("#announced")
    assert page.is_visible("#plot-ttft-over-time .rule")
    assert page.is_visible("#plot-chunk-gap-over-time .rule")
