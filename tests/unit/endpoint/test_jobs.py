"""A job's life on the model, with exact times."""

from __future__ import annotations

import math
import re

import msgspec
import pytest

from loadtest.endpoint.endpoint import Endpoint
from loadtest.endpoint.job import Job, to_response
from loadtest.endpoint.settings import EndpointSettings
from loadtest.protocol.client_messages import WorkerCounts, decode_job
from loadtest.protocol.operations import JobEvent, JobState, Op

EPOCH = 1_700_000_000.0


def endpoint(seed: int = 1, start_at: float = 0.0, **settings: object) -> Endpoint:
    settings = {"workers": {"active": 1, "max": 1}, "service": "2s", **settings}
    return Endpoint(EndpointSettings.model_validate(settings), seed, start_at)


def shown(job: Job) -> tuple[str, int | None, int | None, bytes]:
    seen = decode_job(msgspec.json.encode(to_response(job)))
    return seen.status, seen.delay_ms, seen.execution_ms, bytes(seen.output)


def test_an_idle_worker_starts_a_job_at_once_and_the_next_waits_for_it() -> None:
    model = endpoint()
    first, second = model.submit(Op.RUN, 10.0), model.submit(Op.RUN, 10.5)
    assert shown(first) == ("IN_PROGRESS", 0, None, b"")
    assert shown(second) == ("IN_QUEUE", None, None, b"")
    model.advance(11.999)
    assert second.state is JobState.IN_QUEUE
    model.advance(12.0)
    assert shown(first) == ("COMPLETED", 0, 2000, b'"ok"')
    assert shown(second) == ("IN_PROGRESS", 1500, None, b"")
    model.advance(14.0)
    assert shown(second) == ("COMPLETED", 1500, 2000, b'"ok"')
    assert (second.taken_at, second.finished_at) == (12.0, 14.0)


def test_the_model_and_a_job_show_their_live_state() -> None:
    model = endpoint()
    first, second = model.submit(Op.RUN, 10.0), model.submit(Op.RUN, 10.5)
    worker = model.workers[0]
    assert repr(model) == (
        "<Endpoint <JobScheduler at 10.500: 1 in queue, 1 in progress, <Fleet 0 starting, 1 running of at most 1>>>"
    )
    assert repr(worker) == f"<Worker {worker.id} 1 jobs>"
    assert [repr(first), repr(second)] == [
        f"<Job {first.id} IN_PROGRESS on {worker.id}>",
        f"<Job {second.id} IN_QUEUE>",
    ]
    model.advance(20.0)
    assert repr(worker) == f"<Worker {worker.id} idle>"


def test_results_do_not_depend_on_when_they_are_read() -> None:
    looked, left_alone = endpoint(), endpoint()
    for model, steps in ((looked, 10_000), (left_alone, 1)):
        for _ in range(5):
            model.submit(Op.RUN, 0.0)
        for step in range(1, steps + 1):
            model.advance(20.0 * step / steps)
    ended = [[(job.id, job.taken_at, job.finished_at) for job in each.drain_ended()] for each in (looked, left_alone)]
    assert ended[0] == ended[1]
    assert [finished for _, _, finished in ended[0]] == [2.0, 4.0, 6.0, 8.0, 10.0]


def test_ids_are_uuids_and_a_runsync_job_says_so() -> None:
    model = endpoint()
    uuid = r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
    assert re.fullmatch(uuid, model.submit(Op.RUN, 0.0).id)
    assert re.fullmatch("sync-" + uuid, model.submit(Op.RUNSYNC, 0.0).id)


def test_the_seed_determines_the_whole_sequence() -> None:
    def story(seed: int) -> list[tuple[str, float, bool, str | None]]:
        model = endpoint(seed, service={"median": "1s", "sigma": 0.5}, failure_rate="30 %")
        jobs = [model.submit(Op.RUN, float(at)) for at in range(50)]
        model.advance(1000.0)
        return [(job.id, job.service_s, job.fails, job.worker_id) for job in jobs]

    assert story(7) == story(7)
    assert story(7) != story(8)
    assert {fails for _, _, fails, _ in story(7)} == {True, False}


def test_a_changed_failure_rate_leaves_the_service_times_alone() -> None:
    distribution = {"median": "1s", "sigma": 0.5}
    calm, faulty = endpoint(service=distribution), endpoint(service=distribution, failure_rate="50 %")
    times = [[model.submit(Op.RUN, 0.0).service_s for _ in range(20)] for model in (calm, faulty)]
    assert times[0] == times[1]


def test_a_job_that_fails_has_its_error_and_no_output() -> None:
    model = endpoint(failure_rate="100 %")
    job = model.submit(Op.RUN, 0.0)
    model.advance(2.0)
    assert shown(job) == ("FAILED", 0, 2000, b"")
    assert b"failure_rate" in bytes(to_response(job).error)
    assert model.health(2.0).jobs.failed == 1


def test_a_cancelled_running_job_has_both_times_and_its_worker_starts_the_next() -> None:
    model = endpoint()
    first, second = model.submit(Op.RUN, 0.0), model.submit(Op.RUN, 0.0)
    assert model.cancel(first.id, 0.5) is first
    assert shown(first) == ("CANCELLED", 0, 500, b"")
    assert second.taken_at == 0.5
    model.advance(10.0)
    assert (first.finished_at, second.finished_at) == (0.5, 2.5)


def test_a_job_cancelled_in_the_queue_was_never_taken() -> None:
    model = endpoint()
    running, waiting, last = (model.submit(Op.RUN, 0.0) for _ in range(3))
    model.cancel(waiting.id, 1.0)
    assert shown(waiting) == ("CANCELLED", None, None, b"")
    model.advance(2.0)
    assert last.taken_at == 2.0
    assert running.finished_at == 2.0


def test_cancelling_an_ended_job_changes_nothing_and_an_unknown_job_is_none() -> None:
    model = endpoint()
    job = model.submit(Op.RUN, 0.0)
    assert model.cancel(job.id, 5.0) is job
    assert shown(job) == ("COMPLETED", 0, 2000, b'"ok"')
    assert model.cancel("no such job", 5.0) is None


def test_a_purge_cancels_the_queue_and_leaves_the_running_job() -> None:
    model = endpoint()
    running, *waiting = (model.submit(Op.RUN, 0.0) for _ in range(4))
    model.cancel(waiting[0].id, 0.5)
    assert model.purge(1.0) == 2
    assert model.purge(1.0) == 0
    assert [job.state for job in waiting] == [JobState.CANCELLED] * 3
    model.advance(2.0)
    assert running.state is JobState.COMPLETED
    assert model.submit(Op.RUN, 3.0).taken_at == 3.0


def test_drain_ended_returns_each_job_once_in_the_order_of_their_ends() -> None:
    model = endpoint()
    first, second, third = (model.submit(Op.RUN, 0.0) for _ in range(3))
    model.cancel(third.id, 1.0)
    model.advance(4.0)
    assert model.drain_ended() == [third, first, second]
    assert model.drain_ended() == []


def test_unfinished_jobs_are_those_in_queue_and_in_progress() -> None:
    model = endpoint()
    _ended, running, waiting = (model.submit(Op.RUN, 0.0) for _ in range(3))
    model.advance(2.0)
    assert model.unfinished() == [running, waiting]


@pytest.mark.parametrize(("op", "kept_s"), [(Op.RUN, 30.0), (Op.RUNSYNC, 5.0)])
def test_a_result_is_kept_for_its_time_and_then_unknown(op: Op, kept_s: float) -> None:
    model = endpoint(retention={"run": "30s", "runsync": "5s"})
    job = model.submit(op, 0.0)
    assert model.job(job.id, 2.0 + kept_s - 0.001) is job
    assert model.job(job.id, 2.0 + kept_s) is None
    assert model.read_stream(job.id, 40.0) is None


def test_health_counts_jobs_and_workers() -> None:
    model = endpoint(workers={"active": 2, "max": 3})
    for _ in range(3):
        model.submit(Op.RUN, 0.0)
    seen = model.health(1.0)
    assert (seen.jobs.in_queue, seen.jobs.in_progress, seen.jobs.completed) == (1, 2, 0)
    assert seen.workers == WorkerCounts(running=2)
    seen = model.health(4.0)
    assert (seen.jobs.in_queue, seen.jobs.in_progress, seen.jobs.completed) == (0, 0, 3)
    assert seen.workers == WorkerCounts(running=2)


def test_next_due_at_is_exact() -> None:
    model = endpoint(retention={"run": "30s"})
    assert model.next_due_at() == math.inf
    model.submit(Op.RUN, 1.0)
    assert model.next_due_at() == 3.0
    model.advance(3.0)
    assert model.next_due_at() == 33.0
    model.advance(33.0)
    assert model.next_due_at() == math.inf


def test_times_on_the_wire_are_differences_of_rounded_times() -> None:
    model = endpoint(start_at=EPOCH, service="1.2346s")
    job = model.submit(Op.RUN, EPOCH + 0.0004)
    model.advance(EPOCH + 10)
    assert (job.taken_at, to_response(job).delay_ms) == (EPOCH + 0.0004, 0)
    assert job.finished_at is not None
    assert round(job.finished_at, 3) == pytest.approx(EPOCH + 1.235, abs=1e-6)
    assert to_response(job).execution_ms == 1235


def test_an_illegal_transition_is_refused() -> None:
    job = Job("a", Op.RUN, 0.0, 1.0)
    with pytest.raises(KeyError):
        job.transition(JobEvent.COMPLETED)


def test_endpoint_that_is_started_again_gives_other_ids() -> None:
    settings = EndpointSettings()
    started = [Endpoint(settings, 1, EPOCH + at, own_ids=own) for at, own in ((0.0, True), (3.5, True), (0.0, True))]
    ids = [{each.submit(Op.RUN, EPOCH + 5.0).id for _ in range(50)} for each in started]
    assert ids[0] == ids[2]
    assert not ids[0] & ids[1]
