"""A measured search on a terminal and on its page: both show the content of `search.json`."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path

import altair as alt
import msgspec
import pytest
from rich.console import Console

from loadtest.analyze.summary import GateResult, Verdict
from loadtest.capacity.breakpoint.bisection import EndReason, ProbeOutcome, SearchEnd
from loadtest.capacity.breakpoint.result import BreakpointResult, ProbeResult, measured_search
from loadtest.report.pages.search import search_html
from loadtest.report.terminal.search import print_probe, print_search
from loadtest.scenario.metrics import Metric, Unit
from tests.unit.report.page import Page
from tests.unit.report.pages.test_capacity import numbers
from tests.unit.scenario.test_probes import scenario

VERDICTS = {
    ProbeOutcome.PASSES: Verdict.PASS,
    ProbeOutcome.FAILS: Verdict.FAIL,
    ProbeOutcome.INCONCLUSIVE: Verdict.INCONCLUSIVE,
}


def probe(number: int, rate_per_s: float, outcome: ProbeOutcome, delay_ms: float | None = None) -> ProbeResult:
    if outcome not in VERDICTS:
        return ProbeResult(rate_per_s, outcome, "offers too much")
    ci95 = None if delay_ms is None else (delay_ms * 0.9, delay_ms * 1.1)
    gate = GateResult(
        "delay p95 < 2s",
        delay_ms,
        2000.0,
        500,
        VERDICTS[outcome],
        "The gate's detail.",
        Metric.DELAY,
        Unit.MILLISECONDS,
        ci95,
    )
    return ProbeResult(rate_per_s, outcome, "The run's reason.", 1, f"probe-{number:02}", 500, rate_per_s, [gate])


PROBES = [
    probe(1, 20.0, ProbeOutcome.PASSES, 4.0),
    probe(2, 40.0, ProbeOutcome.FAILS, 9000.0),
    probe(3, 38.5, ProbeOutcome.PASSES, 1500.0),
    probe(4, 38.5, ProbeOutcome.PASSES, 1400.0),
    probe(5, 40.0, ProbeOutcome.FAILS, None),
]


def result(found: SearchEnd, probes: list[ProbeResult]) -> BreakpointResult:
    return measured_search(scenario(), found, probes)


FOUND = result(SearchEnd(EndReason.ENDPOINT, 38.5, 40.0), PROBES)


def test_page_has_the_figures_of_the_file_and_links_to_every_probes_report() -> None:
    source = search_html(FOUND)
    page = Page(source)
    written = set(numbers(json.loads(msgspec.json.encode(FOUND)))) | {""}
    assert [value for figures in page.figures.values() for value in figures if value not in written] == []
    assert page.figures["Key figures"] == ["38.5", "40.0"]
    assert [row[1:3] for row in page.rows["probes"] if row] == [[str(each.rate_per_s), "500"] for each in PROBES]
    assert [row[3] for row in page.rows["probes"] if row] == ["4.0", "9000.0", "1500.0", "1400.0", ""]
    assert [f'href="{each.run}/report.html"' in source for each in PROBES] == [True] * 5
    for chart in json.loads(page.scripts["specs"]).values():
        alt.LayerChart.validate(chart)
    assert len(page.charts) == 1
    assert "The gates hold up to 38.5/s and no longer at 40/s: delay p95 < 2s." in page.text


@pytest.mark.parametrize(
    ("found", "last", "verdict", "text"),
    [
        (
            SearchEnd(EndReason.LIMIT, 20.0, None),
            ProbeOutcome.REFUSED,
            Verdict.PASS,
            "The limit, not the endpoint, ends the search",
        ),
        (SearchEnd(EndReason.AT_MOST, 20.0, None), ProbeOutcome.PASSES, Verdict.PASS, "the endpoint may do more"),
        (
            SearchEnd(EndReason.NOTHING, None, 20.0),
            ProbeOutcome.FAILS,
            Verdict.FAIL,
            "No rate was found at which the gates hold",
        ),
        (
            SearchEnd(EndReason.NOTHING, None, 20.0),
            ProbeOutcome.INCONCLUSIVE,
            Verdict.INCONCLUSIVE,
            "No rate was found",
        ),
        (
            SearchEnd(EndReason.INVALID, 10.0, None),
            ProbeOutcome.INVALID,
            Verdict.INVALID,
            "two probes at 20/s were not valid",
        ),
        (
            SearchEnd(EndReason.STOPPED, None, None),
            ProbeOutcome.STOPPED,
            Verdict.ABORTED,
            "was stopped at 20/s. offers too much",
        ),
    ],
)
def test_end_of_a_search_is_explained_in_a_sentence(
    found: SearchEnd, last: ProbeOutcome, verdict: Verdict, text: str
) -> None:
    outcome = result(found, [probe(1, 20.0, last, 100.0)])
    assert outcome.verdict is verdict
    assert text in outcome.reason
    assert text in Page(search_html(outcome)).text


def test_terminal_shows_the_answer_every_probe_and_the_path_of_the_page() -> None:
    out = StringIO()
    print_search(FOUND, Path("there/search.html"), Console(file=out, width=80))
    text = out.getvalue()
    assert text.startswith("PASS  The gates hold up to 38.5/s")
    assert all(f"probe-0{number}" in text for number in range(1, 6))
    assert "broken: delay p95 < 2s. The gate's detail." in text
    assert text.rstrip().endswith("report  there/search.html")
    assert max(map(len, text.splitlines())) <= 80
    line = StringIO()
    print_probe(3, PROBES[1], Console(file=line, width=80))
    print_probe(4, probe(4, 80.0, ProbeOutcome.REFUSED), Console(file=line, width=80))
    assert line.getvalue().splitlines() == [
        "probe 3: 40.0/s fails; delay p95 < 2s: 9.00 s",
        "probe 4: 80.0/s not tried: offers too much",
    ]
