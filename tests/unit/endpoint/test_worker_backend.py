"""The scheduler with a backend that is not simulated: ends of jobs are not known in advance."""

from __future__ import annotations

import math

import msgspec
import pytest

from loadtest.endpoint.endpoint import Endpoint
from loadtest.endpoint.fleet import StartKind, Worker
from loadtest.endpoint.job import Job
from loadtest.endpoint.scheduler import JobScheduler
from loadtest.endpoint.settings import EndpointSettings
from loadtest.protocol.client_messages import Chunk, Submission
from loadtest.protocol.operations import JobState, Op


class RecordingBackend:
    """A backend that only records the scheduler's calls."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, ...]] = []

    def prepare(self, job: Job, submission: Submission) -> None:
        job.input = submission.input

    def prepare_retry(self, job: Job) -> None:
        self.calls.append(("again", job.id))

    def on_start(self, scheduler: JobScheduler, worker: Worker, how: StartKind) -> None:
        self.calls.append(("start", worker.id, how.value))

    def on_stop(self, worker: Worker) -> None:
        self.calls.append(("stop", worker.id))

    def on_work_available(self, scheduler: JobScheduler) -> None:
        pass

    def on_job_revoked(self, scheduler: JobScheduler, worker: Worker, job: Job) -> None:
        self.calls.append(("drop", worker.id, job.id))

    def on_timeout(self, scheduler: JobScheduler, worker: Worker) -> None:
        self.calls.append(("stop at timeout", worker.id))
        scheduler.worker_lost(worker)

    def chunks(self, job: Job, now: float) -> list[Chunk]:
        return []

    def drain_rescheduled(self) -> list[Job]:
        return []

    def next_due_at(self) -> float:
        return math.inf

    def step(self, scheduler: JobScheduler) -> None:
        raise AssertionError("nothing is ever due")


DONE = msgspec.Raw(b'"done"')


def opened(**settings: object) -> tuple[Endpoint, RecordingBackend]:
    backend = RecordingBackend()
    return Endpoint(EndpointSettings.model_validate(settings), 1, 0.0, backend), backend


def test_an_active_worker_starts_gets_a_job_and_completes_it() -> None:
    model, backend = opened(workers={"active": 1, "max": 1})
    (worker,) = model.workers
    assert backend.calls == [("start", worker.id, "warm")]
    assert model.health(1.0).workers.initializing == 1
    job = model.submit(Op.RUN, 1.0, Submission(msgspec.Raw(b'{"n":1}')))
    model.advanced_to(3.0).ready(worker)
    assert job.state is JobState.IN_QUEUE
    assert model.advanced_to(3.5).assign_next(worker) is job
    assert bytes(job.input) == b'{"n":1}'
    model.advanced_to(5.0).complete(job, DONE)
    assert (job.taken_at, job.finished_at, job.worker_id) == (3.5, 5.0, worker.id)
    assert model.advanced_to(5.0).assign_next(worker) is None
    assert model.drain_ended() == [job]
    assert model.next_due_at() == 5.0 + 1800


def test_a_lost_worker_with_several_jobs_returns_them_in_order() -> None:
    model, backend = opened(workers={"active": 1, "max": 1})
    (worker,) = model.workers
    model.advanced_to(0.0).ready(worker)
    jobs = [model.submit(Op.RUN, 0.0) for _ in range(3)]
    assert [model.advanced_to(1.0).assign_next(worker) for _ in range(2)] == jobs[:2]
    assert model.health(1.0).jobs.in_progress == 2
    assert model.health(1.0).workers.running == 1
    model.advanced_to(2.0).worker_lost(worker)
    (_, other) = model.workers
    assert backend.calls[1:] == [("start", other.id, "cold"), ("again", jobs[1].id), ("again", jobs[0].id)]
    assert model.health(2.0).jobs.retried == 2
    model.advanced_to(4.0).ready(other)
    assert [model.advanced_to(4.0).assign_next(other) for _ in range(4)] == [*jobs, None]


def test_cancel_and_timeout_reach_the_worker() -> None:
    model, backend = opened(workers={"active": 1, "max": 1}, policy={"execution_timeout": "5s"})
    (worker,) = model.workers
    model.advanced_to(0.0).ready(worker)
    first, second = model.submit(Op.RUN, 0.0), model.submit(Op.RUN, 0.0)
    model.advanced_to(0.0).assign_next(worker)
    model.cancel(first.id, 1.0)
    model.advanced_to(1.0).assign_next(worker)
    model.advance(6.0)
    assert second.state is JobState.TIMED_OUT
    _, replacement = model.workers
    assert backend.calls[1:] == [
        ("drop", worker.id, first.id),
        ("stop at timeout", worker.id),
        ("start", replacement.id, "cold"),
    ]


@pytest.mark.parametrize("scaler", [{"queue_delay": "4s"}, {"request_count": 1}])
def test_flex_workers_are_started_by_the_scaler_stopped_when_idle_and_revived(scaler: dict[str, object]) -> None:
    model, backend = opened(workers={"active": 0, "max": 2}, scaler=scaler, idle_timeout="2s")
    job = model.submit(Op.RUN, 0.0)
    model.advance(4.0)
    (worker,) = model.workers
    model.advanced_to(10.0).ready(worker)
    model.advanced_to(10.0).assign_next(worker)
    model.advanced_to(11.0).complete(job, DONE)
    model.advance(13.0)
    model.submit(Op.RUN, 20.0)
    model.advance(24.0)
    assert backend.calls == [("start", worker.id, "cold"), ("stop", worker.id), ("start", worker.id, "revived")]


def test_a_worker_lost_while_starting_or_idle_is_not_counted() -> None:
    model, _ = opened(workers={"active": 0, "max": 2}, scaler={"request_count": 1})
    model.submit(Op.RUN, 0.0)
    model.submit(Op.RUN, 0.0)
    starting, idle = model.workers
    scheduler = model.advanced_to(1.0)
    scheduler.ready(idle)
    scheduler.worker_lost(idle)
    scheduler.worker_lost(starting)
    counts = model.health(1.0).workers
    assert (counts.idle, counts.running, counts.initializing) == (0, 0, 1), "another, for the jobs that wait"
    assert [starting.up, idle.up] == [False, False]
