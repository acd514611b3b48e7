"""A run with real processes against the hostile endpoint; `make hostile` makes thirty."""

from __future__ import annotations

from pathlib import Path

from tests.hostile.invariants import violations
from tests.hostile.plan import draw_plan
from tests.hostile.real import run_real


def test_run_of_three_processes_that_two_signals_end_breaks_no_promise(tmp_path: Path) -> None:
    plan = draw_plan(3, 322, real=True)
    assert plan.generators == 3
    assert plan.tls
    assert [each.kind for each in plan.incidents] == ["signal", "signal"]
    assert "\n".join(violations(run_real(plan, tmp_path))) == ""
