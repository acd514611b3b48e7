"""Workers with several jobs at once, with exact times and under queueing theory."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from loadtest.endpoint.endpoint import Endpoint
from loadtest.endpoint.job import Job
from loadtest.endpoint.settings import EndpointSettings
from loadtest.protocol.operations import JobState, Op


def endpoint(**settings: object) -> Endpoint:
    settings = {"workers": {"active": 1, "max": 1, "concurrency": 4}, "service": "8s", **settings}
    return Endpoint(EndpointSettings.model_validate(settings), 1, 0.0)


def ended(model: Endpoint, *at_s: float) -> list[Job]:
    jobs = [model.submit(Op.RUN, at) for at in at_s]
    model.advance(1000.0)
    return jobs


def test_jobs_of_one_worker_run_side_by_side_up_to_its_concurrency() -> None:
    jobs = ended(endpoint(), *[0.0] * 5)
    assert [job.taken_at for job in jobs] == [0.0] * 4 + [8.0]
    assert [job.finished_at for job in jobs] == [8.0] * 4 + [16.0]


def test_each_job_progresses_at_the_speed_that_their_number_allows() -> None:
    # One alone for 4 s, two at half speed for 8 s: the first is done; the second has 4 s left, alone again.
    first, second = ended(endpoint(slowdown={1: 1, 4: 4}), 0.0, 4.0)
    assert (first.finished_at, second.finished_at) == (12.0, 16.0)


def test_factors_between_two_points_lie_on_a_straight_line_and_one_job_alone_needs_no_point() -> None:
    settings = EndpointSettings.model_validate({"workers": {"concurrency": 3}, "slowdown": {3: 2.0}})
    assert settings.slowdowns()[1:] == [1.0, 1.5, 2.0]


def test_a_cancelled_job_speeds_up_the_others() -> None:
    model = endpoint(slowdown={4: 4})
    jobs = [model.submit(Op.RUN, 0.0) for _ in range(2)]
    model.cancel(jobs[0].id, 8.0)
    model.advance(100.0)
    assert jobs[1].finished_at == 12.0


def test_a_job_slowed_past_its_execution_timeout_times_out() -> None:
    model = endpoint(slowdown={4: 4}, policy={"execution_timeout": "10s"})
    alone, *together = ended(model, 0.0, 100.0, 100.0)
    assert alone.state is JobState.COMPLETED
    assert [(job.state, job.finished_at) for job in together] == [(JobState.TIMED_OUT, 110.0)] * 2


def test_a_worker_that_dies_gives_all_its_jobs_back() -> None:
    model = endpoint(workers={"active": 1, "max": 1, "concurrency": 3}, crash_rate="100 %", tries=2, cold_start="1s")
    jobs = ended(model, 0.0, 0.0, 0.0)
    assert all(job.requeues == 2 for job in jobs)
    assert all(job.state is JobState.FAILED for job in jobs)


def test_the_next_job_goes_to_the_active_worker_with_the_fewest_jobs() -> None:
    model = endpoint(workers={"active": 2, "max": 2, "concurrency": 4})
    jobs = ended(model, 0.0, 1.0, 2.0, 3.0)
    by_worker = {job.worker_id for job in jobs[:2]}, {job.worker_id for job in jobs[2:]}
    assert [len(each) for each in by_worker] == [2, 2]


def test_a_slot_is_free_only_when_the_result_was_sent() -> None:
    model = endpoint(workers={"active": 1, "max": 1, "concurrency": 2}, take_pause={"after_job": "500ms"})
    assert [job.taken_at for job in ended(model, 0.0, 1.0, 2.0, 2.0)] == [0.0, 1.0, 8.5, 9.5]


def test_chunks_come_later_while_another_job_runs_and_sooner_once_it_is_done() -> None:
    chunks = {"count": 4, "first": "1s", "gap": "1s"}
    model = endpoint(service=None, chunks=chunks, slowdown={4: 4})
    # Alone until 1 s, two at half speed until the first has its four chunks (7 s), then alone again.
    first, second = ended(model, 0.0, 1.0)
    assert first.chunk_times() == [1.0, 3.0, 5.0, 7.0]
    assert second.chunk_times() == [3.0, 5.0, 7.0, 8.0]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"slowdown": {1: 1.0, 2: 1.5}}, "slowdown ends at 2 jobs, but a worker takes 4; add its factor there"),
        ({"slowdown": {1: 2.0, 4: 3.0}}, "a job alone takes 1 time as long as it takes, not 2"),
        ({"take_pause": "1s"}, "is of workers that take one job at a time, but workers.concurrency is 4"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        endpoint(**settings)


@pytest.mark.parametrize("service", ["100ms", {"median": "60.65ms", "sigma": 1.0}])
def test_equal_sharing_gives_the_mean_time_of_processor_sharing_whatever_the_distribution(service: object) -> None:
    """M/G/1-PS: E[T] = E[S] / (1 − ρ), insensitive to the distribution (Kleinrock 1976, equation 4.17)."""
    many = 60
    model = endpoint(
        workers={"active": 1, "max": 1, "concurrency": many}, slowdown={1: 1, many: many}, service=service
    )
    arrivals_s = np.cumsum(np.random.default_rng(5).exponential(0.1 / 0.6, 60_000))
    jobs = ended(model, *arrivals_s.tolist())
    model.advance(float(arrivals_s[-1]) + 100)
    took_s = np.array([job.finished_at - job.submitted_at for job in jobs if job.finished_at is not None])
    assert took_s[5000:].mean() == pytest.approx(0.1 / 0.4, rel=0.05)
