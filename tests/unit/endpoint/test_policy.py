"""Time limits, priority, retries and workers that die, with exact times."""

from __future__ import annotations

import msgspec
import pytest

from loadtest.endpoint.endpoint import Endpoint
from loadtest.endpoint.job import Job, to_response
from loadtest.endpoint.settings import EndpointSettings
from loadtest.protocol.client_messages import Submission, decode_job, decode_submission
from loadtest.protocol.operations import JobState, Op


def endpoint(**settings: object) -> Endpoint:
    settings = {"workers": {"active": 1, "max": 1}, "service": "20s", **settings}
    return Endpoint(EndpointSettings.model_validate(settings), 1, 0.0)


def asking(**policy: object) -> Submission:
    return decode_submission(msgspec.json.encode({"input": 1, "policy": policy}))


def shown(job: Job) -> tuple[str, int | None, int | None, bytes, bytes]:
    seen = decode_job(msgspec.json.encode(to_response(job)))
    return seen.status, seen.delay_ms, seen.execution_ms, bytes(seen.output), bytes(seen.error)


@pytest.mark.parametrize("overdue", ["TIMED_OUT", "FAILED"])
def test_a_job_past_its_execution_timeout_ends_and_its_worker_goes_on_if_that_is_set(overdue: str) -> None:
    model = endpoint(policy={"timeout_outcome": overdue, "timeout_stops_worker": False})
    late, next_one = model.submit(Op.RUN, 0.0, asking(executionTimeout=5000)), model.submit(Op.RUN, 0.0)
    model.advance(5.0)
    assert shown(late) == (overdue, 0, 5000, b"", b'"executionTimeout exceeded"')
    assert next_one.taken_at == 5.0
    assert model.job(late.id, 6.0) is late
    assert model.health(6.0).jobs.failed == (overdue == "FAILED")


@pytest.mark.parametrize("active", [0, 1])
def test_a_job_past_its_execution_timeout_stops_its_worker_and_the_next_waits_for_a_cold_start(active: int) -> None:
    workers = {"active": active, "max": 1, "concurrency": 3}
    model = endpoint(workers=workers, cold_start="7s", scaler={"request_count": 1}, service="8s")
    submitted = [model.submit(Op.RUN, 0.0, asking(executionTimeout=5000)) for _ in range(2)]
    model.advance(7.0 - 7.0 * active)
    began = submitted[0].taken_at
    assert began is not None
    neighbour, waiting = (model.submit(Op.RUN, began + 1.0) for _ in range(2))
    model.advance(100.0)
    assert [(job.state, job.finished_at) for job in submitted] == [(JobState.TIMED_OUT, began + 5.0)] * 2
    assert {job.taken_at for job in (neighbour, waiting)} == {began + 5.0 + 7.0}
    assert (neighbour.state, neighbour.requeues) == (JobState.COMPLETED, 1)
    stopped, replacement = model.workers
    assert stopped.shifts[0].stopped_at == replacement.shifts[0].started_at == began + 5.0
    assert replacement.shifts[0].ready_at == began + 12.0


def test_a_job_that_ends_at_its_deadline_has_met_it() -> None:
    model = endpoint(service="5s")
    job = model.submit(Op.RUN, 0.0, asking(executionTimeout=5000))
    model.advance(100.0)
    assert job.state is JobState.COMPLETED


def test_the_default_timeout_is_the_endpoint_s() -> None:
    model = endpoint(policy={"execution_timeout": "3s"})
    job = model.submit(Op.RUN, 0.0)
    assert model.next_due_at() == 3.0
    model.advance(3.0)
    assert (job.state, job.finished_at) == (JobState.TIMED_OUT, 3.0)


def test_a_job_past_its_time_to_live_is_removed_whether_it_waited_or_ran() -> None:
    model = endpoint()
    ran, waited = (model.submit(Op.RUN, 1.0, asking(ttl=10_000)) for _ in range(2))
    assert model.job(waited.id, 10.9) is waited
    model.advance(11.0)
    assert model.drain_ended() == [ran, waited]
    assert all(job.expired and model.job(job.id, 11.0) is None for job in (ran, waited))
    assert model.submit(Op.RUN, 12.0).taken_at == 12.0
    assert model.health(12.0).jobs.in_queue == 0


def test_a_result_is_kept_longer_than_the_time_to_live() -> None:
    model = endpoint(service="1s")
    job = model.submit(Op.RUN, 0.0, asking(ttl=10_000))
    assert model.job(job.id, 60.0) is job
    assert not job.expired


@pytest.mark.parametrize("scaler", [{"queue_delay": "1s"}, {"request_count": 1}])
def test_jobs_of_low_priority_start_no_worker(scaler: dict[str, object]) -> None:
    model = endpoint(workers={"active": 0, "max": 2}, scaler=scaler, cold_start="1s")
    low = model.submit(Op.RUN, 0.0, asking(lowPriority=True))
    assert model.health(50.0).workers.initializing == 0
    model.submit(Op.RUN, 50.0)
    model.advance(53.0)
    assert (low.taken_at, len(model.workers)) == (52.0 if "queue_delay" in scaler else 51.0, 1)


def test_a_retried_job_keeps_its_id_and_starts_again() -> None:
    model = endpoint(failure_rate="100 %", service="2s", retention={"run": "30s"})
    job = model.submit(Op.RUN, 0.0)
    model.advance(2.0)
    assert model.drain_ended() == [job]
    assert model.retry(job.id, 10.0) is job
    assert (shown(job), job.taken_at) == (("IN_PROGRESS", 0, None, b"", b""), 10.0)
    model.advance(12.0)
    assert model.drain_ended() == [job]
    assert model.job(job.id, 41.9) is job, "the first result's time is over, the second's is not"
    assert model.job(job.id, 42.0) is None


@pytest.mark.parametrize("state", [JobState.COMPLETED, JobState.CANCELLED, JobState.IN_PROGRESS])
def test_only_failed_and_timed_out_jobs_are_retried(state: JobState) -> None:
    model = endpoint(service="2s")
    job = model.submit(Op.RUN, 0.0)
    if state is JobState.CANCELLED:
        model.cancel(job.id, 1.0)
    at = 3.0 if state is JobState.COMPLETED else 1.0
    assert model.retry(job.id, at) is job
    assert job.state is state
    assert model.retry("no such job", at) is None


def test_a_retried_job_is_not_ended_by_its_earlier_deadline() -> None:
    model = endpoint(service="20s", policy={"execution_timeout": "5s"})
    job = model.submit(Op.RUN, 0.0)
    model.advance(5.0)
    model.retry(job.id, 18.0)
    model.advance(22.0)
    assert job.state is JobState.IN_PROGRESS
    model.advance(23.0)
    assert (job.state, job.retries) == (JobState.TIMED_OUT, 1)


def test_a_retry_does_not_change_later_jobs() -> None:
    distribution = {"median": "1s", "sigma": 0.5}
    models = [endpoint(service=distribution, failure_rate="100 %") for _ in range(2)]
    first = [model.submit(Op.RUN, 0.0) for model in models]
    models[0].retry(first[0].id, 100.0)
    assert len({model.submit(Op.RUN, 200.0).service_s for model in models}) == 1


def test_a_worker_that_dies_returns_its_job_and_an_active_one_is_replaced_cold() -> None:
    model = endpoint(crash_rate="100 %", cold_start="3s", tries=2)
    job, waiting = model.submit(Op.RUN, 0.0), model.submit(Op.RUN, 0.0)
    died_at = job.crashes_after_s
    assert 0 < died_at < 20
    model.advance(died_at)
    assert (job.state, job.requeues, waiting.state) == (JobState.IN_QUEUE, 1, JobState.IN_QUEUE)
    counts = model.health(died_at)
    assert (counts.jobs.retried, counts.jobs.in_queue, counts.jobs.in_progress) == (1, 2, 0)
    assert (counts.workers.initializing, counts.workers.running) == (1, 0)
    model.advance(died_at + 3.0)
    assert job.taken_at == died_at + 3.0, "it waits before all others"
    model.advance(1000.0)
    assert shown(job)[0] == shown(waiting)[0] == "FAILED"
    assert b"worker died" in bytes(job.error)
    assert [worker.up for worker in model.workers] == [False] * 4 + [True]
    assert model.drain_ended() == [job, waiting]


def test_a_flex_worker_that_died_is_not_revived() -> None:
    flex = {"active": 0, "max": 1}
    model = endpoint(workers=flex, crash_rate="100 %", cold_start="3s", scaler={"request_count": 1}, tries=2)
    model.submit(Op.RUN, 0.0)
    model.advance(1000.0)
    assert len(model.workers) == 2
    assert all(len(worker.shifts) == 1 for worker in model.workers)


@pytest.mark.parametrize(
    "scaler", [{"request_count": 1}, {"queue_delay": "1s"}], ids=["request count", "queue delay"]
)
def test_a_waiting_job_is_served_after_the_only_worker_died_of_a_job_that_is_not_retried(
    scaler: dict[str, object],
) -> None:
    model = endpoint(workers={"active": 0, "max": 1}, crash_rate="100 %", cold_start="3s", scaler=scaler, tries=1)
    jobs = [model.submit(Op.RUN, at) for at in (0.0, 5.0, 5.0)]
    model.advance(1000.0)
    assert [job.state for job in jobs] == [JobState.FAILED] * 3
