from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace

import altair as alt
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadtest.analyze.series import Series, series
from loadtest.analyze.summarize import summarize
from loadtest.analyze.summary import Cause, Quantiles, Summary
from loadtest.record.run import Ending
from loadtest.record.sample import HEALTH, REQUESTS, SAMPLES
from loadtest.report.pages.run import report_html
from loadtest.report.summary_text import PERCENTILES
from tests.conftest import MadeUpRun
from tests.unit.analyze.rows import run_data
from tests.unit.report.page import Page, page_of


@pytest.fixture(scope="module")
def steady_page(steady: MadeUpRun) -> tuple[Summary, Series, Page, str]:
    summary = summarize(run_data(steady.run, steady.samples, steady.requests))
    drawn = series(run_data(steady.run, steady.samples, steady.requests, health=steady.health))
    source = report_html(steady.run, summary, drawn)
    return summary, drawn, Page(source), source


SteadyPage = tuple[Summary, Series, Page, str]


def test_report_is_one_file_without_requests(steady_page: SteadyPage) -> None:
    _, _, page, source = steady_page
    assert page.outside == []
    assert "default-src 'none'" in source
    assert len(source.encode()) <= 1_500_000
    assert len(page.ids) == len(set(page.ids))


def test_key_figures_are_those_of_the_summary(steady_page: SteadyPage) -> None:
    summary, drawn, page, _ = steady_page
    assert summary.cost is not None
    flow = summary.flows["run"]
    expected: list[float | None] = [
        drawn.throughput_per_s, summary.arrivals.offered_per_s, summary.arrivals.achieved_per_s,
        summary.jobs["completed"], summary.jobs["submitted"],
    ]  # fmt: skip
    for q in (flow.delay_ms, flow.execution_ms, flow.end_to_end_ms):
        expected += [q.p50, q.p95, q.p99]
    expected += [summary.cost.per_1000_jobs, summary.cost.billed_s]
    assert page.figures["Key figures"] == [str(value) for value in expected]


def cells(q: Quantiles) -> list[str]:
    values: list[float | None] = [q.n]
    if q.effective_n is not None and q.effective_n < 0.9 * q.n:
        values.append(q.effective_n)
    values.append(q.mean)
    for name in PERCENTILES:
        values += [getattr(q, name), *q.ci95.get(name, ())]
    return ["" if value is None else str(value) for value in [*values, q.max]]


def test_every_percentile_and_interval_is_in_its_flows_table(steady_page: SteadyPage) -> None:
    summary, _, page, _ = steady_page
    rows = [row for row in page.rows["flows"] if row]
    expected = []
    for flow in summary.flows.values():
        quantities = (flow.end_to_end_ms, flow.response_ms, flow.delay_ms, flow.execution_ms, flow.overhead_ms)
        expected += [cells(q) for q in (*quantities, flow.lag_ms, flow.submit_ms) if q.n]
    assert rows == expected


def test_operations_workers_outcomes_and_errors_are_those_of_the_summary(steady_page: SteadyPage) -> None:
    summary, drawn, page, _ = steady_page
    assert [row for row in page.rows["operations"] if row][: len(summary.operations)] == [
        [
            str(each.requests),
            str(each.most_in_10_s),
            str(each.limit),
            str(each.throttled),
            str(each.per_completed_job),
        ]
        for each in summary.operations.values()
    ]
    assert [row[0] for row in page.rows["by-worker"] if row] == [str(worker.jobs) for worker in summary.workers]
    counts = [str(n) for by_outcome in drawn.outcomes.values() for n in by_outcome.values()]
    assert [row[0] for row in page.rows["outcomes"] if row][: len(counts)] == counts
    assert [row[0] for row in page.rows["errors"] if row] == [str(cause.jobs) for cause in summary.causes]


def test_text_of_users_is_escaped(steady_page: SteadyPage) -> None:
    _, _, page, source = steady_page
    assert "is <b>that</b> stable?" in page.text
    assert "2.00 GiB </script>" in page.text
    assert "<b>" not in source.split("<script", 1)[0]


FORBIDDEN = re.compile("[^\t\n\r\x20-\x7e\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
anything = st.text(
    st.characters() | st.sampled_from("\x00\x0b\x1b\x85\ufffe\ud83d</script>&"), min_size=20, max_size=60
)


@settings(max_examples=5)
@given(anything, anything)
def test_no_text_of_others_brings_a_control_character_into_the_report(
    steady: MadeUpRun, error: str, name: str
) -> None:
    stages = [msgspec.structs.replace(stage, name=name) for stage in steady.run.stages]
    data = run_data(msgspec.structs.replace(steady.run, stages=stages, reason=error), steady.samples)
    causes = [Cause("failed", 200, 1, error, 0, name)]
    summary = msgspec.structs.replace(summarize(data), causes=causes, reason=error)
    source = report_html(data.run, summary, series(data))
    assert source.encode()
    assert FORBIDDEN.search(source.split("<script", 1)[0]) is None
    assert Page(source).outside == []


def test_invalid_run_says_so_and_a_stage_name_cannot_end_the_charts_script(steady: MadeUpRun) -> None:
    stages = [msgspec.structs.replace(stage, name="</script><b>") for stage in steady.run.stages]
    twice = {flow: [2 * n for n in counts] for flow, counts in steady.run.offered.items()}
    page = page_of(replace(steady, run=msgspec.structs.replace(steady.run, stages=stages, offered=twice)))
    assert "</script><b>" in json.dumps(json.loads(page.scripts["specs"])["load"])
    assert "due jobs were sent; the minimum is 99 %." in page.text
    assert "do not use them for a gate or a comparison" in page.text


def test_every_chart_has_a_container_and_a_text_alternative(steady_page: SteadyPage) -> None:
    _, _, page, _ = steady_page
    names = list(json.loads(page.scripts["specs"]))
    assert len(names) == len(page.labels) == 17
    assert all(label.endswith(".") for label in page.labels)
    assert {f"plot-{name}" for name in names} <= set(page.ids)


def test_every_chart_is_legal_vega_lite(steady_page: SteadyPage) -> None:
    _, _, page, _ = steady_page
    for chart in json.loads(page.scripts["specs"]).values():
        alt.LayerChart.validate(chart)


def test_report_of_a_single_job(make_run: Callable[..., MadeUpRun]) -> None:
    page = page_of(make_run(jobs=1))
    assert page.figures["Key figures"][3] == "1"
    assert "delay-histogram" in page.scripts["specs"]
    assert "delay-percentiles" not in page.scripts["specs"]
    assert "p99 needs 368 jobs" in " ".join(page.text.split())
    assert "p95 72, p98 183, p99 368, p99.9 3,688" in page.text


def test_report_of_an_aborted_run_without_a_job(steady: MadeUpRun) -> None:
    run = msgspec.structs.replace(
        steady.run, ending=Ending.ABORTED, reason="connection refused", load_started_at=None, load_ended_at=None
    )
    empty = MadeUpRun(run, SAMPLES.empty_table(), REQUESTS.empty_table(), HEALTH.empty_table())
    page = page_of(empty)
    assert "The run was aborted: connection refused." in page.text
    assert json.loads(page.scripts["specs"]) == {}


def test_report_of_a_run_in_which_no_job_completed(make_run: Callable[..., MadeUpRun]) -> None:
    made = make_run(jobs=40)
    column = made.samples.schema.get_field_index("outcome")
    failed = made.samples.set_column(column, made.samples.schema.field(column), [["failed"] * 40])
    page = page_of(MadeUpRun(made.run, failed, made.requests, made.health))
    assert "No job completed, so there is no distribution." in page.text
    assert "load" in json.loads(page.scripts["specs"])
