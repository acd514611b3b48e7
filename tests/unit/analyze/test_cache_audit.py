"""The audit of repeated inputs: what a cache does to their times, and what it does not claim."""

from __future__ import annotations

from collections.abc import Callable
from io import StringIO
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from loadtest.analyze.cache_audit import repeat_audits
from loadtest.analyze.run_data import RunData
from loadtest.analyze.series import series
from loadtest.analyze.stats.shares import excess, share_interval
from loadtest.analyze.summarize import summarize
from loadtest.analyze.summary import RepeatAudit
from loadtest.errors import ScenarioError
from loadtest.report.pages.run import report_html
from loadtest.report.summary_text import repeats_text
from loadtest.report.terminal.preview import preview_lines
from loadtest.report.terminal.run import print_result
from loadtest.scenario.loading.load import load_scenario
from loadtest.scenario.model import Scenario
from loadtest.scenario.preview import preview
from tests.unit.analyze import rows

JOBS, EVERY = 1200, 4
LOAD = {"arrivals": "constant", "stages": [{"rate": "10/s", "for": f"{JOBS // 10}s"}]}
TEMPLATE = {"template": "${uuid}"}
Change = Callable[[int, dict[str, Any]], dict[str, Any]]


def asked(**changes: Any) -> Scenario:
    return rows.scenario(**{"load": LOAD, "flows": {"run": {"inputs": TEMPLATE, "repeat_every": EVERY}}} | changes)


def timed(
    seq: int, execution_ms: float, flow: str = "run", process: int = 0, at_s: float | None = None
) -> dict[str, Any]:
    at_s = seq / 10 if at_s is None else at_s
    finished_at = rows.START_AT + at_s + 0.02 + execution_ms / 1000
    return rows.job(
        seq, at_s, flow=flow, process=process, execution_ms=round(execution_ms), delay_ms=5, finished_at=finished_at
    )


def audited(change: Change, scenario: Scenario | None = None) -> tuple[RepeatAudit, set[int], RunData]:
    """Return the audit of a run whose repeats are changed, and the numbers of the repeats."""
    scenario = scenario or asked()
    plan = scenario.repeat_plan("run", scenario.schedule())
    assert plan is not None
    repeats = set(plan.pairs(JOBS)[0].tolist())
    rng = np.random.default_rng(8)
    jobs = [timed(seq, float(rng.lognormal(5, 0.4))) for seq in range(JOBS)]
    jobs = [change(seq, job) if seq in repeats else job for seq, job in enumerate(jobs)]
    data = rows.run_data(rows.run(scenario), rows.samples(*jobs))
    return repeat_audits(data)["run"], repeats, data


def cached(share: float, execution_ms: float = 2.0) -> Change:
    """Return a change that answers exactly this share of the repeats from a cache."""
    met = count()
    return lambda seq, job: timed(seq, execution_ms) if next(met) * share % 1 >= 1 - share else job


@pytest.mark.parametrize("share", [0.07, 0.25, 1.0])
def test_share_of_repeats_from_a_cache_is_within_its_interval(share: float) -> None:
    audit, repeats, _ = audited(cached(share))
    assert audit.repeats + audit.too_early == len(repeats) == JOBS // EVERY - 1
    assert audit.too_early < 10
    assert audit.new == JOBS - len(repeats)
    times = audit.times["execution_ms"]
    assert times.faster
    assert times.faster_share_interval is not None
    low, high = times.faster_share_interval
    assert 0 < low <= share <= high
    assert high - low < 0.2
    assert "a cache answers them" in repeats_text(audit)


def test_without_a_cache_none_is_claimed() -> None:
    claimed = 0
    for seed in range(20):
        audit, _, _ = audited(lambda seq, job: job, asked(seed=seed))
        claimed += any(times.faster for times in audit.times.values())
        share = audit.times["execution_ms"].faster_share_interval
        ratio = audit.times["execution_ms"].ratio_interval
        assert share is not None
        assert ratio is not None
        assert ratio[0] < 1 < ratio[1]
    assert claimed <= 1
    assert repeats_text(audit).endswith("no cache shows")


def test_repeats_that_are_all_a_little_faster_show_in_the_ratio() -> None:
    audit, _, _ = audited(lambda seq, job: timed(seq, job["execution_ms"] * 0.7))
    times = audit.times["execution_ms"]
    assert times.faster
    assert times.ratio_interval is not None
    low, high = times.ratio_interval
    assert low < 0.7 < high < 1


def test_repeats_sent_before_the_end_of_their_first_job_are_not_compared() -> None:
    scenario = asked()
    plan = scenario.repeat_plan("run", scenario.schedule())
    assert plan is not None
    _, sources = plan.pairs(JOBS)
    late = int(sources[0])
    repeats_of_it = int((sources == late).sum())
    jobs = [timed(seq, 50 if seq != late else 10_000_000) for seq in range(JOBS)]
    audit = repeat_audits(rows.run_data(rows.run(scenario), rows.samples(*jobs)))["run"]
    assert audit.too_early == repeats_of_it > 0
    assert audit.repeats == len(sources) - repeats_of_it
    assert f"({repeats_of_it} more were sent too early)" in repeats_text(audit)


def test_inputs_of_a_file_that_is_used_up_are_not_new() -> None:
    lines = {"lines": [{"n": n} for n in range(100)]}
    audit, _, _ = audited(lambda seq, job: job, asked(flows={"run": {"inputs": lines, "repeat_every": EVERY}}))
    assert audit.new <= 100


def test_each_process_of_a_closed_load_numbers_its_own_jobs() -> None:
    load = {"model": "closed", "stages": [{"users": 4, "for": "60s"}]}
    scenario = asked(load=load)
    plan = scenario.repeat_plan("run", None)
    assert plan is not None
    repeats = set(plan.pairs(400)[0].tolist())
    jobs = [
        timed(seq, 5 if seq in repeats else 50, process=process, at_s=seq / 10)
        for process in (0, 1)
        for seq in range(400)
    ]
    audit = repeat_audits(rows.run_data(rows.run(scenario), rows.samples(*jobs)))["run"]
    assert (audit.repeats, audit.new) == (2 * len(repeats), 2 * (400 - len(repeats)))
    assert audit.times["execution_ms"].faster_share == 1


def test_too_few_jobs_are_said_to_be_too_few() -> None:
    jobs = [timed(seq, 100) for seq in range(12)]
    audit = repeat_audits(rows.run_data(rows.run(asked()), rows.samples(*jobs)))["run"]
    assert repeats_text(audit) == "2 repeats of earlier inputs, too few to compare"


def test_terminal_and_report_have_the_audit_and_check_names_the_repeats() -> None:
    audit, _, data = audited(cached(0.25))
    summary = summarize(data)
    assert summary.cache_audit == {"run": audit}
    page = report_html(data.run, summary, series(data))
    assert 'id="repeats"' in page
    assert repeats_text(audit) in page
    out = StringIO()
    print_result(summary, Path("report.html"), Console(file=out, width=300))
    assert f"run: {repeats_text(audit)}" in out.getvalue()
    shown = " ".join(" ".join(preview_lines(preview(asked()), {})).split())
    assert "repeats run: one of each 4 jobs sends the input of an earlier one again" in shown


def test_a_run_without_repeats_has_no_audit() -> None:
    data = rows.run_data(rows.run(), rows.ten_jobs())
    assert repeat_audits(data) == {}
    assert 'id="repeats"' not in report_html(data.run, summarize(data), series(data))


def test_unset_repeats_leave_the_scenario_what_it_was() -> None:
    plain = rows.scenario()
    before = plain.resolved()
    del before["flows"]["run"]["repeat_every"]
    assert Scenario.model_validate(before).hash() == plain.hash()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("flows: {run: {repeat_every: 5}}", "all jobs send the same input, so each is a repeat; write inputs"),
        ("flows: {run: {input: 1, repeat_every: 1}}", "at least 2"),
        (
            "flows: {run: {inputs: {template: '${uuid}'}, repeat_every: 5}, runsync: {}}\n"
            "load: {model: closed, stages: [{users: 2, for: 5s}]}",
            "needs a scenario with one flow",
        ),
    ],
)
def test_repeats_that_could_not_be_compared_are_refused(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(text if "load:" in text else f"{text}\nload: {{stages: [{{rate: 1/s, for: 5s}}]}}\n")
    with pytest.raises(ScenarioError, match=says):
        load_scenario(path)


def test_interval_of_a_share_is_that_of_clopper_and_pearson() -> None:
    assert share_interval(0, 30, 0.025) == pytest.approx((0, 0.1157), abs=1e-4)
    assert share_interval(3, 30, 0.025) == pytest.approx((0.0211, 0.2653), abs=1e-4)
    part, (low, high) = excess(0.145, (0.11, 0.19), 0.05, (0.04, 0.06))
    assert part == pytest.approx(0.1)
    assert low < 0.1 < high
