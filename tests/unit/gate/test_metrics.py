"""Every metric of the table can be read by each of its consumers: gates, abort rules, simulations, reports."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from loadtest.analyze.jobs import jobs_of
from loadtest.analyze.summary import FlowSummary, Verdict
from loadtest.capacity.planning.objective import objective_value
from loadtest.capacity.simulation.simulate import Replication
from loadtest.capacity.simulation.simulated_run import COLD, COMPLETED, TIMED_OUT, WARM
from loadtest.gate.inputs import gate_inputs
from loadtest.gate.judge import judge
from loadtest.record.sample import ChunkSeen, Sample
from loadtest.scenario.abort import StopRules
from loadtest.scenario.gates import Gate, parse_gate
from loadtest.scenario.job_limits import JobLimit
from loadtest.scenario.metrics import SPECS, Metric
from loadtest.scenario.model import Scenario
from tests.unit.analyze.rows import START_AT, chunks, job, run, run_data, samples, scenario

FLOW = {metric: metric.spec.flows[0] for metric in Metric}


def gate_on(metric: Metric, limit: float = 0.5) -> Gate:
    where = (JobLimit(metric=Metric.DELAY, limit=1),) if metric is Metric.GOODPUT else ()
    statistic = "max" if metric.is_time else ""
    return Gate(metric=metric, statistic=statistic, limit=limit, flow=FLOW[metric], where=where)


def row(seq: int, metric: Metric) -> dict[str, Any]:
    began_at = START_AT + seq / 10 + 0.2
    content = {"first_content_at": began_at, "last_content_at": began_at + 0.09, "output_tokens": 10}
    content["input_tokens"] = 30
    return job(seq, seq / 10, flow=FLOW[metric], first_chunk_at=began_at, **content)


def seen(began_at: float) -> list[ChunkSeen]:
    return [ChunkSeen(began_at + token / 100, 1) for token in range(10)]


def test_every_metric_has_an_entry_in_the_table() -> None:
    assert list(SPECS) == list(Metric)


@pytest.mark.parametrize("metric", Metric)
def test_a_gate_on_a_metric_reads_back_and_is_judged(metric: Metric) -> None:
    gate = gate_on(metric)
    assert parse_gate(str(gate)) == gate
    table = samples(*(row(seq, metric) for seq in range(100)))
    arrived = chunks(*((seq, each) for seq in range(100) for each in seen(row(seq, metric)["first_content_at"])))
    inputs = gate_inputs(run_data(run(scenario(flows={FLOW[metric]: {}})), table, chunks=arrived))
    result = judge(gate, replace(inputs, start_kind=np.where(np.arange(100) < 3, 2, 0)))
    assert result.observed is not None
    assert result.detail.endswith(".")


@pytest.mark.parametrize(("unknown", "word"), [(0, Verdict.PASS), (200, Verdict.INCONCLUSIVE)])
def test_a_time_per_token_without_a_count_of_the_tokens_is_undecided(unknown: int, word: Verdict) -> None:
    rows = [row(seq, Metric.TPOT) for seq in range(400)]
    for each in rows[:unknown]:
        each["output_tokens"] = None
    inputs = gate_inputs(run_data(run(scenario(flows={FLOW[Metric.TPOT]: {}})), samples(*rows)))
    assert judge(parse_gate("tpot p90 < 40ms"), inputs).verdict is word


@pytest.mark.parametrize("metric", [metric for metric in Metric if metric.is_time and not metric.is_pooled])
def test_a_live_sample_has_the_time_that_the_analysis_computes(metric: Metric) -> None:
    recorded = row(7, metric)
    live = Sample(**{name: value for name, value in recorded.items() if name in Sample.__struct_fields__})
    value_s = metric.spec.time_s(live)
    assert value_s is not None
    assert value_s * 1000 == pytest.approx(jobs_of(samples(recorded)).times_ms(metric)[0])
    assert metric.spec.time_s(Sample(seq=7, flow=FLOW[metric], intended_at=START_AT)) is None


@pytest.mark.parametrize("metric", [metric for metric in Metric if metric.spec.abortable])
def test_an_abort_rule_can_judge_every_abortable_metric(metric: Metric) -> None:
    gate = str(gate_on(metric, 1e6 if metric.is_rate else 0.999 if metric is Metric.GOODPUT else 1e-3))
    asked = {"name": "s", "load": {"stages": [{"rate": "1/s", "for": "1s"}]}, "flows": {FLOW[metric]: {}}}
    stops = StopRules(Scenario.model_validate(asked | {"abort": {"over": "10s", "gates": [gate]}}))
    assert stops.watch is not None
    stops.evaluate(START_AT)
    for seq in range(60):
        fields = row(seq, metric) | {"outcome": "failed" if metric.is_share else "completed"}
        stops.watch.ended(Sample(**fields), START_AT + 1, seen(fields["first_content_at"]))
    stops.evaluate(START_AT + 10)
    assert stops.reason is not None
    assert f'"{gate}"' in stops.reason.detail


@pytest.mark.parametrize("metric", [metric for metric in Metric if not metric.spec.abortable])
def test_an_abort_rule_refuses_every_other_metric(metric: Metric) -> None:
    asked = {"name": "s", "load": {"stages": [{"rate": "1/s", "for": "1s"}]}}
    with pytest.raises(ValueError, match="is known only after the run"):
        Scenario.model_validate(asked | {"abort": {"gates": [str(gate_on(metric))]}})


@pytest.mark.parametrize("metric", [metric for metric in Metric if metric.spec.simulated])
def test_a_simulation_gives_every_simulated_metric(metric: Metric) -> None:
    start = np.array([COLD, WARM, WARM, WARM], dtype=np.int8)
    times = (np.full(4, each) for each in (1.0, 0.25, 2.0, 0.5))
    outcome = np.array([COMPLETED, COMPLETED, COMPLETED, TIMED_OUT], dtype=np.int8)
    simulated = Replication(*times, start, outcome, 10.0, 0.0, 0.0, 0.0)
    expected = {Metric.DELAY: 1.25, Metric.COLD_STARTS: 0.25, Metric.ERRORS: 0.25}.get(metric, 3.75)
    statistic = "mean" if metric.is_time else ""
    assert objective_value(Gate(metric=metric, statistic=statistic, limit=0.5), simulated) == expected


@pytest.mark.parametrize("metric", [metric for metric in Metric if metric.is_time])
def test_every_time_but_send_lag_is_a_figure_of_its_flow(metric: Metric) -> None:
    assert (metric.spec.column in FlowSummary.__struct_fields__) == (metric is not Metric.SEND_LAG)
