"""Ceilings hold for all generators together, whichever are lost, come late or return."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from loadtest.drive.cluster.ceilings import RunCeilings
from loadtest.protocol.client_messages import Health, JobCounts, WorkerCounts
from loadtest.scenario.abort import StopKind, StopReason
from loadtest.scenario.model import Scenario
from tests.unit.drive.cluster.test_membership import QUIET

OPEN = {"arrivals": "constant", "stages": [{"rate": "10/s", "for": "10s"}]}
CLOSED = {"model": "closed", "stages": [{"users": 4, "for": "10s"}]}


def ceilings(load: dict[str, Any], price: float | None = None, **ceilings: float) -> RunCeilings:
    return RunCeilings(Scenario.model_validate({"name": "x", "load": load, "ceilings": ceilings, "price": price}))


def sent(made: RunCeilings, name: str, count: int, **changes: Any) -> None:
    made.report(name, msgspec.structs.replace(QUIET, sent=count, **changes))


def reason(made: RunCeilings, running: list[str], now: float = 0.0) -> str | None:
    found = made.reached(running, 0.0, now)
    return None if found is None else found.detail


def test_the_only_generator_may_use_the_whole_ceiling() -> None:
    made = ceilings(CLOSED, jobs=25)
    assert made.allowance("a", ["a"]) == 25
    assert reason(made, ["a"]) is None
    sent(made, "a", 25)
    assert made.reached(["a"], 0.0, 3.0) == StopReason(
        StopKind.JOBS_CEILING, "ceilings.jobs: 25 jobs have been submitted"
    )


@pytest.mark.parametrize("pace", [(1, 1), (5, 1), (1000, 3)])
def test_generators_use_the_whole_ceiling_whatever_their_pace(pace: tuple[int, int]) -> None:
    made, used = ceilings(CLOSED, jobs=100), {"a": 0, "b": 0}
    for _ in range(1000):
        for name, jobs in zip(used, pace, strict=True):
            allowed = made.allowance(name, ["a", "b"])
            assert allowed is not None
            used[name] = min(allowed, used[name] + jobs)
            assert sum(used.values()) <= 100
            sent(made, name, used[name])
        if reason(made, ["a", "b"]) is not None:
            break
    assert sum(used.values()) == 100


def test_the_allowance_of_a_lost_generator_counts_as_used_and_the_rest_of_one_that_finished_is_given_on() -> None:
    made = ceilings(CLOSED, jobs=100)
    assert [made.allowance(name, ["a", "b"]) for name in "ab"] == [25, 19]
    sent(made, "a", 25)
    assert made.allowance("a", ["a"]) == 81, "b is lost"
    made.finished("b", 4)
    sent(made, "a", 81)
    assert made.allowance("a", ["a"]) == 96
    sent(made, "a", 96)
    assert reason(made, ["a"]) is not None


def test_a_late_generator_gets_a_part_of_what_is_left() -> None:
    made = ceilings(CLOSED, jobs=100)
    assert [made.allowance(name, ["a", "b"]) for name in "ab"] == [25, 19]
    assert made.allowance("late", ["a", "b", "late"]) == 10


def test_in_the_open_model_the_load_ends_when_the_first_arrival_over_the_ceiling_is_due() -> None:
    made = ceilings(OPEN, jobs=40)
    assert made.allowance("a", ["a", "b"]) is None
    assert reason(made, ["a", "b"], 3.99) is None
    assert reason(made, ["a", "b"], 4.0) == "ceilings.jobs: 40 jobs have been submitted"
    assert reason(ceilings(OPEN, jobs=100), ["a"], 1e9) is None, "as many arrivals as the ceiling allows"


def test_cost_counts_the_execution_of_all_generators_and_jobs_in_flight_at_the_mean() -> None:
    made = ceilings(OPEN, price=0.5, cost=10.0)
    sent(made, "a", 6, ended=4, execution_s=8.0)
    sent(made, "lost", 5, ended=4, execution_s=8.0, in_flight=1)
    assert made.spent(1.0) == pytest.approx(0.5 * (16 + 2))
    assert reason(made, ["a"]) is None
    sent(made, "a", 7, ended=4, execution_s=8.0, in_flight=1)
    assert reason(made, ["a"]) == "ceilings.cost: 10.0000 of 10 US dollars are spent"


def test_cost_counts_the_time_of_workers_that_health_reports_as_running() -> None:
    made = ceilings(OPEN, price=0.5, cost=10.0)
    made.health(100.0, Health(JobCounts(), WorkerCounts(idle=9, running=2)))
    assert made.spent(100.0) == 0.0
    made.health(103.0, Health(JobCounts(), WorkerCounts(running=4)))
    assert made.spent(103.0) == pytest.approx(0.5 * 2 * 3)
    assert made.spent(104.0) == pytest.approx(0.5 * (2 * 3 + 4 * 1)), "until it is asked again"
    sent(made, "a", 6, ended=4, execution_s=2.0)
    assert made.spent(104.0) == pytest.approx(5.0), "the greater of the two"
    assert reason(made, ["a"], 106.5) is not None


def test_its_representation_shows_what_is_allowed() -> None:
    made = ceilings(CLOSED, jobs=100)
    made.allowance("a", ["a"])
    assert repr(made) == "<RunCeilings: 100 jobs, None US dollars, allowances {'a': 100}>"
