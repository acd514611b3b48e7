"""Properties of the endpoint under any calls, and under queueing theory."""

from __future__ import annotations

import math
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadtest.endpoint.endpoint import Endpoint
from loadtest.endpoint.job import Job, milliseconds, to_response
from loadtest.endpoint.settings import EndpointSettings
from loadtest.protocol.operations import FINAL, JobState, Op

SETTINGS = st.fixed_dictionaries(
    {
        "workers": st.sampled_from(
            [
                {"active": 1, "max": 1},
                {"active": 0, "max": 3},
                {"active": 2, "max": 4},
                {"active": 1, "max": 2, "concurrency": 3},
            ]
        ),
        "slowdown": st.sampled_from([{}, {"3": 1.5}]),
        "scaler": st.sampled_from([{"queue_delay": "1s"}, {"queue_delay": "0s"}, {"request_count": 2}]),
        "service": st.sampled_from(["0s", "700ms", {"median": "1s", "sigma": 0.8}]),
        "failure_rate": st.sampled_from(["0 %", "30 %"]),
        "crash_rate": st.sampled_from(["0 %", "30 %"]),
        "policy": st.sampled_from(
            [
                {},
                {"execution_timeout": "1500ms", "timeout_outcome": "FAILED"},
                {"execution_timeout": "1s", "timeout_stops_worker": False},
                {"ttl": "4s"},
            ]
        ),
        "idle_timeout": st.sampled_from(["0s", "2s"]),
        "take_pause": st.sampled_from(
            ["0s", "1s", {"duration": "500ms", "blocking_handler": True}, {"after_job": "100ms"}]
        ),
        "cold_start": st.sampled_from(["0s", "3s"]),
        "revival": st.sampled_from([None, {"duration": "200ms", "within": "4s"}]),
    }
).filter(
    lambda config: (
        (config["take_pause"] == "0s" or config["idle_timeout"] != "0s")
        and ("concurrency" not in config["workers"] or config["take_pause"] in ("0s", {"after_job": "100ms"}))
    )
)
GAPS_S = st.integers(0, 192).map(lambda ticks: ticks / 64)  # sums of these are exact
CALLS = st.lists(
    st.tuples(st.sampled_from(["run", "run", "run", "runsync", "cancel", "retry", "purge", "look"]), GAPS_S),
    max_size=60,
)

Ends = list[tuple[Job, JobState]]
"""Jobs in the order in which they ended, each with its state; a retried one ends more than once."""


def reported(config: dict[str, object], calls: list[tuple[str, float]]) -> tuple[Endpoint, list[Job], Ends]:
    """Carry the calls out; return the endpoint, its jobs in order of submission, and its ended jobs."""
    model = Endpoint(EndpointSettings.model_validate(config), 3, 1.0)
    jobs: list[Job] = []
    ended: Ends = []
    now = 1.0
    for call, gap_s in calls:
        now += gap_s
        if call in ("run", "runsync"):
            jobs.append(model.submit(Op(call), now))
        elif call == "cancel" and jobs:
            model.cancel(jobs[len(jobs) // 2].id, now)
        elif call == "retry" and jobs:
            model.advance(now)
            ended += [(job, job.state) for job in model.drain_ended()]
            model.retry(jobs[len(jobs) // 3].id, now)
        elif call == "purge":
            model.purge(now)
        counts = model.health(now).workers
        assert counts.idle + counts.running + counts.initializing <= config["workers"]["max"]  # type: ignore[index]
        ended += [(job, job.state) for job in model.drain_ended()]
    model.advance(now + 500)
    return model, jobs, ended + [(job, job.state) for job in model.drain_ended()]


@settings(deadline=None)
@given(SETTINGS, CALLS)
def test_the_invariants_hold_for_any_calls(config: dict[str, object], calls: list[tuple[str, float]]) -> None:
    model, jobs, ended = reported(config, calls)
    no_job_is_lost_and_each_ends_once(model, jobs, ended)
    jobs_are_taken_first_come_first_served(jobs)
    endpoint = EndpointSettings.model_validate(config)
    a_worker_has_no_more_jobs_than_its_concurrency_within_its_shifts(model, jobs, endpoint)
    the_answers_times_agree_with_the_rounded_truth(jobs, max(endpoint.slowdowns()))


def no_job_is_lost_and_each_ends_once(model: Endpoint, jobs: list[Job], ended: Ends) -> None:
    ends = Counter(job.id for job, _ in ended)
    assert ends == {job.id: 1 + job.retries for job in jobs}
    assert all(job.state in FINAL for job in jobs)
    assert model.unfinished() == []
    counts = model.health(1e6).jobs
    assert (counts.in_queue, counts.in_progress) == (0, 0)
    assert counts.completed == sum(state is JobState.COMPLETED for _, state in ended)
    assert counts.failed == sum(state is JobState.FAILED for _, state in ended)
    assert counts.retried >= sum(job.retries for job in jobs)


def jobs_are_taken_first_come_first_served(jobs: list[Job]) -> None:
    taken = [job.taken_at for job in jobs if job.taken_at is not None and not (job.requeues or job.retries)]
    assert taken == sorted(taken)


def a_worker_has_no_more_jobs_than_its_concurrency_within_its_shifts(
    model: Endpoint, jobs: list[Job], endpoint: EndpointSettings
) -> None:
    concurrency, pause = endpoint.workers.concurrency, endpoint.take_pause
    for worker in model.workers:
        mine = sorted((job for job in jobs if job.worker_id == worker.id), key=lambda job: job.taken_at or 0.0)
        spans = [(job.taken_at or 0.0, job.finished_at or math.inf) for job in mine]
        for (start, _), (next_start, _) in zip(spans, spans[concurrency:], strict=False):
            assert next_start - start >= pause.duration - 1e-9
        for start, _ in spans:
            assert sum(begun <= start < end + pause.after_job - 1e-9 for begun, end in spans) <= concurrency
        for start, end in spans:
            assert any(
                shift.started_at <= start and (shift.stopped_at is None or end <= shift.stopped_at)
                for shift in worker.shifts
            )


def the_answers_times_agree_with_the_rounded_truth(jobs: list[Job], slowest: float) -> None:
    for job in jobs:
        seen = to_response(job)
        if job.taken_at is None or job.finished_at is None:
            assert seen.delay_ms is None
            continue
        assert seen.delay_ms is not None
        assert seen.execution_ms is not None
        assert milliseconds(job.submitted_at) + seen.delay_ms + seen.execution_ms == milliseconds(job.finished_at)
        whole = job.service_s - 1e-9 <= job.finished_at - job.taken_at <= job.service_s * slowest + 1e-9
        assert whole or job.state in (JobState.CANCELLED, JobState.TIMED_OUT) or (job.state is JobState.FAILED)


@settings(deadline=None)
@given(SETTINGS, CALLS, st.lists(GAPS_S, max_size=5))
def test_results_do_not_depend_on_when_they_are_read(
    config: dict[str, object], calls: list[tuple[str, float]], looks: list[float]
) -> None:
    watched: list[tuple[str, float]] = []
    for call, gap_s in calls:
        stops = [0.0, *sorted(at for at in looks if at <= gap_s)]
        watched += [("look", after - before) for before, after in pairwise(stops)]
        watched.append((call, gap_s - stops[-1]))
    stories = [
        [(job.id, job.state, job.worker_id, job.taken_at, job.finished_at) for job in reported(config, each)[1]]
        for each in (calls, watched)
    ]
    assert stories[0] == stories[1]


def erlang_c(servers: int, offered: float) -> float:
    """P(wait) of M/M/c: B = Erlang B by recursion, C = B / (1 − ρ(1 − B))."""
    blocked = 1.0
    for server in range(1, servers + 1):
        blocked = offered * blocked / (server + offered * blocked)
    return blocked / (1 - offered / servers * (1 - blocked))


def test_waiting_agrees_with_erlang_c() -> None:
    servers, rate, service_s, jobs = 4, 3.2, 1.0, 40_000
    rng = np.random.default_rng(5)
    values = [f"{value:.6f}s" for value in rng.exponential(service_s, 20_000)]
    config = {"workers": {"active": servers, "max": servers}, "service": values}
    model = Endpoint(EndpointSettings.model_validate(config), 5, 0.0)
    arrivals = np.cumsum(rng.exponential(1 / rate, jobs)).tolist()
    submitted = [model.submit(Op.RUN, at) for at in arrivals]
    model.advance(arrivals[-1] + 1000)
    waits = np.array([math.nan if job.taken_at is None else job.taken_at - job.submitted_at for job in submitted])
    expected = erlang_c(servers, rate * service_s)
    assert np.mean(waits > 0) == pytest.approx(expected, rel=0.06)
    assert np.mean(waits) == pytest.approx(expected * service_s / (servers - rate * service_s), rel=0.12)
