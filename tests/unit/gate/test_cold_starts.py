"""The gate on cold starts, judged on runs of an endpoint that shares no code with the analysis."""

from __future__ import annotations

from dataclasses import replace

import pytest

from loadtest.analyze.summary import Verdict
from loadtest.gate.inputs import gate_inputs
from loadtest.gate.judge import judge
from loadtest.scenario.gates import parse_gate
from tests.independent.endpoint import Draw, Simulation, System
from tests.independent.recorded import arrivals, observed
from tests.unit.analyze.rows import run, run_data, samples, scenario

STARTS: dict[str, Draw] = {
    "constant": lambda _: 40.0,
    "log-normal": lambda rng: rng.lognormvariate(2.3, 0.6),
    "short": lambda rng: rng.lognormvariate(0.5, 0.3),
}


@pytest.mark.parametrize("stated", [True, False])
@pytest.mark.parametrize("name", STARTS)
def test_without_revivals_each_start_that_a_job_waited_for_is_cold(name: str, stated: bool) -> None:
    system = System(lambda rng: rng.expovariate(0.5), most=3, start=STARTS[name], scaler=("request count", 1))
    at_s = arrivals(0.15, 400, 1)
    truth = Simulation(system, at_s, 1).run()
    first = {}
    for job in sorted(truth.jobs, key=lambda each: each.taken):
        first.setdefault(job.worker, job)
    share = sum(job.taken - job.at > 0.25 for job in first.values()) / len(at_s)
    assert share > 0.12
    asked = scenario(endpoint={"workers": {"active": 0, "max": 3}, "revival": None})
    if not stated:
        asked = scenario(target="https://api.runpod.ai/v2/x", ceilings={"jobs": 1000})
    empty = run_data(run(asked), samples())
    data = replace(empty, table=replace(empty.table, jobs=observed(system, at_s, 1)))
    result = judge(parse_gate("cold starts < 10 %"), gate_inputs(data))
    assert result.verdict is Verdict.FAIL
    assert result.observed == pytest.approx(share, abs=0.01)
