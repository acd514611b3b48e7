"""The rate limiter: no interval, wherever it starts, holds more than the limit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.endpoint.endpoint import Endpoint
from loadtest.endpoint.rate_limit import RateLimiter
from loadtest.endpoint.settings import EndpointSettings
from loadtest.protocol.operations import Limit, Op


def test_the_request_over_the_limit_waits_until_the_first_is_out_of_the_window() -> None:
    gate = RateLimiter(Limit(2, 10))
    assert [gate.admit(at) for at in (0.0, 4.0, 6.0, 9.5)] == [None, None, 4.0, 0.5]
    assert gate.admit(10.0) is None
    assert gate.admit(10.0) == 4.0


def test_a_full_window_is_not_a_bucket_that_refills_while_it_empties() -> None:
    gate = RateLimiter(Limit(100, 10))
    passed = sum(gate.admit(at / 100) is None for at in range(1000))
    assert passed == 100


def test_the_concurrent_limit_counts_unanswered_requests() -> None:
    gate = RateLimiter(Limit(100, 10, 2))
    assert [gate.admit(0.0) for _ in range(3)] == [None, None, 1.0]
    gate.release()
    assert gate.admit(0.1) is None
    assert gate.admit(0.1) == 1.0


@given(
    st.integers(1, 5),
    st.floats(0.5, 20),
    st.lists(st.floats(0, 3), min_size=1, max_size=80),
    st.sampled_from([0.0, 1.7e9]),
)
def test_no_interval_holds_more_than_the_limit(requests: int, per_s: float, gaps: list[float], now: float) -> None:
    gate, passed = RateLimiter(Limit(requests, per_s)), []
    for gap in gaps:
        now += gap
        if gate.admit(now) is None:
            passed.append(now)
    assert all(later >= first + per_s for first, later in zip(passed, passed[requests:], strict=False))


@given(st.floats(0.01, 20), st.floats(0, 2e9), st.floats(0, 1))
def test_a_request_that_waits_as_asked_is_admitted(per_s: float, start: float, share: float) -> None:
    gate = RateLimiter(Limit(1, per_s))
    assert gate.admit(start) is None
    now = start + share * per_s
    wait_s = gate.admit(now)
    if wait_s is not None:
        assert wait_s <= per_s + 1e-6
        assert gate.admit(now + wait_s) is None


@pytest.mark.parametrize(("op", "most"), [(Op.RUN, 1000), (Op.RUNSYNC, 2000), (Op.PURGE_QUEUE, 2)])
def test_the_documented_limits_hold_by_default(op: Op, most: int) -> None:
    model = Endpoint(EndpointSettings(), 1, 0.0)
    passed = 0
    for _ in range(most + 10):
        if model.admit(op, 5.0) is None:
            passed += 1
            model.release(op)
    assert passed == most
    assert model.admit(op, 14.0) == pytest.approx(1.0)
    assert model.admit(op, 15.0) is None


def test_health_has_no_limit_and_settings_replace_one() -> None:
    model = Endpoint(EndpointSettings.model_validate({"limits": {"status": "1 per 10 s"}}), 1, 0.0)
    assert all(model.admit(Op.HEALTH, 0.0) is None for _ in range(5000))
    assert [model.admit(Op.STATUS, 0.0) for _ in range(2)] == [None, 10.0]


def test_running_workers_raise_a_limit_and_never_lower_it() -> None:
    limits = {"limits": {"status": "2 per 10 s"}, "requests_per_worker": {"status": 3}}
    flex = {"workers": {"active": 0, "max": 4}, "scaler": {"request_count": 1}, "service": "5s", **limits}
    settings = EndpointSettings.model_validate(flex | {"cold_start": "0s", "idle_timeout": "0s"})
    model = Endpoint(settings, 1, 0.0)
    assert [model.admit(Op.STATUS, 0.0) for _ in range(3)] == [None, None, 10.0]
    model.submit(Op.RUN, 1.0)
    model.submit(Op.RUN, 1.0)
    model.advance(1.0)
    assert [model.admit(Op.STATUS, 1.0) for _ in range(5)] == [None, None, None, None, 9.0]
    model.advance(6.0)
    assert model.admit(Op.STATUS, 6.0) == 5.0, "of the six, four must leave the window"
    assert model.admit(Op.STATUS, 11.0) is None
