"""A measured search of queues whose capacity is known, in virtual time: it reports what they can sustain."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from loadtest.analyze.run_data import RunData
from loadtest.analyze.summary import GateResult, Verdict
from loadtest.capacity.breakpoint.backlog import backlog_of
from loadtest.capacity.breakpoint.bisection import Bounds, Probe, ProbeOutcome, SearchEnd, next_step
from loadtest.capacity.breakpoint.result import ProbeResult, with_backlog
from loadtest.record.run import StageSpan
from loadtest.record.sample import SAMPLES
from loadtest.scenario.metrics import Metric, Unit
from tests.unit.analyze import rows

Floats = NDArray[np.float64]
WITHIN = 0.05
LOAD_S, DRAIN_S = 10.0, 600.0
Draw = Callable[[np.random.Generator, float, int], Floats]
CONSTANT: Draw = lambda rng, mean_s, n: np.full(n, mean_s)  # noqa: E731
CV_03: Draw = lambda rng, mean_s, n: rng.gamma(1 / 0.09, 0.09 * mean_s, n)  # noqa: E731
EXPONENTIAL: Draw = lambda rng, mean_s, n: rng.exponential(mean_s, n)  # noqa: E731


@dataclass(frozen=True)
class Queue:
    """Workers that take jobs in order; the gate is on the p95 of the delay, none if infinite."""

    workers: int
    service_s: float
    draw: Draw
    gate_s: float = float("inf")

    @property
    def capacity_per_s(self) -> float:
        return self.workers / self.service_s

    def run(self, rate_per_s: float, load_s: float, rng: np.random.Generator) -> tuple[Floats, Floats, Floats]:
        """Return when jobs arrived and ended, and how long they took, of constant arrivals."""
        arrived_s = np.arange(int(rate_per_s * load_s)) / rate_per_s
        service_s = self.draw(rng, self.service_s, len(arrived_s))
        free_s, ended_s = [0.0] * self.workers, np.empty_like(arrived_s)
        for index, at_s in enumerate(arrived_s):
            ended_s[index] = max(heapq.heappop(free_s), at_s) + service_s[index]
            heapq.heappush(free_s, ended_s[index])
        return arrived_s, ended_s, service_s

    def holds(self, arrived_s: Floats, ended_s: Floats, service_s: Floats) -> bool:
        """Return whether the gate holds after the first fifth."""
        delays_s = (ended_s - service_s - arrived_s)[len(arrived_s) // 5 :]
        return float(np.quantile(delays_s, 0.95)) < self.gate_s


def as_run(arrived_s: Floats, ended_s: Floats, service_s: Floats, rate_per_s: float, load_s: float) -> RunData:
    n = len(arrived_s)
    table = pa.table(
        {
            "seq": np.arange(n),
            "flow": ["run"] * n,
            "job_id": [f"id-{seq}" for seq in range(n)],
            "outcome": ["completed"] * n,
            "intended_at": rows.START_AT + arrived_s,
            "sent_at": rows.START_AT + arrived_s,
            "finished_at": rows.START_AT + ended_s,
            "execution_ms": np.round(service_s * 1000),
        }
    )
    columns = [
        table.column(each.name).cast(each.type) if each.name in table.column_names else pa.nulls(n, each.type)
        for each in SAMPLES
    ]
    asked = rows.scenario(
        load={"arrivals": "constant", "stages": [{"rate": f"{rate_per_s:.6f}/s", "for": f"{load_s:.6f}s"}]}
    )
    end_at = rows.START_AT + load_s
    record = rows.run(asked, stages=[StageSpan("", load_s)], load_ended_at=end_at, ended_at=end_at + DRAIN_S)
    return rows.run_data(record, pa.Table.from_arrays(columns, schema=SAMPLES))


def probed(queue: Queue, step: Probe, rng: np.random.Generator) -> ProbeResult:
    load_s = LOAD_S * step.stretch
    times_s = queue.run(step.rate_per_s, load_s, rng)
    holds = queue.holds(*times_s)
    gate = GateResult(
        "delay", None, 1.0, 1, Verdict.PASS if holds else Verdict.FAIL, "", Metric.DELAY, Unit.MILLISECONDS
    )
    outcome = ProbeOutcome.PASSES if holds else ProbeOutcome.FAILS
    judged = ProbeResult(step.rate_per_s, outcome, "", step.stretch, gates=[gate])
    return with_backlog(judged, backlog_of(as_run(*times_s, step.rate_per_s, load_s)), WITHIN)


def search(queue: Queue, seed: int) -> tuple[float, float, Sequence[ProbeResult]]:
    """Return the reported rate as a share of the capacity, how long all stages lasted, and the probes."""
    rng, tried = np.random.default_rng(seed), list[ProbeResult]()
    first_per_s = round(queue.capacity_per_s * rng.uniform(0.3, 0.7), 2)
    while isinstance(
        step := next_step(Bounds(first_per_s, 4 * queue.capacity_per_s, WITHIN), [each.tried for each in tried]),
        Probe,
    ):
        tried.append(probed(queue, step, rng))
        assert len(tried) < 60
    assert isinstance(step, SearchEnd)
    assert step.highest_passing_per_s is not None
    spent_s = sum(LOAD_S * each.stretch for each in tried)
    return step.highest_passing_per_s / queue.capacity_per_s, spent_s, tried


QUEUES = {
    "1 worker, constant service": Queue(1, 0.02, CONSTANT, 0.5),
    "4 workers, CV 0.3": Queue(4, 0.1, CV_03, 0.5),
    "6 workers, CV 0.3, no gate": Queue(6, 0.125, CV_03),
    "20 workers, CV 0.3": Queue(20, 0.4, CV_03, 0.5),
    "6 workers, exponential service, no gate": Queue(6, 0.125, EXPONENTIAL),
}


@pytest.mark.parametrize("name", QUEUES)
def test_the_reported_rate_is_sustained_and_close_to_the_capacity(name: str) -> None:
    queue = QUEUES[name]
    found = [search(queue, seed)[0] for seed in range(6)]
    assert max(found) <= 1.0
    assert sum(share >= 0.93 for share in found) >= 5, found
    rng = np.random.default_rng(99)
    assert queue.holds(*queue.run(min(found) * queue.capacity_per_s, 120.0, rng))


def test_a_rate_above_the_capacity_does_not_pass_however_kind_the_gate_is() -> None:
    """At 3 % above the capacity a stage of 10 s shows nothing; the long stages that confirm do."""
    queue = Queue(6, 0.125, CV_03)
    rate_per_s, rng = 1.03 * queue.capacity_per_s, np.random.default_rng(1)
    short = probed(queue, Probe(rate_per_s), rng)
    long = probed(queue, Probe(rate_per_s, short.needed), rng)
    assert short.outcome is ProbeOutcome.PASSES
    assert short.needed > 1
    assert (long.outcome, long.overloaded) == (ProbeOutcome.FAILS, True)
    assert long.tried.capacity_per_s == pytest.approx(queue.capacity_per_s, rel=0.02)


def test_jobs_longer_than_half_of_the_stage_are_no_backlog() -> None:
    queue = Queue(100, 6.0, CONSTANT)
    assert not probed(queue, Probe(10.0), np.random.default_rng(1)).overloaded
    assert probed(queue, Probe(30.0), np.random.default_rng(1)).overloaded


def test_a_probe_that_was_not_valid_keeps_its_outcome() -> None:
    queue = Queue(6, 0.125, CV_03)
    times_s = queue.run(100.0, LOAD_S, np.random.default_rng(1))
    backlog = backlog_of(as_run(*times_s, 100.0, LOAD_S))
    invalid = ProbeResult(100.0, ProbeOutcome.INVALID, "why")
    assert with_backlog(invalid, backlog, WITHIN) == invalid
    unsure = with_backlog(ProbeResult(100.0, ProbeOutcome.INCONCLUSIVE, "why"), backlog, WITHIN)
    assert (unsure.outcome, unsure.overloaded) == (ProbeOutcome.FAILS, True)
