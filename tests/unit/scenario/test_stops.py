"""Ceilings and the error rule, which stop a run."""

from __future__ import annotations

from typing import Any

from loadtest.record.sample import Outcome, Sample
from loadtest.scenario.abort import StopKind, StopReason, StopRules
from loadtest.scenario.model import Scenario
from loadtest.traffic.limit_shares import NO_SHARE, Share


def stops(**settings: Any) -> StopRules:
    load = {"stages": [{"rate": "1/s", "for": "1s"}]}
    return StopRules(Scenario.model_validate({"name": "s", "load": load, **settings}))


def end(rules: StopRules, at: float, completed: bool, execution_ms: int | None = None) -> None:
    outcome = Outcome.COMPLETED if completed else Outcome.FAILED
    rules.ended(Sample(0, "run", 0.0, outcome=outcome, execution_ms=execution_ms), at)


def test_the_jobs_ceiling_is_exact() -> None:
    rules = stops(ceilings={"jobs": 3})
    assert [rules.may_submit() for _ in range(5)] == [True, True, True, False, False]
    assert rules.reason == StopReason(StopKind.JOBS_CEILING, "ceilings.jobs: 3 jobs have been submitted")


def test_processes_share_the_ceilings_and_one_without_a_share_keeps_the_ceilings_it_had() -> None:
    rules = stops(ceilings={"jobs": 5, "cost": 1.0}, price=1.0)
    rules.set_share(Share(0, 2))
    rules.set_share(NO_SHARE)
    assert [rules.may_submit() for _ in range(4)] == [True, True, True, False]
    other = stops(ceilings={"jobs": 5, "cost": 1.0}, price=1.0)
    other.set_share(Share(1, 2))
    end(other, 0.0, True, 500)
    assert other.reason is not None


def test_cost_is_execution_time_at_its_price() -> None:
    rules = stops(price=0.5, ceilings={"cost": 1.0})
    end(rules, 0.0, True, 1999)
    assert rules.reason is None
    end(rules, 1.0, True, 1)
    assert rules.reason is not None
    assert rules.reason.kind is StopKind.COST_CEILING
    assert not rules.may_submit()


def test_errors_count_within_the_window_and_once_enough_jobs_have_ended() -> None:
    rules = stops(abort={"errors": "50 %", "over": "10s", "jobs": 4})
    for at in range(3):
        end(rules, float(at), False)
    assert rules.reason is None
    for at in range(20, 24):
        end(rules, float(at), at % 2 == 0)
    assert rules.reason is None
    end(rules, 24.0, False)
    assert rules.reason == StopReason(
        StopKind.ABORT_ERRORS, "abort.errors: 3 of the 5 jobs that ended in the last 10 s failed"
    )


def test_the_first_reason_stays() -> None:
    rules = stops(price=1.0, ceilings={"cost": 0.001}, abort={"jobs": 1})
    end(rules, 0.0, False, 1000)
    first = rules.reason
    end(rules, 1.0, False, 1000)
    assert rules.reason == first
    assert first is not None
    assert first.kind is StopKind.COST_CEILING


def test_a_remote_target_has_an_error_rule_by_default() -> None:
    remote = stops(target="https://api.runpod.ai/v2/x")
    for at in range(20):
        end(remote, float(at), False)
    assert remote.reason == StopReason(
        StopKind.ABORT_ERRORS, "abort.errors: 20 of the 20 jobs that ended in the last 30 s failed"
    )


def test_without_rules_nothing_stops() -> None:
    rules = stops()
    for at in range(1000):
        assert rules.may_submit()
        end(rules, float(at), False, 10_000)
    assert rules.reason is None
