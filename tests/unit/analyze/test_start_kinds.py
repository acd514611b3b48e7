"""Kinds of starts follow from delays alone; the endpoint model knows which jobs waited for a worker."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pytest

from loadtest.analyze.jobs import JobColumns, jobs_of
from loadtest.analyze.start_kinds import CLASSES, UNKNOWN, StartClassification, start_kinds, start_summary
from loadtest.endpoint.endpoint import EMPTY_SUBMISSION, Endpoint
from loadtest.endpoint.job import Job as ServerJob
from loadtest.endpoint.settings import EndpointSettings
from loadtest.flows.job_flow import JobFlow, run_and_poll
from loadtest.flows.submissions import run_submission
from loadtest.protocol.client_messages import Submission
from loadtest.protocol.operations import Op
from loadtest.record.sample import SAMPLES, Sample
from loadtest.scenario.loading.load import load_scenario
from loadtest.traffic.arrivals import draw_schedule
from loadtest.traffic.polling import PollGroup, PollPacer
from loadtest.traffic.settings import OpenLoad, Polling
from tests.unit.analyze.rows import job, samples
from tests.unit.flows.virtual import VirtualWire

WARM, REVIVED, COLD = range(3)
REVIVAL = {"duration": {"median": "500ms", "sigma": 0.3}, "within": "60s"}
BY_COUNT = {"scaler": {"request_count": 1}, "idle_timeout": "5s", "service": "1s"}
BURST = {
    "workers": {"active": 0, "max": 8}, "scaler": {"request_count": 4}, "cold_start": {"median": "6s", "sigma": 0.2},
    "revival": REVIVAL, "service": {"median": "300ms", "sigma": 0.4},
}  # fmt: skip


class KeepingEndpoint(Endpoint):
    """Keeps its jobs, and when each worker became ready."""

    def __init__(self, settings: dict[str, Any]) -> None:
        super().__init__(EndpointSettings.model_validate(settings), 1, 0.0)
        self.kept: dict[str, ServerJob] = {}

    def submit(self, op: Op, now: float, submission: Submission = EMPTY_SUBMISSION) -> ServerJob:
        submitted = super().submit(op, now, submission)
        self.kept[submitted.id] = submitted
        return submitted

    def kind(self, job_id: str) -> int:
        """A job waited for a start if its worker's shift began before it was taken and after the last job's end."""
        mine = self.kept[job_id]
        worker = next(each for each in self.workers if each.id == mine.worker_id)
        assert mine.taken_at is not None
        shifts = [shift for shift in worker.shifts if shift.started_at <= mine.taken_at]
        earlier = [
            each.taken_at
            for each in self.kept.values()
            if each.worker_id == worker.id and each.taken_at is not None
            and shifts[-1].started_at <= each.taken_at < mine.taken_at
        ]  # fmt: skip
        # The first job of a shift that did not wait met a worker that was up; active workers always are.
        if earlier or mine.taken_at - mine.submitted_at < 1e-9 or shifts[-1].started_at == 0.0:
            return WARM
        return COLD if len(shifts) == 1 else REVIVED


def poisson(rng: np.random.Generator, rate_per_s: float, span_s: float, start_s: float = 1.0) -> list[float]:
    n = int(rate_per_s * span_s)
    return (start_s + np.cumsum(rng.exponential(1 / rate_per_s, n))).tolist()


def driven(settings: dict[str, Any], arrivals_s: list[float]) -> tuple[pa.Table, list[int]]:
    """The samples of jobs that were run and polled at these times, and each one's true kind."""
    endpoint = KeepingEndpoint(settings)
    wire = VirtualWire(endpoint)
    pacer = PollPacer(Polling(), math.inf, PollGroup())
    rows = [Sample(seq, "run", at) for seq, at in enumerate(sorted(arrivals_s))]
    for row in rows:
        wire.drive(run_and_poll(JobFlow(row, run_submission({}), pacer, 1e5)), row)
    wire.run()
    table = pa.Table.from_pylist([msgspec.to_builtins(row) for row in rows], SAMPLES)
    return table, [endpoint.kind(row.job_id) for row in rows if row.job_id is not None]


RNG = np.random.default_rng(1)
BUSY = [at for start in (0, 600, 1200) for at in poisson(RNG, 0.8, 400, start + 1)]
CASES: dict[str, tuple[dict[str, Any], list[float], set[int]]] = {
    "bursts": (BURST, poisson(RNG, 15, 20) + poisson(RNG, 15, 20, 41), {WARM, REVIVED, COLD}),
    "now and then": (
        {**BY_COUNT, "workers": {"active": 0, "max": 5}, "revival": REVIVAL}, poisson(RNG, 0.15, 5000),
        {WARM, REVIVED, COLD},
    ),
    "by queue delay": (
        {"workers": {"active": 1, "max": 5}, "cold_start": {"median": "20s", "sigma": 0.3}, "revival": REVIVAL,
         "service": "2s"}, BUSY, {WARM, REVIVED, COLD},
    ),
    "no revivals": (
        {**BY_COUNT, "workers": {"active": 0, "max": 5}, "revival": None}, poisson(RNG, 0.15, 3000), {WARM, COLD},
    ),
    "stopped soon": (
        {**BY_COUNT, "workers": {"active": 0, "max": 4}, "idle_timeout": "1s", "revival": REVIVAL},
        poisson(RNG, 0.15, 3000), {WARM, REVIVED, COLD},
    ),
    "always up": ({"workers": {"active": 5, "max": 5}, "service": "1s"}, poisson(RNG, 4.5, 300), {WARM}),
}  # fmt: skip


def as_seen(truth: list[int], jobs: JobColumns) -> list[int]:
    """A worker that started, took no job, stopped and was revived is not seen before, and looks new."""
    order = np.argsort(jobs.intended_at + jobs.delay_ms / 1000, kind="stable")
    _, first = np.unique(jobs.worker[order], return_index=True)
    new = set(order[first].tolist())
    return [COLD if kind == REVIVED and index in new else kind for index, kind in enumerate(truth)]


@pytest.mark.parametrize("name", CASES)
def test_nearly_all_jobs_are_classed_as_the_endpoint_served_them(name: str) -> None:
    settings, arrivals_s, kinds = CASES[name]
    table, truth = driven(settings, arrivals_s)
    jobs = jobs_of(table)
    assert set(truth) == kinds
    assert np.mean(start_kinds(jobs).kind == as_seen(truth, jobs)) >= 0.98
    revives = EndpointSettings.model_validate(settings).revival is not None
    assert np.mean(start_kinds(jobs, revives).kind == as_seen(truth, jobs)) >= 0.99


def test_each_class_has_its_figures_and_its_share_of_the_cost() -> None:
    table = samples(
        job(0, 0.0, worker_id="a", delay_ms=9000, execution_ms=1000),
        job(1, 20.0, worker_id="a", delay_ms=5, execution_ms=1000),
        job(2, 40.0, worker_id="a", delay_ms=600, execution_ms=400),
        job(3, 50.0, worker_id=None),
        job(4, 55.0, outcome="failed", worker_id="a"),
    )
    jobs = jobs_of(table)
    classed = start_kinds(jobs)
    assert classed.kind.tolist() == [COLD, WARM, REVIVED, UNKNOWN, UNKNOWN]
    starts = start_summary(jobs, classed, price=0.001)
    assert starts is not None
    assert [starts.classes[name].jobs for name in CLASSES] == [1, 1, 1]
    assert starts.unknown == 1
    assert starts.classes["cold"].delay_ms.max == 9000
    assert starts.classes["cold"].cost_share == pytest.approx(10 / 12)
    assert sum(each.share for each in starts.classes.values()) == pytest.approx(1)
    assert starts.detail == "2 jobs waited for a worker to start; revived and cold are divided at a delay of 2324 ms."


def test_without_workers_or_jobs_nothing_is_classed() -> None:
    for table in (samples(), samples(job(0, 0.0, worker_id=None)), samples(job(0, 0.0, outcome="failed"))):
        jobs = jobs_of(table)
        assert start_summary(jobs, start_kinds(jobs), None) is None


def test_a_job_behind_others_waited_in_the_queue_however_long() -> None:
    rows = [job(seq, 0.0, worker_id="a", delay_ms=2000 * seq, execution_ms=2000) for seq in range(20)]
    assert start_kinds(jobs_of(samples(*rows))).kind.tolist() == [WARM] * 20


def test_cost_is_unknown_without_a_price() -> None:
    jobs = jobs_of(samples(job(0, 0.0)))
    starts = start_summary(jobs, StartClassification(np.zeros(1, np.int8), 100.0, None), None)
    assert starts is not None
    assert starts.classes["warm"].cost_share is None


def test_scenario_for_cold_starts_has_all_three_kinds_and_they_are_distinguished() -> None:
    scenario = load_scenario(Path(__file__).parents[3] / "scenarios" / "cold-start.yaml")
    assert isinstance(scenario.load, OpenLoad)
    arrivals_s = draw_schedule(scenario.load, {"run": 1.0}, scenario.seed).at_s
    table, truth = driven(scenario.resolved()["endpoint"], (arrivals_s + 1.0).tolist())
    jobs = jobs_of(table)
    assert np.bincount(truth, minlength=3).min() >= 3
    assert start_kinds(jobs).kind.tolist() == as_seen(truth, jobs)


def test_a_job_that_waits_for_the_pause_of_the_sdk_met_a_warm_worker() -> None:
    rows = [
        job(seq, 2.0 * (seq // 2), worker_id="a", delay_ms=1000 * (seq % 2), execution_ms=50) for seq in range(40)
    ]
    assert start_kinds(jobs_of(samples(*rows))).kind.tolist() == [WARM] * 40


def starts_of(*delays_s: float, worker: str = "", apart_s: float = 10_000.0) -> JobColumns:
    """Jobs far apart, each on a worker of its own unless one is named, which waited this long for it to start."""
    rows = [
        job(seq, apart_s * seq, worker_id=worker or f"w{seq}", delay_ms=round(delay_s * 1000))
        for seq, delay_s in enumerate(delays_s)
    ]
    return jobs_of(samples(*rows))


@pytest.mark.parametrize("sigma", [0.1, 0.5, 1.0])
def test_a_workers_first_start_is_never_a_revival(sigma: float) -> None:
    for seed in range(5):
        times_s = 10 * np.random.default_rng(seed).lognormal(0, sigma, 300)
        for revives in (None, True, False):
            assert start_kinds(starts_of(*times_s), revives).kind.tolist() == [COLD] * 300


def test_starts_of_one_group_are_all_cold_though_their_workers_were_seen_before() -> None:
    times_s = 5 * np.random.default_rng(1).lognormal(0, 0.4, 40)
    assert start_kinds(starts_of(*times_s, worker="a")).kind.tolist() == [COLD] * 40


def test_an_endpoint_that_the_run_started_says_whether_workers_come_back() -> None:
    jobs = starts_of(9, *[0.6] * 30, worker="a")
    assert start_kinds(jobs, revives=True).kind.tolist() == [COLD] + [REVIVED] * 30
    assert start_kinds(jobs, revives=False).kind.tolist() == [COLD] * 31


def test_a_first_start_on_a_new_host_is_named() -> None:
    rng = np.random.default_rng(1)
    cold_s = rng.uniform(39, 81, 30).tolist()
    for new_s in ([2267.0], [600.0, 900.0, 2267.0]):
        jobs = starts_of(*new_s, *cold_s)
        classed = start_kinds(jobs)
        assert classed.on_new_host(jobs).tolist() == [True] * len(new_s) + [False] * 30
        starts = start_summary(jobs, classed, None)
        assert starts is not None
        assert starts.new_host == len(new_s)
        assert "a first start on a new host" in starts.detail
    ordinary = starts_of(*cold_s)
    assert not start_kinds(ordinary).on_new_host(ordinary).any()
    with_revivals = starts_of(*[0.5] * 60, 45, 46, 40, 44, 1500, worker="a")
    assert start_kinds(with_revivals).new_host_from_ms is None  # the worker had been seen before
