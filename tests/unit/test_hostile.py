"""Hostile runs in virtual time, and what they must find if a promise is broken on purpose."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from loadtest.drive.canceller import Canceller
from loadtest.drive.cluster.ceilings import RunCeilings
from loadtest.drive.http.client import HttpClient
from loadtest.record.recorder import EndedJob, Recorder
from loadtest.record.sample import Sample
from loadtest.traffic.arrivals import Schedule
from loadtest.traffic.rate_limit import SlidingWindowLimiter
from tests.hostile.endpoint import Behaviour
from tests.hostile.faults import FAULTS
from tests.hostile.ids import IDS
from tests.hostile.invariants import violations
from tests.hostile.plan import INPUTS, Plan, draw_plan
from tests.hostile.virtual import run_virtual


@pytest.mark.parametrize("number", range(15))
def test_hostile_run_breaks_no_promise(number: int, tmp_path: Path) -> None:
    assert "\n".join(violations(run_virtual(draw_plan(7, number, real=False), tmp_path))) == ""


def calm(behaviour: Behaviour, **keys: Any) -> Plan:
    """A plan without incidents and faults, but for these."""
    scenario = {
        "name": "calm",
        "load": {"arrivals": "constant", "stages": [{"rate": "20/s", "for": "3s"}]},
        "flows": {"run": {"inputs": INPUTS, "polling": {"every": "100ms"}}},
        "drain": {"within": "1s"},
        **keys,
    }
    return Plan(1, 1, scenario, behaviour, generators=2, incidents=(), key="sk-calm", offsets_s=(0.0, 0.0))


def _send_twice(patch: pytest.MonkeyPatch) -> None:
    once = HttpClient.send

    def send(self: HttpClient, method: str, *rest: Any) -> Any:
        if method == "POST":
            once(self, method, *rest)
        return once(self, method, *rest)

    patch.setattr(HttpClient, "send", send)


def _lose_rows(patch: pytest.MonkeyPatch) -> None:
    record = Recorder.record
    patch.setattr(Recorder, "record", lambda self, ended: record(self, [each for each in ended if each[0].seq % 5]))


def _record_the_key(patch: pytest.MonkeyPatch) -> None:
    def leak(self: Recorder, ended: Sequence[EndedJob]) -> None:
        for sample, _ in ended:
            sample.error = "refused: sk-calm"
        record(self, ended)

    record = Recorder.record
    patch.setattr(Recorder, "record", leak)


def _keep_no_limit(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(SlidingWindowLimiter, "next_at", lambda self, now: now)


def _keep_no_ceiling(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Schedule, "first", lambda self, count: self)
    patch.setattr(RunCeilings, "reached", lambda self, *_: None)


def _cancel_nothing(patch: pytest.MonkeyPatch) -> None:
    def confirm(self: Canceller, sample: Sample) -> None:
        self._on_confirmed(sample, self._clock.now())

    patch.setattr(Canceller, "add", confirm)


Sabotage = Callable[[pytest.MonkeyPatch], None]
NEVER = Behaviour(never_ends=1.0)


@pytest.mark.parametrize(
    ("sabotage", "plan", "found"),
    [
        (_send_twice, calm(Behaviour()), {"sent_twice"}),
        (_lose_rows, calm(Behaviour()), {"audits"}),
        (_record_the_key, calm(Behaviour()), {"keys"}),
        (_keep_no_limit, calm(Behaviour(), limits={"run": "10 per 1 s"}), {"windows"}),
        (_keep_no_ceiling, calm(Behaviour(), ceilings={"jobs": 20}), {"ceilings"}),
        (_cancel_nothing, calm(NEVER), {"left_over"}),
    ],
)
def test_broken_promise_is_found(
    sabotage: Sabotage, plan: Plan, found: set[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert violations(run_virtual(plan, tmp_path / "whole")) == []
    sabotage(monkeypatch)
    lines = violations(run_virtual(plan, tmp_path / "sabotaged"))
    assert found <= {line.partition(":")[0] for line in lines}


def test_three_hundred_plans_meet_every_misbehaviour() -> None:
    plans = [draw_plan(1, number, real=False) for number in range(300)]
    assert {name for plan in plans for name in plan.behaviour.faults} == FAULTS.keys()
    assert {name for plan in plans for name in plan.behaviour.ids} == IDS.keys()
    assert plans == [draw_plan(1, number, real=False) for number in range(300)]
