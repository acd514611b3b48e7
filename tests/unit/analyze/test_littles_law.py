from __future__ import annotations

import heapq
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest

from loadtest.analyze.jobs import LoadWindow, jobs_of
from loadtest.analyze.littles_law import arrival_times, littles_law
from loadtest.analyze.summarize import summarize
from loadtest.analyze.summary import Check
from loadtest.record.sample import HEALTH, REQUESTS
from tests.unit.analyze.rows import START_AT, job, run, run_data, samples

LENGTH_S = 60


def queue(seed: int, rate_per_s: float, workers: int = 6, others: int = 0) -> tuple[pa.Table, pa.Table]:
    """A queue's jobs, and what health said of it each second; `others` are jobs that no sample knows."""
    rng = np.random.default_rng(seed)
    free = [0.0] * workers
    rows, entered, taken_at, left = [], [], [], []
    for seq, at in enumerate(np.sort(rng.uniform(0, LENGTH_S, rng.poisson(rate_per_s * LENGTH_S)))):
        taken = max(float(at), heapq.heappop(free))
        execution = float(rng.lognormal(np.log(0.2), 0.4))
        heapq.heappush(free, taken + execution)
        entered.append(at)
        taken_at.append(taken)
        left.append(taken + execution)
        rows.append(
            job(seq, at, sent_at=START_AT + at - 0.002, accepted_at=START_AT + at + 0.002,
                delay_ms=round((taken - at) * 1000), execution_ms=round(execution * 1000),
                finished_at=START_AT + taken + execution + 0.05)
        )  # fmt: skip
    asked = np.arange(0.5, LENGTH_S)

    def between(begins: list[float], ends: list[float]) -> list[int]:
        return [int(np.sum((np.array(begins) <= at) & (at < np.array(ends)))) for at in asked]

    waiting, served = between(entered, taken_at), between(taken_at, left)
    health = [
        {"at": START_AT + at, "in_queue": queued + others, "in_progress": busy}
        for at, queued, busy in zip(asked, waiting, served, strict=True)
    ]
    return samples(*rows), pa.Table.from_pylist(health, HEALTH)


@pytest.mark.parametrize("rate_per_s", [10, 25, 40])
def test_health_and_samples_agree_below_and_beyond_saturation(rate_per_s: float) -> None:
    for seed in range(5):
        table, health = queue(seed, rate_per_s)
        law = littles_law(jobs_of(table), health, LoadWindow(START_AT, START_AT + LENGTH_S))
        assert law.evidence == "health"
        assert law.residual == pytest.approx(0, abs=0.02)


def test_jobs_of_others_and_rows_that_are_missing_show() -> None:
    load = LoadWindow(START_AT, START_AT + LENGTH_S)
    table, health = queue(1, 25, others=3)
    law = littles_law(jobs_of(table), health, load)
    assert law.residual == pytest.approx(3 / law.in_flight_mean, abs=0.02)
    table, health = queue(2, 25)
    every_fifth = [row for row in table.to_pylist() if row["seq"] % 5]
    assert littles_law(jobs_of(samples(*every_fifth)), health, load).residual == pytest.approx(0.2, abs=0.05)


def test_health_that_is_some_seconds_old_is_no_disagreement_even_in_a_growing_queue() -> None:
    table, health = queue(3, 40)
    stale = pa.Table.from_pylist([row | {"at": row["at"] + 3} for row in health.to_pylist()], HEALTH)
    law = littles_law(jobs_of(table), stale, LoadWindow(START_AT, START_AT + LENGTH_S))
    assert law.residual == pytest.approx(0, abs=0.02)


def check_of(table: pa.Table, health: pa.Table) -> Check:
    of = run(load_ended_at=START_AT + LENGTH_S, ended_at=START_AT + LENGTH_S + 5, offered={})
    checks = summarize(run_data(of, table, REQUESTS.empty_table(), health=health)).validity.checks
    return next(check for check in checks if check.name == "little's law")


def gauge(health: pa.Table, jobs_at: Callable[[int], int]) -> pa.Table:
    """Return health with a count of waiting jobs that is a function of the probe's number."""
    rows = enumerate(health.to_pylist())
    return pa.Table.from_pylist([row | {"in_queue": jobs_at(n), "in_progress": 0} for n, row in rows], HEALTH)


def test_agreement_is_neither_invalid_nor_a_warning() -> None:
    check = check_of(*queue(4, 25))
    assert (check.ok, check.warning) == (True, False)


def test_jobs_of_another_client_are_a_warning_by_name_and_leave_the_run_valid() -> None:
    check = check_of(*queue(4, 25, others=3))
    assert (check.ok, check.warning) == (True, True)
    assert "The endpoint has more: another client may be using the endpoint." in check.detail


@pytest.mark.parametrize("jobs_at", [lambda n: 0, lambda n: n % 2], ids=["always 0", "0 and 1 in turn"])
def test_a_gauge_that_is_wrong_is_a_warning_and_leaves_the_run_valid(jobs_at: Callable[[int], int]) -> None:
    table, health = queue(4, 25)
    check = check_of(table, gauge(health, jobs_at))
    assert (check.ok, check.warning) == (True, True)
    assert "The endpoint has fewer: its count may be stale, cached or wrong." in check.detail


def test_probes_at_which_nobody_sees_a_job_agree() -> None:
    rows = [
        job(seq, seq + 0.1, sent_at=START_AT + seq + 0.1, accepted_at=None, execution_ms=50, delay_ms=0,
            finished_at=START_AT + seq + 0.2)
        for seq in range(LENGTH_S) for _ in range(30)
    ]  # fmt: skip
    probes = [{"at": START_AT + second, "in_queue": 0, "in_progress": 0} for second in range(LENGTH_S)]
    law = littles_law(
        jobs_of(samples(*rows)), pa.Table.from_pylist(probes, HEALTH), LoadWindow(START_AT, START_AT + LENGTH_S)
    )
    assert (law.evidence, law.residual, law.noise) == ("health", 0, 0)


def test_job_enters_halfway_through_its_submission_or_at_the_send_for_runsync() -> None:
    rows = [
        job(0, 0.0, sent_at=START_AT, accepted_at=START_AT + 0.01),
        job(1, 0.0, sent_at=START_AT, accepted_at=START_AT + 90, flow="runsync"),
        job(2, 0.0, job_id=None, accepted_at=None),
    ]
    assert arrival_times(jobs_of(samples(*rows))) == pytest.approx([START_AT + 0.005, START_AT, np.nan], nan_ok=True)


def test_with_few_health_probes_the_law_is_not_checked() -> None:
    table, health = queue(5, 25)
    for few in (HEALTH.empty_table(), health.slice(0, 9)):
        law = littles_law(jobs_of(table), few, LoadWindow(START_AT, START_AT + LENGTH_S))
        assert (law.evidence, law.residual, law.detail[:11]) == ("samples", None, "Not checked")
        assert law.time_in_system_mean_s is not None
        assert law.in_flight_mean == pytest.approx(law.arrivals_per_s * law.time_in_system_mean_s)


def test_few_jobs_in_flight_raise_no_false_alarm() -> None:
    alarms = 0
    for seed in range(100):
        table, health = queue(seed, 8)
        rng = np.random.default_rng(seed)
        # Askings see moments some 5 ms beside what the client thinks.
        moved = [row | {"at": row["at"] + float(rng.normal(0, 0.005))} for row in health.to_pylist()[:12]]
        law = littles_law(jobs_of(table), pa.Table.from_pylist(moved, HEALTH), LoadWindow(START_AT, START_AT + 12))
        alarms += law.residual is not None and law.noise is not None and abs(law.residual) - law.noise > 0.05
    assert alarms <= 1
