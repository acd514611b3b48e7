"""Workers that sleep after each take, like the vendor's SDK at a concurrency of 1, with exact times."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from loadtest.endpoint.endpoint import Endpoint
from loadtest.endpoint.settings import EndpointSettings, TakePause
from loadtest.protocol.operations import Op


def endpoint(**settings: object) -> Endpoint:
    settings = {"workers": {"active": 1, "max": 1}, "service": "50ms", "take_pause": "1s", **settings}
    return Endpoint(EndpointSettings.model_validate(settings), 1, 0.0)


def taken(model: Endpoint, *at_s: float) -> list[float | None]:
    jobs = [model.submit(Op.RUN, at) for at in at_s]
    model.advance(100.0)
    return [job.taken_at for job in jobs]


def test_a_worker_asks_for_a_job_each_second_at_most_and_at_once_after_that() -> None:
    assert taken(endpoint(), 10.0, 10.0, 10.5, 13.5, 14.25) == [10.0, 11.0, 12.0, 13.5, 14.5]


@pytest.mark.parametrize(
    ("service", "blocked", "second"),
    [
        ("1s", False, 1.0),
        ("1500ms", False, 2.0),
        ("2s", False, 2.0),
        ("1s", True, 1.0),
        ("1500ms", True, 2.5),
        ("2s", True, 3.0),
    ],
)
def test_a_worker_past_its_pause_looks_at_the_next_multiple_or_one_pause_after_the_job(
    service: str, blocked: bool, second: float
) -> None:
    model = endpoint(service=service, take_pause={"duration": "1s", "blocking_handler": blocked})
    assert taken(model, 0.0, 0.0) == [0.0, second]


def test_the_idle_timeout_of_a_worker_runs_in_its_pause() -> None:
    model = endpoint(
        workers={"active": 0, "max": 1}, scaler={"request_count": 1}, cold_start="1s", idle_timeout="1500ms"
    )
    model.submit(Op.RUN, 0.0)
    waits = model.submit(Op.RUN, 1.25)
    assert model.health(1.5).workers.running == 1
    model.advance(100.0)
    assert (waits.taken_at, waits.finished_at) == (2.0, 2.05)
    assert model.workers[0].shifts[0].stopped_at == 2.05 + 1.5


def test_a_job_that_waits_for_a_worker_in_its_pause_goes_to_another() -> None:
    model = endpoint(workers={"active": 2, "max": 2})
    assert taken(model, 0.0, 0.25, 0.5, 0.75, 1.125) == [0.0, 0.25, 1.0, 1.25, 2.0]


def test_a_cancelled_job_leaves_its_worker_in_the_pause() -> None:
    model = endpoint(service="10s")
    first, second = model.submit(Op.RUN, 0.0), model.submit(Op.RUN, 0.0)
    model.cancel(first.id, 2.25)
    model.advance(100.0)
    assert second.taken_at == 3.0


def test_a_revived_worker_starts_without_a_pause() -> None:
    model = endpoint(
        workers={"active": 0, "max": 1},
        scaler={"request_count": 1},
        cold_start="1s",
        revival={"duration": "0s", "within": "60s"},
        idle_timeout="1250ms",
        take_pause={"duration": "1s", "blocking_handler": True},
    )
    assert taken(model, 0.0, 2.5) == [1.0, 2.5]


def test_a_pause_longer_than_the_idle_timeout_is_refused_if_workers_stop() -> None:
    with pytest.raises(ValidationError, match=r"idle_timeout 500ms stops workers in their take_pause of 1s"):
        endpoint(workers={"active": 0, "max": 1}, idle_timeout="500ms")
    assert taken(endpoint(idle_timeout="500ms"), 0.0, 0.0) == [0.0, 1.0]


@given(st.floats(0, 100), st.floats(0.001, 10), st.booleans())
def test_a_worker_is_occupied_no_less_than_job_and_pause_and_no_more_than_both(
    execution_s: float, lasts: float, blocked: bool
) -> None:
    occupied_s = TakePause.model_construct(duration=lasts, blocking_handler=blocked).occupancy_s(execution_s)
    assert max(execution_s, lasts) - 1e-6 <= occupied_s <= execution_s + lasts + 1e-6
    assert TakePause().occupancy_s(execution_s) == execution_s
