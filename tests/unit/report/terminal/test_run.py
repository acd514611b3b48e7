from __future__ import annotations

from io import StringIO
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from loadtest.analyze.series import series
from loadtest.analyze.summarize import summarize
from loadtest.analyze.summary import Cause, Check, CheckId, GateResult, Summary, Validity, Verdict
from loadtest.record.run import Ending
from loadtest.record.sample import REQUESTS, SAMPLES
from loadtest.report.ci.markdown import markdown
from loadtest.report.formatting import milliseconds
from loadtest.report.pages.run import report_html
from loadtest.report.terminal.run import print_result
from loadtest.scenario.metrics import Metric
from tests.conftest import MadeUpRun
from tests.unit.analyze.rows import run_data


def printed(summary: Summary, report: str = "reports/a/report.html") -> list[str]:
    out = StringIO()
    print_result(summary, Path(report), Console(file=out, width=80))
    return out.getvalue().splitlines()


def test_result_fits_80_columns_without_colour(steady: MadeUpRun) -> None:
    summary = summarize(run_data(steady.run, steady.samples, steady.requests))
    lines = printed(summary)
    assert lines[0].startswith("PASS  ")
    row = next(line for line in lines if line.startswith("runsync")).split()
    flow = summary.flows["runsync"]
    assert row[1:3] == [str(flow.jobs), str(flow.completed)]
    for q in (flow.delay_ms, flow.execution_ms, flow.end_to_end_ms):
        assert f"{milliseconds(q.p50):>7} {milliseconds(q.p95):>7}" in " ".join(lines)
    assert lines[-1] == "report  reports/a/report.html"
    assert max(map(len, lines)) <= 80
    assert "\x1b" not in "".join(lines)


def test_the_effective_number_is_next_to_n_if_it_is_clearly_less(steady: MadeUpRun) -> None:
    summary = summarize(run_data(steady.run, steady.samples, steady.requests))
    verdict, unit = Verdict.INCONCLUSIVE, Metric.DELAY.spec.unit
    gates = [
        GateResult("delay p95 < 2s", 700.0, 2000.0, 1234, verdict, "", Metric.DELAY, unit, None, each)
        for each in (55.4, 1200.0, None)
    ]
    lines = [line for line in printed(msgspec.structs.replace(summary, gates=gates)) if line.startswith("delay p95")]
    assert ["(55 effective)" in line for line in lines] == [True, False, False]
    assert all("1,234" in line and len(line) <= 80 for line in lines)


def test_why_jobs_did_not_complete_is_below_the_verdict(steady: MadeUpRun) -> None:
    summary = summarize(run_data(steady.run, steady.samples, steady.requests))
    causes = [
        Cause("rejected", 403, 7, "no \x1b[31maccess\x07\r\nhere \x9b2J", 3, None),
        Cause("censored", None, 1, "", 4, None),
    ]
    failing = msgspec.structs.replace(summary, causes=causes, jobs={"completed": 2, "rejected": 7, "censored": 1})
    lines = printed(failing)
    start = lines.index("") + 1
    assert lines[start : start + 3] == [
        "7 of 10 jobs ended as rejected (HTTP 403): no \ufffd[31maccess\ufffd here \ufffd2J",
        "1 of 10 jobs ended as censored: unfinished at the end of the run, or at the job ",
        "timeout",
    ]


def test_unknown_figure_is_a_dash_and_failed_checks_are_listed(steady: MadeUpRun) -> None:
    few = summarize(run_data(steady.run, steady.samples.slice(0, 5), REQUESTS.empty_table()))
    limiter = Check("rate limited", False, 1, 0.01, "Half of all requests were answered 429.")
    few = msgspec.structs.replace(few, validity=Validity(False, [*few.validity.checks, limiter]))
    lines = printed(few)
    assert next(line for line in lines if line.startswith("run ")).split().count("–") == 6
    assert lines[0].startswith("INVALID  The measurement is not valid: ")
    assert "p50 needs 6 jobs, p95 needs 72 jobs" in lines
    # The check in the reason is not listed again.
    warnings = [line for line in lines if line.startswith("not valid: ")]
    assert len(warnings) == 2
    assert warnings[-1] == f"not valid: {limiter.detail}"


@pytest.mark.parametrize(("reason", "message"), [("no answer", "no answer."), ("no answer; is it up?", "is it up?")])
def test_run_without_a_job_has_no_table(steady: MadeUpRun, reason: str, message: str) -> None:
    empty = msgspec.structs.replace(steady.run, ending=Ending.ABORTED, reason=reason)
    lines = printed(summarize(run_data(empty, SAMPLES.empty_table(), REQUESTS.empty_table())))
    assert lines[0].startswith("ABORTED  The run was aborted: no answer")
    assert lines[0].endswith(message)
    assert not any(line.startswith("run ") for line in lines)


def test_path_is_never_broken(steady: MadeUpRun) -> None:
    summary = summarize(run_data(steady.run, steady.samples, steady.requests))
    path = "reports/" + "long/" * 30 + "report.html"
    assert printed(summary, path)[-1] == f"report  {path}"


def test_warnings_are_listed_and_leave_the_verdict(steady: MadeUpRun) -> None:
    summary = summarize(run_data(steady.run, steady.samples, steady.requests))
    doubt = Check(CheckId.LITTLES_LAW, True, 0.3, 0.05, "The endpoint has more.", warning=True)
    checks = [*summary.validity.checks, doubt]
    warned = msgspec.structs.replace(summary, validity=Validity(valid=True, checks=checks))
    lines = printed(warned)
    assert lines[0].startswith("PASS  ")
    assert [line for line in lines if line.startswith(("warning: ", "not valid: "))] == [
        "warning: The endpoint has more."
    ]
    assert "| little's law | The endpoint has more. |" in markdown(warned)
    assert 'warning</span></td><th scope="row">little&#39;s law' in report_html(
        steady.run, warned, series(run_data(steady.run, steady.samples, steady.requests))
    )
