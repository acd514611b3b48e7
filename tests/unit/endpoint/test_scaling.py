"""Workers that start, idle and stop: scalers, cold starts, revivals, with exact times."""

from __future__ import annotations

import math

import pytest
from pydantic import ValidationError

from loadtest.endpoint.endpoint import Endpoint
from loadtest.endpoint.job import Job
from loadtest.endpoint.scaler import QueueDelayScaler
from loadtest.endpoint.settings import SCALERS, EndpointSettings, QueueDelay, ScalerSettings, parse_scaler
from loadtest.protocol.client_messages import WorkerCounts
from loadtest.protocol.operations import Op


def endpoint(**settings: object) -> Endpoint:
    settings = {"workers": {"active": 0, "max": 3}, "service": "2s", "cold_start": "10s", **settings}
    return Endpoint(EndpointSettings.model_validate(settings), 1, 0.0)


def taken(model: Endpoint, jobs: list[Job], at: float = 1000.0) -> list[float | None]:
    model.advance(at)
    return [job.taken_at for job in jobs]


def up(model: Endpoint, at: float) -> tuple[int, int, int]:
    workers = model.health(at).workers
    return workers.initializing, workers.idle, workers.running


def test_from_zero_a_job_waits_for_the_threshold_and_the_cold_start() -> None:
    model = endpoint()
    job = model.submit(Op.RUN, 100.0)
    assert up(model, 103.9) == (0, 0, 0)
    assert up(model, 104.0) == (1, 0, 0)
    assert up(model, 114.0) == (0, 0, 1)
    assert job.taken_at == 114.0


def test_each_job_past_the_threshold_starts_one_worker_up_to_the_maximum() -> None:
    model = endpoint()
    jobs = [model.submit(Op.RUN, at) for at in (0.0, 1.0, 2.0, 3.0)]
    assert up(model, 4.0) == (1, 0, 0)
    assert up(model, 5.0) == (2, 0, 0)
    assert up(model, 7.5) == (3, 0, 0)
    assert taken(model, jobs) == [14.0, 15.0, 16.0, 16.0]


def test_a_starting_worker_counts_for_the_next_job_when_its_own_was_taken() -> None:
    model = endpoint(workers={"active": 1, "max": 3}, service="6s")
    busy, first, second = (model.submit(Op.RUN, at) for at in (0.0, 1.0, 2.5))
    assert up(model, 5.0) == (1, 0, 1)
    assert up(model, 6.4) == (1, 0, 1)
    assert first.taken_at == 6.0
    assert up(model, 6.5) == (1, 0, 1)
    assert taken(model, [busy, second]) == [0.0, 12.0]


def test_a_cancelled_job_starts_no_worker() -> None:
    model = endpoint()
    job = model.submit(Op.RUN, 0.0)
    model.cancel(job.id, 3.0)
    assert up(model, 100.0) == (0, 0, 0)
    assert model.workers == []


@pytest.mark.parametrize("kind", SCALERS.values(), ids=SCALERS)
def test_every_scaler_reads_back_as_text_and_as_a_mapping_and_starts_workers(kind: type[ScalerSettings]) -> None:
    settings = kind()
    written = settings.model_dump(mode="json")
    assert parse_scaler(str(settings)) == settings
    for given in (settings, str(settings), written):
        assert EndpointSettings.model_validate({"scaler": given}).scaler == settings
    model = endpoint(scaler=written, workers={"active": 0, "max": 1})
    model.submit(Op.RUN, 0.0)
    model.advance(100.0)
    assert len(model.workers) == 1


@pytest.mark.parametrize(
    "text", ["queue delay", "queue delay 4", "request count 0", "request count x", "4s", "depth 4"]
)
def test_a_text_that_names_no_scaler_is_refused_with_an_example_of_each(text: str) -> None:
    with pytest.raises(ValueError, match="is not a scaler; write it like") as refused:
        parse_scaler(text)
    assert all(f'"{kind()}"' in str(refused.value) for kind in SCALERS.values())


def test_request_count_starts_a_worker_for_each_group_of_jobs() -> None:
    model = endpoint(scaler={"request_count": 2}, workers={"active": 0, "max": 2})
    jobs = [model.submit(Op.RUN, 0.0)]
    assert up(model, 0.0) == (1, 0, 0)
    jobs.append(model.submit(Op.RUN, 0.0))
    assert up(model, 0.0) == (1, 0, 0)
    jobs += [model.submit(Op.RUN, 1.0) for _ in range(3)]
    assert up(model, 1.0) == (2, 0, 0)
    assert taken(model, jobs) == [10.0, 11.0, 12.0, 13.0, 14.0]


def test_a_flex_worker_stops_after_the_idle_timeout_and_an_active_one_never() -> None:
    model = endpoint(workers={"active": 1, "max": 2}, scaler={"request_count": 1}, idle_timeout="5s")
    for _ in range(2):
        model.submit(Op.RUN, 0.0)
    assert up(model, 10.0) == (0, 0, 2)
    assert up(model, 14.9) == (0, 0, 2)
    assert up(model, 15.0) == (0, 1, 1), "scaled down, and kept for a revival"
    assert up(model, 10_000.0) == (0, 0, 1)
    active, flex = model.workers
    assert [(shift.started_at, shift.stopped_at) for shift in active.shifts] == [(0.0, None)]
    assert [(shift.started_at, shift.stopped_at) for shift in flex.shifts] == [(0.0, 15.0)]


def test_an_idle_active_worker_works_before_flex_ones_so_that_they_can_stop() -> None:
    model = endpoint(workers={"active": 1, "max": 2}, scaler={"request_count": 1}, cold_start="1s")
    for _ in range(2):
        model.submit(Op.RUN, 0.0)
    job = model.submit(Op.RUN, 4.0)
    assert job.worker_id == model.workers[0].id


def test_a_recently_stopped_worker_is_revived_and_later_it_is_cold_again() -> None:
    model = endpoint(scaler={"request_count": 1}, revival={"duration": "500ms", "within": "60s"}, idle_timeout="5s")
    first = model.submit(Op.RUN, 0.0)
    revived = model.submit(Op.RUN, 77.0)
    cold = model.submit(Op.RUN, 200.0)
    assert taken(model, [first, revived, cold]) == [10.0, 77.5, 210.0]
    once, again = model.workers
    assert [(shift.started_at, shift.stopped_at) for shift in once.shifts] == [(0.0, 17.0), (77.0, 84.5)]
    assert first.worker_id == revived.worker_id == once.id
    assert cold.worker_id == again.id != once.id


def test_without_revival_every_start_is_cold() -> None:
    model = endpoint(scaler={"request_count": 1}, revival=None, idle_timeout="0s")
    jobs = [model.submit(Op.RUN, at) for at in (0.0, 20.0)]
    assert taken(model, jobs) == [10.0, 30.0]


def test_worker_ids_look_like_the_service_s_and_are_all_different() -> None:
    model = endpoint(workers={"active": 50, "max": 50})
    ids = {worker.id for worker in model.workers}
    assert len(ids) == 50
    assert all(len(each) == 14 and each == each.lower() and each.isalnum() for each in ids)


def test_measured_cold_starts_are_drawn_from_the_values() -> None:
    model = endpoint(scaler={"request_count": 1}, revival=None, idle_timeout="0s", cold_start=["40s", "46s"])
    jobs = [model.submit(Op.RUN, 1000.0 * index) for index in range(30)]
    waits = {job.taken_at - job.submitted_at for job in jobs if taken(model, jobs, 1e5) and job.taken_at is not None}
    assert waits == {40.0, 46.0}


def test_active_workers_run_without_jobs() -> None:
    model = endpoint(workers={"active": 2, "max": 3})
    assert model.health(5.0).workers == WorkerCounts(running=2)
    assert model.next_due_at() == math.inf


def test_a_requeued_job_starts_one_worker_and_for_its_latest_wait() -> None:
    watched = QueueDelayScaler(QueueDelay.model_validate({"queue_delay": "4s"}))
    fleet = endpoint(workers={"active": 0, "max": 9})._scheduler.fleet
    first, again = Job("first", Op.RUN, 0.0), Job("again", Op.RUN, 1.0)
    for job in (first, again):
        job.requeue(job.submitted_at)
        watched.queued(job, 2, fleet)
    watched.dequeued(again)
    again.requeue(2.0)
    watched.queued(again, 2, fleet)
    assert watched.next_due_at() == 4.0
    watched.decide(fleet)
    assert watched.next_due_at() == 6.0
    watched.decide(fleet)
    assert watched.next_due_at() == math.inf
    watched.dequeued(first)
    watched.dequeued(again)
    assert watched._overdue == 0


@pytest.mark.parametrize(
    ("workers", "most"),
    [
        ({"max": 2}, 2),
        ({"max": 2, "extra": 2}, 4),
        ({"max": 2, "extra": 2, "account_limit": 3}, 3),
        ({"max": 4, "account_limit": 2}, 2),
    ],
)
def test_a_spike_starts_extra_workers_beyond_max_within_the_limit_of_the_account(
    workers: dict[str, int], most: int
) -> None:
    model = endpoint(workers={"active": 1, **workers}, scaler={"request_count": 1})
    for _ in range(10):
        model.submit(Op.RUN, 0.0)
    model.advance(100.0)
    assert len(model.workers) == most


def test_more_active_workers_than_the_account_may_have_are_refused() -> None:
    with pytest.raises(ValidationError, match=r"active 3 is more than account_limit 2"):
        EndpointSettings.model_validate({"workers": {"active": 3, "max": 3, "account_limit": 2}})
