"""A batch has the same times, to the last digit, as the whole model."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadtest.endpoint.batch import Batch, can_be_batch
from loadtest.endpoint.endpoint import Endpoint
from loadtest.endpoint.fleet import Worker
from loadtest.endpoint.job import Job
from loadtest.endpoint.settings import EndpointSettings
from loadtest.protocol.operations import Op

SETTINGS = st.fixed_dictionaries(
    {
        "workers": st.sampled_from(
            [
                {"active": 1, "max": 1},
                {"active": 0, "max": 4},
                {"active": 2, "max": 5},
                {"active": 3, "max": 3, "concurrency": 4},
                {"active": 1, "max": 3, "concurrency": 3},
            ]
        ),
        "slowdown": st.sampled_from([{}, {"4": 1.5}, {"2": 1.1, "8": 4.5}]),
        "scaler": st.sampled_from(
            [{"queue_delay": "1s"}, {"queue_delay": "0s"}, {"request_count": 1}, {"request_count": 3}]
        ),
        "service": st.sampled_from(["0s", "700ms", ["1s", "3s", "500ms"], {"median": "1s", "sigma": 0.8}]),
        "failure_rate": st.sampled_from(["0 %", "30 %"]),
        "crash_rate": st.sampled_from(["0 %", "0 %", "5 %", "40 %"]),
        "tries": st.sampled_from([1, 2, 3]),
        "idle_timeout": st.sampled_from(["200ms", "2s"]),
        "take_pause": st.sampled_from(["0s", "150ms", {"after_job": "100ms"}]),
        "cold_start": st.sampled_from(["0s", "3s", {"median": "2s", "sigma": 0.5}]),
        "revival": st.sampled_from([None, {"duration": "200ms", "within": "4s"}]),
    }
).filter(lambda config: "concurrency" not in config["workers"] or config["take_pause"] != "150ms")
GAPS_S = st.one_of(
    st.sampled_from([0.0, 0.25, 1.0, 6.0]),  # of these many things fall at the same time
    st.floats(0, 2),
)
UNTIL_S = 400.0


def described(jobs: list[Job], workers: list[Worker]) -> tuple[list[object], list[object]]:
    return (
        [(job.submitted_at, job.taken_at, job.finished_at, job.state, job.worker_id) for job in jobs],
        [(worker.id, [(shift.started_at, shift.stopped_at) for shift in worker.shifts]) for worker in workers],
    )


@given(SETTINGS, st.lists(GAPS_S, min_size=1, max_size=60), st.integers(0, 5))
@settings(max_examples=100, deadline=None)
def test_batch_is_the_whole_model(config: dict[str, object], gaps_s: list[float], seed: int) -> None:
    asked = EndpointSettings.model_validate(config)
    assert can_be_batch(asked)
    at_s = np.cumsum(gaps_s).tolist()
    batch = Batch(asked, seed, at_s)
    batch.run(UNTIL_S)
    whole = Endpoint(asked, seed, 0.0)
    jobs = [whole.submit(Op.RUN, at) for at in at_s]
    whole.advance(UNTIL_S)
    assert described(batch.jobs, batch.fleet.all_workers) == described(jobs, whole.workers)


@pytest.mark.parametrize(
    "others",
    [{"service": None, "chunks": {"count": 2, "first": "1s"}}, {"output": "no"}, {"payloads": {"run": "1 MB"}}],
)
def test_settings_that_a_batch_does_not_follow_need_the_whole_model(others: dict[str, object]) -> None:
    assert not can_be_batch(EndpointSettings.model_validate({"service": "1s"} | others))


@pytest.mark.parametrize(
    ("service", "gap_s", "within"),
    [
        ("4900ms", 6.0, True),
        ("5s", 6.0, False),
        ("4900ms", 0.0, False),  # the fifth job would wait for 19.6 s
    ],
)
def test_jobs_that_reach_a_time_limit_need_the_whole_model(service: str, gap_s: float, within: bool) -> None:
    limits = EndpointSettings.model_validate(
        {
            "policy": {"execution_timeout": "5s", "ttl": "20s"},
            "service": service,
            "workers": {"active": 1, "max": 1},
        }
    )
    batch = Batch(limits, 1, [gap_s * job for job in range(5)])
    batch.run(0.0)
    assert batch.within_policy() is within


def test_try_that_dies_after_the_execution_timeout_needs_the_whole_model() -> None:
    limits = {"policy": {"execution_timeout": "5s"}, "service": ["60s", "1s"], "crash_rate": "50 %", "tries": 9}
    asked = EndpointSettings.model_validate({**limits, "workers": {"active": 9, "max": 9}, "cold_start": "0s"})
    for seed in range(99):
        batch = Batch(asked, seed, [0.0])
        batch.run(0.0)
        [job] = batch.jobs
        taken_at, finished_at = job.taken_at or 0.0, job.finished_at or 0.0
        if job.requeues == 1 and taken_at > 5 and finished_at - taken_at < 5:
            break
    assert (job.requeues, taken_at > 5, finished_at - taken_at < 5) == (1, True, True)
    assert not batch.within_policy()
