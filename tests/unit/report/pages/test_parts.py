"""The parts of a report, each for runs that have data for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pytest

from loadtest.analyze.series import series
from loadtest.analyze.summarize import summarize
from loadtest.analyze.summary import Quantiles, WorkerComparison, WorkerSummary
from loadtest.record.sample import HEALTH, Outcome
from loadtest.report.charts.endpoint import workers_text
from loadtest.report.formatting import milliseconds
from loadtest.report.pages.glossary import OUTCOMES, TERMS
from loadtest.report.pages.run import report_html
from tests.conftest import MadeUpRun
from tests.unit.analyze.rows import run_data
from tests.unit.report.page import Page, page_of


def with_column(table: pa.Table, name: str, values: list[Any]) -> pa.Table:
    index = table.schema.get_field_index(name)
    return table.set_column(index, table.schema.field(index), pa.array(values, table.schema.field(index).type))


def settled(made: MadeUpRun) -> MadeUpRun:
    """Return the same run with times that have no trend."""
    n = len(made.samples)
    rng = np.random.default_rng(7)
    delay, execution = rng.integers(20, 90, n), rng.integers(300, 500, n)
    intended = made.samples.column("intended_at").to_numpy()
    samples = with_column(made.samples, "delay_ms", delay.tolist())
    samples = with_column(samples, "execution_ms", execution.tolist())
    samples = with_column(samples, "finished_at", (intended + (delay + execution + 20) / 1000).tolist())
    return replace(made, samples=with_column(samples, "outcome", ["completed"] * n))


def text(page: Page) -> str:
    return " ".join(page.text.split())


def numbers(value: Any) -> Iterator[float]:
    if isinstance(value, dict | list | tuple):
        for each in value.values() if isinstance(value, dict) else value:
            yield from numbers(each)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield float(value)


@pytest.mark.parametrize("change", [lambda made: made, settled], ids=["unsettled", "settled"])
def test_every_figure_is_in_the_summary_the_series_or_the_record(
    steady: MadeUpRun, change: Callable[[MadeUpRun], MadeUpRun]
) -> None:
    """Shares of outcomes, bars and numbers in sentences are derived and have no value of their own."""
    made = change(steady)
    summary = summarize(run_data(made.run, made.samples, made.requests, health=made.health))
    drawn = series(run_data(made.run, made.samples, made.requests, health=made.health))
    known = {number for of in (summary, drawn, made.run) for number in numbers(msgspec.to_builtins(of))}
    page = Page(report_html(made.run, summary, drawn))
    figures = [value for values in page.figures.values() for value in values if value]
    assert len(figures) > 300
    assert [value for value in figures if float(value) not in known] == []


@pytest.mark.parametrize("jobs", [1, 40, 400])
def test_every_term_links_to_its_definition_and_back(make_run: Callable[..., MadeUpRun], jobs: int) -> None:
    page = page_of(make_run(jobs=jobs))
    assert set(page.links) <= set(page.ids)
    defined = {each for each in page.ids if each.startswith("def-")}
    assert defined == {link for link in page.links if link.startswith("def-")}
    assert {each.replace("def-", "use-") for each in defined} <= set(page.links)


def test_glossary_explains_every_outcome() -> None:
    assert list(OUTCOMES) == list(Outcome)


def test_each_term_is_used_somewhere(steady: MadeUpRun) -> None:
    streamed = with_column(steady.samples, "flow", ["stream"] * len(steady.samples))
    pages = [page_of(steady), page_of(settled(steady)), page_of(replace(steady, samples=streamed))]
    used = {link.removeprefix("def-") for page in pages for link in page.links}
    assert set(TERMS) - used <= {
        "first-chunk",
        "chunk-gap",
        "ttft",
        "tpot",
        "itl",
        "drain",
        "gate",
        "users",
        "repeats",
        "tokens",
    }


def test_heading_levels_go_down_one_at_a_time(steady: MadeUpRun) -> None:
    headings = page_of(steady).headings
    assert headings[0] == 1
    assert headings.count(1) == 1
    assert all(below - above <= 1 for above, below in pairwise(headings))


def test_every_chart_has_its_data_as_a_table(steady: MadeUpRun) -> None:
    charts = page_of(steady).charts
    assert len(charts) == 17
    assert all({"details", "summary", "table"} <= parts or "aria-details" in parts for parts in charts.values())


def test_steady_window_is_in_a_table_with_the_whole_run(steady: MadeUpRun) -> None:
    made = settled(steady)
    found = summarize(run_data(made.run, made.samples, made.requests, health=made.health)).steady
    assert found.found
    page = page_of(made)
    q = found.flows["run"].end_to_end_ms
    row = next(row for row in page.rows["steady"] if row[4:5] == [str(q.n)])
    assert row[4:] == [str(value) for value in (q.n, q.p50, q.p95, q.p99)]


def test_missing_steady_window_has_a_reason(make_run: Callable[..., MadeUpRun]) -> None:
    page = page_of(make_run(jobs=100))
    assert "jobs completed in the stage, 200 are needed." in text(page)
    assert page.figures.get("steady") is None


def test_bounds_with_unfinished_jobs_are_under_the_outcomes(steady: MadeUpRun) -> None:
    words = ["censored" if i % 30 == 0 else "completed" for i in range(len(steady.samples))]
    made = replace(steady, samples=with_column(steady.samples, "outcome", words))
    bounds = summarize(run_data(made.run, made.samples, made.requests)).flows["run"].censored.end_to_end_ms_bounds
    page = page_of(made)
    assert {str(edge) for edge in bounds["p95"]} <= set(page.figures["outcomes"])
    assert bounds["p99"][1] is None
    assert f"≥ {milliseconds(bounds['p99'][0])}" in text(page)


def test_worker_that_differs_is_named_in_a_sentence() -> None:
    slow = WorkerSummary("w03", 100, Quantiles(100), WorkerComparison(1.61, (1.5, 1.72), True))
    like = WorkerSummary("w01", 100, Quantiles(100), WorkerComparison(0.99, (0.95, 1.04), False))
    reported = (
        "1 of 2 workers differs in median execution time: w03 takes 1.61 times that of the others (1.50 to 1.72)."
    )
    corrected = " This allows for the number of workers, and for jobs of a worker that resemble their neighbours."
    assert workers_text([like, slow]) == reported + corrected
    assert workers_text([like]).endswith("from the others in its median execution time." + corrected)
    assert workers_text([WorkerSummary("w01", 1, Quantiles(1))]).startswith("No worker had enough jobs")


def test_slow_worker_is_marked_in_the_table(steady: MadeUpRun) -> None:
    assert "slower" in text(page_of(steady))


def test_429s_are_drawn_if_there_were_any(steady: MadeUpRun) -> None:
    some = [429 if i % 50 == 0 else 200 for i in range(len(steady.requests))]
    page = page_of(replace(steady, requests=with_column(steady.requests, "status", some)))
    assert "answered 429" in text(page)
    assert '"refused0"' in str(page.scripts["specs"])


def test_report_of_a_run_without_health_or_requests(steady: MadeUpRun) -> None:
    bare = replace(steady, requests=steady.requests.slice(0, 0), health=HEALTH.empty_table())
    page = page_of(bare)
    assert "No request was recorded." in page.text
    assert "title-workers" not in page.charts
    assert "not checked" in page.text


def test_run_that_died_has_no_end_recorded(steady: MadeUpRun) -> None:
    died = msgspec.structs.replace(steady.run, ending=None, load_ended_at=None, ended_at=None, processes=[])
    page = page_of(replace(steady, run=died))
    assert "no end recorded" in page.text
    assert set(page.links) <= set(page.ids)
