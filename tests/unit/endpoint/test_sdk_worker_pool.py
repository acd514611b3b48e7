"""Real workers in virtual time: their requests, and the loss of those that are silent."""

from __future__ import annotations

import math

import msgspec
import pytest

from loadtest.endpoint.endpoint import Endpoint
from loadtest.endpoint.job import Job
from loadtest.endpoint.scheduler import JobScheduler
from loadtest.endpoint.sdk_worker import LEASE_S, READY_WITHIN_S, STOP_WITHIN_S, ExitReason, ProcessAction
from loadtest.endpoint.sdk_worker_pool import BACK_OFF_S, SdkWorkerPool
from loadtest.endpoint.settings import EndpointSettings
from loadtest.protocol.client_messages import Chunk
from loadtest.protocol.operations import JobState, Op
from loadtest.protocol.worker_messages import Result

DONE = Result(msgspec.Raw(b'"done"'))


class PoolEndpoint:
    """An endpoint with real workers, each played by the test; `at` moves the time on."""

    def __init__(self, active: int = 1, most: int = 1, **settings: object) -> None:
        workers = {"active": active, "max": most}
        config = EndpointSettings.model_validate({"workers": workers, "revival": None, **settings})
        self.pool = SdkWorkerPool(0.0 if config.revival is None else config.revival.within)
        self.model = Endpoint(config, 1, 0.0, backend=self.pool)

    def at(self, now: float) -> JobScheduler:
        return self.model.advanced_to(now)

    def actions(self, now: float) -> list[tuple[str, ProcessAction]]:
        self.model.advance(now)
        return [(command.worker.id, command.do) for command in self.pool.drain_commands()]

    def exits(self, now: float) -> list[tuple[str, ExitReason | None]]:
        self.model.advance(now)
        return [(command.worker.id, command.why) for command in self.pool.drain_commands()]

    def launched(self, now: float) -> list[str]:
        return [worker_id for worker_id, why in self.exits(now) if why is None]

    def take(self, worker_id: str, now: float, jobs: int = 1, busy: bool = False) -> list[Job]:
        self.pool.open_take(self.at(now), worker_id, jobs, busy)
        return self.pool.close_take(worker_id)

    def done(self, worker_id: str, job: Job, now: float, result: Result = DONE) -> None:
        self.pool.job_result(self.at(now), worker_id, job.id, result)

    def keep_alive(self, worker_id: str, until: float, *running: Job) -> None:
        now = self.model.advanced_to(0.0).now
        while (now := now + 1.0) < until:
            self.pool.ping(worker_id, [job.id for job in running], self.at(now).now)


def test_a_worker_is_ready_from_its_first_take_and_gets_jobs_while_a_take_is_open() -> None:
    endpoint = PoolEndpoint()
    (worker,) = endpoint.launched(0.0)
    assert endpoint.model.health(2.0).workers.initializing == 1
    assert endpoint.take(worker, 2.0) == []
    job = endpoint.model.submit(Op.RUN, 3.0)
    assert job.state is JobState.IN_QUEUE  # its take has been answered, and it has not asked again
    endpoint.pool.open_take(endpoint.at(3.5), worker, 1, False)
    assert endpoint.pool.has_jobs_or_left(worker)
    assert (job.taken_at, job.worker_id) == (3.5, worker)
    assert endpoint.pool.close_take(worker) == [job]
    endpoint.done(worker, job, 4.0)
    assert (job.state, job.finished_at, bytes(job.output)) == (JobState.COMPLETED, 4.0, b'"done"')


def test_a_batch_has_the_requested_size_and_jobs_go_to_the_worker_with_the_fewest() -> None:
    endpoint = PoolEndpoint(active=2, most=2)
    first, second = endpoint.launched(0.0)
    jobs = [endpoint.model.submit(Op.RUN, 1.0) for _ in range(5)]
    assert endpoint.take(first, 2.0, jobs=2) == jobs[:2]
    endpoint.pool.open_take(endpoint.at(2.0), first, 1, True)
    assert endpoint.pool.close_take(first) == [jobs[2]]
    endpoint.done(first, jobs[0], 3.0)
    assert endpoint.take(second, 3.0) == [jobs[3]]
    assert endpoint.model.health(3.0).jobs.in_progress == 3
    endpoint.done(first, jobs[1], 3.0)
    endpoint.done(first, jobs[2], 3.0)
    endpoint.done(second, jobs[3], 3.0)
    assert endpoint.take(first, 3.0) == [jobs[4]]
    for worker in (second, first):
        endpoint.pool.open_take(endpoint.at(3.5), worker, 3, True)
    job = endpoint.model.submit(Op.RUN, 4.0)
    assert job.worker_id == second  # the other has one already


def test_a_silent_worker_loses_its_job_and_is_replaced_after_the_back_off() -> None:
    endpoint = PoolEndpoint()
    (worker,) = endpoint.launched(0.0)
    job = endpoint.model.submit(Op.RUN, 0.0)
    endpoint.take(worker, 1.0)
    endpoint.keep_alive(worker, 5.0, job)  # the last ping at 4 s
    assert endpoint.exits(4.0 + LEASE_S - 0.01) == []
    assert endpoint.exits(4.0 + LEASE_S) == [(worker, ExitReason.SILENT)]
    assert (job.state, job.requeues, endpoint.model.health(9.0).jobs.retried) == (JobState.IN_QUEUE, 1, 1)
    (other,) = endpoint.launched(4.0 + LEASE_S + BACK_OFF_S[0])
    assert endpoint.take(other, 12.0) == [job]
    endpoint.done(worker, job, 12.5)  # too late: it is another's now
    assert job.state is JobState.IN_PROGRESS
    endpoint.done(other, job, 13.0)
    assert job.state is JobState.COMPLETED


def test_losses_in_a_row_delay_launches_increasingly_until_a_job_is_done() -> None:
    endpoint = PoolEndpoint()
    waits, now = [], 0.0
    for _ in range(7):
        (worker,) = endpoint.launched(math.nextafter(now, math.inf))
        endpoint.take(worker, now)
        endpoint.pool.exited(endpoint.at(now), worker)
        due = endpoint.model.next_due_at()
        assert due is not None
        waits.append(due - now)
        now = due
    assert waits == [1, 2, 4, 8, 16, 30, 30]
    (worker,) = endpoint.launched(now)
    job = endpoint.model.submit(Op.RUN, now)
    assert endpoint.take(worker, now) == [job]
    endpoint.done(worker, job, now)
    endpoint.pool.exited(endpoint.at(now), worker)
    assert endpoint.launched(now + 0.9) == []
    assert len(endpoint.launched(now + 1.0)) == 1


def test_a_job_fails_when_enough_workers_have_died_of_it() -> None:
    endpoint = PoolEndpoint(tries=2)
    job, now = endpoint.model.submit(Op.RUN, 0.0), 0.0
    for _ in range(2):
        now += 10.0
        (worker,) = endpoint.launched(now)
        assert endpoint.take(worker, now) == [job]
        endpoint.pool.exited(endpoint.at(now), worker)
    assert (job.state, job.requeues) == (JobState.FAILED, 2)


def test_waiting_jobs_get_a_new_worker_when_the_last_flex_worker_dies() -> None:
    endpoint = PoolEndpoint(active=0, most=1, tries=1)
    deadly, waiting = (endpoint.model.submit(Op.RUN, 0.0) for _ in range(2))
    (worker,) = endpoint.launched(4.0)
    assert endpoint.take(worker, 5.0) == [deadly]
    endpoint.pool.exited(endpoint.at(6.0), worker)
    (other,) = endpoint.launched(6.0 + BACK_OFF_S[0])
    assert endpoint.take(other, 8.0) == [waiting]


def test_a_job_past_its_execution_timeout_ends_its_workers_process() -> None:
    endpoint = PoolEndpoint(policy={"execution_timeout": "5s"})
    (worker,) = endpoint.launched(0.0)
    job, waiting = (endpoint.model.submit(Op.RUN, 0.0) for _ in range(2))
    assert endpoint.take(worker, 0.0) == [job]
    endpoint.keep_alive(worker, 4.0, job)
    (ended, (other, launched)) = endpoint.exits(5.0)
    assert (ended, launched) == ((worker, ExitReason.OVERDUE), None)
    assert job.state is JobState.TIMED_OUT
    assert endpoint.take(other, 6.0) == [waiting]


@pytest.mark.parametrize("how", ["cancel", "timeout"])
def test_the_stop_channel_sends_a_running_job_that_was_cancelled_or_timed_out(how: str) -> None:
    endpoint = PoolEndpoint(policy={"execution_timeout": "5s", "timeout_stops_worker": False})
    (worker,) = endpoint.launched(0.0)
    job = endpoint.model.submit(Op.RUN, 0.0)
    endpoint.take(worker, 0.0)
    endpoint.keep_alive(worker, 4.0, job)
    if how == "cancel":
        endpoint.model.cancel(job.id, 4.0)
    endpoint.pool.ping(worker, [job.id], endpoint.at(5.0).now)
    assert job.state is (JobState.CANCELLED if how == "cancel" else JobState.TIMED_OUT)
    assert endpoint.pool.has_stop_requests(worker)
    assert endpoint.pool.jobs_to_stop(worker) == [job.id]
    assert not endpoint.pool.has_stop_requests(worker)
    endpoint.pool.ping(worker, [job.id], endpoint.at(5.5).now)
    assert endpoint.pool.jobs_to_stop(worker) == [job.id]  # the first request came too early and is repeated
    endpoint.keep_alive(worker, 20.0)  # its pings no longer name the job
    assert endpoint.exits(20.0) == []


def test_a_worker_that_ignores_a_stop_request_is_ended_and_no_job_is_requeued() -> None:
    endpoint = PoolEndpoint()
    (worker,) = endpoint.launched(0.0)
    job = endpoint.model.submit(Op.RUN, 0.0)
    endpoint.take(worker, 0.0)
    endpoint.model.cancel(job.id, 1.0)
    endpoint.pool.jobs_to_stop(worker)
    endpoint.keep_alive(worker, 1.0 + STOP_WITHIN_S, job)
    assert endpoint.exits(1.0 + STOP_WITHIN_S) == [(worker, ExitReason.STUCK)]
    assert endpoint.model.health(7.0).jobs.retried == 0


def test_a_worker_that_asks_to_be_refreshed_leaves_once_its_other_jobs_are_done() -> None:
    endpoint = PoolEndpoint()
    (worker,) = endpoint.launched(0.0)
    jobs = [endpoint.model.submit(Op.RUN, 0.0) for _ in range(3)]
    assert endpoint.take(worker, 1.0, jobs=2) == jobs[:2]
    endpoint.done(worker, jobs[0], 2.0, Result(msgspec.Raw(b"1"), stop_worker=True))
    assert endpoint.take(worker, 2.0, busy=True) == []
    assert endpoint.exits(2.0) == []
    endpoint.done(worker, jobs[1], 3.0)
    (left, (other, launch)) = endpoint.exits(3.0)
    assert (left, launch) == ((worker, ExitReason.REFRESH), None)
    assert endpoint.take(other, 4.0) == [jobs[2]]


def test_a_result_with_an_error_has_failed_and_progress_does_not_end_a_job() -> None:
    endpoint = PoolEndpoint()
    (worker,) = endpoint.launched(0.0)
    job = endpoint.model.submit(Op.RUN, 0.0)
    endpoint.take(worker, 0.0)
    endpoint.done(worker, job, 1.0, Result(msgspec.Raw(b'"half"'), status="IN_PROGRESS"))
    assert (job.state, bytes(job.output)) == (JobState.IN_PROGRESS, b'"half"')
    endpoint.done(worker, job, 2.0, Result(error=msgspec.Raw(b'"no memory"')))
    assert (job.state, bytes(job.error)) == (JobState.FAILED, b'"no memory"')


def test_posted_chunks_are_read_once_each_and_dropped_when_the_job_is_requeued() -> None:
    endpoint = PoolEndpoint()
    (worker,) = endpoint.launched(0.0)
    job = endpoint.model.submit(Op.RUN, 0.0)
    endpoint.take(worker, 0.0)
    chunks = [Chunk(msgspec.Raw(b"%d" % n)) for n in range(3)]
    for chunk in chunks[:2]:
        endpoint.pool.add_chunk(endpoint.at(1.0), worker, job.id, chunk)
    assert job.next_chunk_at() is not None
    assert endpoint.model.read_stream(job.id, 1.0) == chunks[:2]
    assert job.next_chunk_at() is None
    endpoint.pool.exited(endpoint.at(2.0), worker)
    (other,) = endpoint.launched(4.0)
    endpoint.take(other, 4.0)
    endpoint.pool.add_chunk(endpoint.at(4.0), other, job.id, chunks[2])
    assert endpoint.model.read_stream(job.id, 5.0) == chunks[2:]


def test_an_idle_flex_worker_ends_after_the_idle_timeout_and_is_billed_until_then() -> None:
    endpoint = PoolEndpoint(active=0, most=1, scaler={"request_count": 1}, idle_timeout="5s")
    job = endpoint.model.submit(Op.RUN, 10.0)
    (worker,) = endpoint.launched(10.0)
    endpoint.take(worker, 12.0)
    endpoint.done(worker, job, 13.0)
    endpoint.keep_alive(worker, 17.5)
    assert endpoint.exits(18.0) == [(worker, ExitReason.IDLE)]
    (flex,) = endpoint.model.workers
    assert [(shift.started_at, shift.stopped_at) for shift in flex.shifts] == [(10.0, 18.0)]


def test_a_disconnected_take_ends_the_worker_only_if_a_job_was_assigned_to_it() -> None:
    endpoint = PoolEndpoint()
    (worker,) = endpoint.launched(0.0)
    endpoint.pool.open_take(endpoint.at(1.0), worker, 1, False)
    endpoint.pool.take_disconnected(endpoint.at(2.0), worker)
    assert endpoint.exits(2.0) == []
    endpoint.pool.open_take(endpoint.at(3.0), worker, 1, False)
    job = endpoint.model.submit(Op.RUN, 4.0)
    endpoint.pool.take_disconnected(endpoint.at(4.0), worker)
    assert endpoint.exits(4.0) == [(worker, ExitReason.BROKEN)]
    assert (job.state, job.requeues) == (JobState.IN_QUEUE, 1)


def test_a_worker_that_never_asks_for_a_job_counts_as_lost() -> None:
    endpoint = PoolEndpoint()
    (worker,) = endpoint.launched(0.0)
    assert endpoint.exits(READY_WITHIN_S) == [(worker, ExitReason.SLOW)]
    assert not endpoint.pool.ever_ready


def test_a_recently_stopped_worker_is_resumed_and_ended_when_it_is_too_late() -> None:
    endpoint = PoolEndpoint(
        active=0, most=1, scaler={"request_count": 1}, idle_timeout="5s", revival={"within": "20s"}
    )
    first = endpoint.model.submit(Op.RUN, 0.0)
    ((worker, launch),) = endpoint.actions(0.0)
    endpoint.take(worker, 2.0)
    endpoint.done(worker, first, 3.0)
    endpoint.keep_alive(worker, 7.5)
    assert [launch, *endpoint.actions(8.0)] == [ProcessAction.LAUNCH, (worker, ProcessAction.SUSPEND)]
    assert not endpoint.pool.is_registered(worker)
    second = endpoint.model.submit(Op.RUN, 28.0)
    assert endpoint.actions(28.0) == [(worker, ProcessAction.RESUME)]
    assert endpoint.take(worker, 28.1) == [second]
    endpoint.done(worker, second, 29.0)
    endpoint.keep_alive(worker, 33.5)
    assert endpoint.actions(34.0) == [(worker, ProcessAction.SUSPEND)]
    assert endpoint.actions(54.9) == []
    assert endpoint.actions(55.0) == [(worker, ProcessAction.END)]
    endpoint.model.submit(Op.RUN, 56.0)
    ((other, launch),) = endpoint.actions(56.0)
    assert (launch, other != worker) == (ProcessAction.LAUNCH, True)


def test_a_suspended_worker_whose_process_ended_is_launched_again() -> None:
    endpoint = PoolEndpoint(
        active=0, most=1, scaler={"request_count": 1}, idle_timeout="5s", revival={"within": "20s"}
    )
    job = endpoint.model.submit(Op.RUN, 0.0)
    (worker,) = endpoint.launched(0.0)
    endpoint.take(worker, 2.0)
    endpoint.done(worker, job, 3.0)
    endpoint.keep_alive(worker, 7.5)
    endpoint.actions(8.0)
    endpoint.pool.exited(endpoint.at(9.0), worker)
    endpoint.model.submit(Op.RUN, 10.0)
    assert endpoint.actions(10.0) == [(worker, ProcessAction.LAUNCH)]


def test_a_job_that_is_failed_while_it_runs_is_stopped_and_frees_its_worker() -> None:
    endpoint = PoolEndpoint()
    (worker,) = endpoint.launched(0.0)
    first, second = (endpoint.model.submit(Op.RUN, 1.0) for _ in range(2))
    assert endpoint.take(worker, 2.0) == [first]
    for _ in range(2):  # the same chunk may be posted again
        endpoint.pool.fail_job(endpoint.at(3.0), worker, first.id, msgspec.Raw(b'"too large"'))
    assert (first.state, first.finished_at, bytes(first.error)) == (JobState.FAILED, 3.0, b'"too large"')
    assert endpoint.pool.jobs_to_stop(worker) == [first.id]
    endpoint.done(worker, first, 3.5)
    assert first.state is JobState.FAILED
    assert endpoint.take(worker, 4.0) == [second]
