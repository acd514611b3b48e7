"""The error rule, which stops a run."""

from __future__ import annotations

from typing import Any

from loadtest.record.sample import Outcome, Sample
from loadtest.scenario.abort import StopKind, StopReason, StopRules
from loadtest.scenario.model import Scenario


def stops(**settings: Any) -> StopRules:
    load = {"stages": [{"rate": "1/s", "for": "1s"}]}
    return StopRules(Scenario.model_validate({"name": "s", "load": load, **settings}))


def end(rules: StopRules, at: float, completed: bool, execution_ms: int | None = None) -> None:
    outcome = Outcome.COMPLETED if completed else Outcome.FAILED
    rules.ended(Sample(0, "run", 0.0, outcome=outcome, execution_ms=execution_ms), at)


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
    rules = stops(abort={"jobs": 1})
    rules.stop(StopKind.INPUTS, "first")
    end(rules, 0.0, False)
    assert rules.reason == StopReason(StopKind.INPUTS, "first")


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
        end(rules, float(at), False)
    assert rules.reason is None
