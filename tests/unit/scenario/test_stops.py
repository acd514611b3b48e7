from __future__ import annotations

from typing import Any

from loadtest.scenario.abort import StopKind, StopReason, StopRules
from loadtest.scenario.model import Scenario
from loadtest.traffic.limit_shares import NO_SHARE, Share


def stops(**settings: Any) -> StopRules:
    load = {"stages": [{"rate": "1/s", "for": "1s"}]}
    return StopRules(Scenario.model_validate({"name": "s", "load": load, **settings}))


def test_the_jobs_ceiling_is_exact() -> None:
    watched = stops(ceilings={"jobs": 3})
    assert [watched.may_submit() for _ in range(5)] == [True, True, True, False, False]
    assert watched.reason == StopReason(StopKind.JOBS_CEILING, "ceilings.jobs: 3 jobs have been submitted")


def test_processes_share_the_ceilings_and_one_without_a_place_has_not_reached_any() -> None:
    watched = stops(ceilings={"jobs": 5, "cost": 1.0}, price=1.0)
    watched.set_share(Share(0, 2))
    watched.set_share(NO_SHARE)
    assert [watched.may_submit() for _ in range(4)] == [True, True, True, False]
    other = stops(ceilings={"jobs": 5, "cost": 1.0}, price=1.0)
    other.set_share(Share(1, 2))
    other.ended(0.0, True, 500)
    assert other.reason is not None


def test_money_is_execution_time_at_its_price() -> None:
    watched = stops(price=0.5, ceilings={"cost": 1.0})
    watched.ended(0.0, True, 1999)
    assert watched.reason is None
    watched.ended(1.0, True, 1)
    assert watched.reason is not None
    assert watched.reason.kind is StopKind.COST_CEILING
    assert not watched.may_submit()


def test_errors_count_only_for_a_while_and_only_when_there_are_enough() -> None:
    watched = stops(abort={"errors": "50 %", "over": "10s", "jobs": 4})
    for at in range(3):
        watched.ended(float(at), False, None)
    assert watched.reason is None
    for at in range(20, 24):
        watched.ended(float(at), at % 2 == 0, None)
    assert watched.reason is None
    watched.ended(24.0, False, None)
    assert watched.reason == StopReason(
        StopKind.ABORT_ERRORS, "abort.errors: 3 of the 5 jobs that ended in the last 10 s failed"
    )


def test_the_first_reason_stays() -> None:
    watched = stops(price=1.0, ceilings={"cost": 0.001}, abort={"jobs": 1})
    watched.ended(0.0, False, 1000)
    first = watched.reason
    watched.ended(1.0, False, 1000)
    assert watched.reason == first
    assert first is not None
    assert first.kind is StopKind.COST_CEILING


def test_a_target_elsewhere_has_a_rule_without_asking() -> None:
    remote = stops(target="https://api.runpod.ai/v2/x")
    for at in range(20):
        remote.ended(float(at), False, None)
    assert remote.reason == StopReason(
        StopKind.ABORT_ERRORS, "abort.errors: 20 of the 20 jobs that ended in the last 30 s failed"
    )


def test_without_rules_nothing_stops() -> None:
    watched = stops()
    for at in range(1000):
        assert watched.may_submit()
        watched.ended(float(at), False, 10_000)
    assert watched.reason is None
