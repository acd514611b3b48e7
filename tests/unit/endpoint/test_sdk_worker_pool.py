"""Real workers in virtual time: what they ask and tell, and what their silence means."""

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


class Shop:
    """An endpoint with real workers, each of them played by the test; the time goes on by `at`."""

    def __init__(self, active: int = 1, most: int = 1, **settings: object) -> None:
        workers = {"active": active, "max": most}
        asked = EndpointSettings.model_validate({"workers": workers, "revival": None, **settings})
        self.pool = SdkWorkerPool(0.0 if asked.revival is None else asked.revival.within)
        self.model = Endpoint(asked, 1, 0.0, backend=self.pool)

    def at(self, now: float) -> JobScheduler:
        return self.model.advanced_to(now)

    def acts(self, now: float) -> list[tuple[str, ProcessAction]]:
        self.model.advance(now)
        return [(order.worker.id, order.do) for order in self.pool.drain_commands()]

    def orders(self, now: float) -> list[tuple[str, ExitReason | None]]:
        self.model.advance(now)
        return [(order.worker.id, order.why) for order in self.pool.drain_commands()]

    def launched(self, now: float) -> list[str]:
        return [worker_id for worker_id, why in self.orders(now) if why is None]

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
    shop = Shop()
    (worker,) = shop.launched(0.0)
    assert shop.model.health(2.0).workers.initializing == 1
    assert shop.take(worker, 2.0) == []
    job = shop.model.submit(Op.RUN, 3.0)
    assert job.state is JobState.IN_QUEUE  # its take has been answered, and it has not asked again
    shop.pool.open_take(shop.at(3.5), worker, 1, False)
    assert shop.pool.has_jobs_or_left(worker)
    assert (job.taken_at, job.worker_id) == (3.5, worker)
    assert shop.pool.close_take(worker) == [job]
    shop.done(worker, job, 4.0)
    assert (job.state, job.finished_at, bytes(job.output)) == (JobState.COMPLETED, 4.0, b'"done"')


def test_a_batch_is_as_large_as_asked_and_jobs_go_where_the_fewest_are() -> None:
    shop = Shop(active=2, most=2)
    first, second = shop.launched(0.0)
    jobs = [shop.model.submit(Op.RUN, 1.0) for _ in range(5)]
    assert shop.take(first, 2.0, jobs=2) == jobs[:2]
    shop.pool.open_take(shop.at(2.0), first, 1, True)
    assert shop.pool.close_take(first) == [jobs[2]]
    shop.done(first, jobs[0], 3.0)
    assert shop.take(second, 3.0) == [jobs[3]]
    assert shop.model.health(3.0).jobs.in_progress == 3
    shop.done(first, jobs[1], 3.0)
    shop.done(first, jobs[2], 3.0)
    shop.done(second, jobs[3], 3.0)
    assert shop.take(first, 3.0) == [jobs[4]]
    for worker in (second, first):
        shop.pool.open_take(shop.at(3.5), worker, 3, True)
    job = shop.model.submit(Op.RUN, 4.0)
    assert job.worker_id == second  # the other has one already


def test_a_worker_that_is_silent_gives_its_job_back_and_is_replaced_after_a_while() -> None:
    shop = Shop()
    (worker,) = shop.launched(0.0)
    job = shop.model.submit(Op.RUN, 0.0)
    shop.take(worker, 1.0)
    shop.keep_alive(worker, 5.0, job)  # the last ping at 4 s
    assert shop.orders(4.0 + LEASE_S - 0.01) == []
    assert shop.orders(4.0 + LEASE_S) == [(worker, ExitReason.SILENT)]
    assert (job.state, job.requeues, shop.model.health(9.0).jobs.retried) == (JobState.IN_QUEUE, 1, 1)
    (other,) = shop.launched(4.0 + LEASE_S + BACK_OFF_S[0])
    assert shop.take(other, 12.0) == [job]
    shop.done(worker, job, 12.5)  # too late: it is another's now
    assert job.state is JobState.IN_PROGRESS
    shop.done(other, job, 13.0)
    assert job.state is JobState.COMPLETED


def test_losses_in_a_row_put_off_the_next_launch_ever_longer_until_a_job_is_done() -> None:
    shop = Shop()
    waits, now = [], 0.0
    for _ in range(7):
        (worker,) = shop.launched(math.nextafter(now, math.inf))
        shop.take(worker, now)
        shop.pool.exited(shop.at(now), worker)
        due = shop.model.next_due_at()
        assert due is not None
        waits.append(due - now)
        now = due
    assert waits == [1, 2, 4, 8, 16, 30, 30]
    (worker,) = shop.launched(now)
    job = shop.model.submit(Op.RUN, now)
    assert shop.take(worker, now) == [job]
    shop.done(worker, job, now)
    shop.pool.exited(shop.at(now), worker)
    assert shop.launched(now + 0.9) == []
    assert len(shop.launched(now + 1.0)) == 1


def test_a_job_fails_when_enough_workers_have_died_of_it() -> None:
    shop = Shop(tries=2)
    job, now = shop.model.submit(Op.RUN, 0.0), 0.0
    for _ in range(2):
        now += 10.0
        (worker,) = shop.launched(now)
        assert shop.take(worker, now) == [job]
        shop.pool.exited(shop.at(now), worker)
    assert (job.state, job.requeues) == (JobState.FAILED, 2)


def test_jobs_that_wait_behind_the_last_flex_worker_do_not_wait_for_ever_when_it_dies() -> None:
    shop = Shop(active=0, most=1, tries=1)
    deadly, waiting = (shop.model.submit(Op.RUN, 0.0) for _ in range(2))
    (worker,) = shop.launched(4.0)
    assert shop.take(worker, 5.0) == [deadly]
    shop.pool.exited(shop.at(6.0), worker)
    (other,) = shop.launched(6.0 + BACK_OFF_S[0])
    assert shop.take(other, 8.0) == [waiting]


@pytest.mark.parametrize("how", ["cancel", "timeout"])
def test_a_running_job_that_is_over_is_told_by_the_stop_channel(how: str) -> None:
    shop = Shop(policy={"execution_timeout": "5s"})
    (worker,) = shop.launched(0.0)
    job = shop.model.submit(Op.RUN, 0.0)
    shop.take(worker, 0.0)
    shop.keep_alive(worker, 4.0, job)
    if how == "cancel":
        shop.model.cancel(job.id, 4.0)
    shop.pool.ping(worker, [job.id], shop.at(5.0).now)
    assert job.state is (JobState.CANCELLED if how == "cancel" else JobState.TIMED_OUT)
    assert shop.pool.has_stop_requests(worker)
    assert shop.pool.jobs_to_stop(worker) == [job.id]
    assert not shop.pool.has_stop_requests(worker)
    shop.pool.ping(worker, [job.id], shop.at(5.5).now)
    assert shop.pool.jobs_to_stop(worker) == [job.id]  # it was told too early, and is told again
    shop.keep_alive(worker, 20.0)  # its pings no longer name the job
    assert shop.orders(20.0) == []


def test_a_worker_that_goes_on_with_what_it_was_told_to_stop_is_ended_without_a_job_given_back() -> None:
    shop = Shop()
    (worker,) = shop.launched(0.0)
    job = shop.model.submit(Op.RUN, 0.0)
    shop.take(worker, 0.0)
    shop.model.cancel(job.id, 1.0)
    shop.pool.jobs_to_stop(worker)
    shop.keep_alive(worker, 1.0 + STOP_WITHIN_S, job)
    assert shop.orders(1.0 + STOP_WITHIN_S) == [(worker, ExitReason.STUCK)]
    assert shop.model.health(7.0).jobs.retried == 0


def test_a_worker_that_asks_to_be_refreshed_leaves_once_its_other_jobs_are_done() -> None:
    shop = Shop()
    (worker,) = shop.launched(0.0)
    jobs = [shop.model.submit(Op.RUN, 0.0) for _ in range(3)]
    assert shop.take(worker, 1.0, jobs=2) == jobs[:2]
    shop.done(worker, jobs[0], 2.0, Result(msgspec.Raw(b"1"), stop_worker=True))
    assert shop.take(worker, 2.0, busy=True) == []
    assert shop.orders(2.0) == []
    shop.done(worker, jobs[1], 3.0)
    (left, (other, launch)) = shop.orders(3.0)
    assert (left, launch) == ((worker, ExitReason.REFRESH), None)
    assert shop.take(other, 4.0) == [jobs[2]]


def test_a_result_with_an_error_has_failed_and_progress_is_no_result() -> None:
    shop = Shop()
    (worker,) = shop.launched(0.0)
    job = shop.model.submit(Op.RUN, 0.0)
    shop.take(worker, 0.0)
    shop.done(worker, job, 1.0, Result(msgspec.Raw(b'"half"'), status="IN_PROGRESS"))
    assert (job.state, bytes(job.output)) == (JobState.IN_PROGRESS, b'"half"')
    shop.done(worker, job, 2.0, Result(error=msgspec.Raw(b'"no memory"')))
    assert (job.state, bytes(job.error)) == (JobState.FAILED, b'"no memory"')


def test_posted_chunks_are_read_once_each_and_forgotten_when_the_job_is_given_back() -> None:
    shop = Shop()
    (worker,) = shop.launched(0.0)
    job = shop.model.submit(Op.RUN, 0.0)
    shop.take(worker, 0.0)
    chunks = [Chunk(msgspec.Raw(b"%d" % n)) for n in range(3)]
    for chunk in chunks[:2]:
        shop.pool.add_chunk(shop.at(1.0), worker, job.id, chunk)
    assert job.next_chunk_at() is not None
    assert shop.model.read_stream(job.id, 1.0) == chunks[:2]
    assert job.next_chunk_at() is None
    shop.pool.exited(shop.at(2.0), worker)
    (other,) = shop.launched(4.0)
    shop.take(other, 4.0)
    shop.pool.add_chunk(shop.at(4.0), other, job.id, chunks[2])
    assert shop.model.read_stream(job.id, 5.0) == chunks[2:]


def test_an_idle_flex_worker_ends_after_the_idle_timeout_and_is_billed_until_then() -> None:
    shop = Shop(active=0, most=1, scaler={"request_count": 1}, idle_timeout="5s")
    job = shop.model.submit(Op.RUN, 10.0)
    (worker,) = shop.launched(10.0)
    shop.take(worker, 12.0)
    shop.done(worker, job, 13.0)
    shop.keep_alive(worker, 17.5)
    assert shop.orders(18.0) == [(worker, ExitReason.IDLE)]
    (hired,) = shop.model.workers
    assert [(shift.started_at, shift.stopped_at) for shift in hired.shifts] == [(10.0, 18.0)]


def test_a_take_that_was_broken_off_ends_the_worker_only_where_a_job_was_on_its_way() -> None:
    shop = Shop()
    (worker,) = shop.launched(0.0)
    shop.pool.open_take(shop.at(1.0), worker, 1, False)
    shop.pool.take_disconnected(shop.at(2.0), worker)
    assert shop.orders(2.0) == []
    shop.pool.open_take(shop.at(3.0), worker, 1, False)
    job = shop.model.submit(Op.RUN, 4.0)
    shop.pool.take_disconnected(shop.at(4.0), worker)
    assert shop.orders(4.0) == [(worker, ExitReason.BROKEN)]
    assert (job.state, job.requeues) == (JobState.IN_QUEUE, 1)


def test_a_worker_that_never_asks_for_a_job_counts_as_lost() -> None:
    shop = Shop()
    (worker,) = shop.launched(0.0)
    assert shop.orders(READY_WITHIN_S) == [(worker, ExitReason.SLOW)]
    assert not shop.pool.ever_ready


def test_a_worker_that_stopped_lately_is_resumed_and_one_that_is_forgotten_ends() -> None:
    shop = Shop(active=0, most=1, scaler={"request_count": 1}, idle_timeout="5s", revival={"within": "20s"})
    first = shop.model.submit(Op.RUN, 0.0)
    ((worker, launch),) = shop.acts(0.0)
    shop.take(worker, 2.0)
    shop.done(worker, first, 3.0)
    shop.keep_alive(worker, 7.5)
    assert [launch, *shop.acts(8.0)] == [ProcessAction.LAUNCH, (worker, ProcessAction.SUSPEND)]
    assert not shop.pool.is_registered(worker)
    second = shop.model.submit(Op.RUN, 28.0)
    assert shop.acts(28.0) == [(worker, ProcessAction.RESUME)]
    assert shop.take(worker, 28.1) == [second]
    shop.done(worker, second, 29.0)
    shop.keep_alive(worker, 33.5)
    assert shop.acts(34.0) == [(worker, ProcessAction.SUSPEND)]
    assert shop.acts(54.9) == []
    assert shop.acts(55.0) == [(worker, ProcessAction.END)]
    shop.model.submit(Op.RUN, 56.0)
    ((other, launch),) = shop.acts(56.0)
    assert (launch, other != worker) == (ProcessAction.LAUNCH, True)


def test_a_suspended_worker_whose_process_ended_is_launched_anew() -> None:
    shop = Shop(active=0, most=1, scaler={"request_count": 1}, idle_timeout="5s", revival={"within": "20s"})
    job = shop.model.submit(Op.RUN, 0.0)
    (worker,) = shop.launched(0.0)
    shop.take(worker, 2.0)
    shop.done(worker, job, 3.0)
    shop.keep_alive(worker, 7.5)
    shop.acts(8.0)
    shop.pool.exited(shop.at(9.0), worker)
    shop.model.submit(Op.RUN, 10.0)
    assert shop.acts(10.0) == [(worker, ProcessAction.LAUNCH)]
