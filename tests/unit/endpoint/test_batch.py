"""A batch has the same times, to the last digit, as the whole model."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadtest.endpoint.batch import Batch, can_be_batch, within_policy
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
@settings(max_examples=60, deadline=None)
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
    [{"crash_rate": "1 %"}, {"service": None, "chunks": {"count": 2, "first": "1s"}}, {"tries": 2}],
)
def test_settings_that_a_batch_does_not_follow_need_the_whole_model(others: dict[str, object]) -> None:
    assert not can_be_batch(EndpointSettings.model_validate({"service": "1s"} | others))


def test_jobs_that_reach_a_time_limit_need_the_whole_model() -> None:
    limits = EndpointSettings.model_validate({"policy": {"execution_timeout": "5s", "ttl": "20s"}})
    assert within_policy(limits, np.array([0.0, 12.0]), np.array([4.9, 4.9]))
    assert not within_policy(limits, np.array([0.0, 12.0]), np.array([4.9, 5.0]))
    assert not within_policy(limits, np.array([0.0, 16.0]), np.array([4.9, 4.9]))
