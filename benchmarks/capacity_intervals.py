"""Whether a plan's intervals hold the truth: calibrated from short runs of a system that shares no code with it.

`python -m benchmarks.capacity_intervals --seeds 100` prints, for fixed workers and both scalers, how often the 95 %
interval of delay p95 holds the true one, and how often "met" is wrong: the truth misses the objective by more than a
tenth. Each seed calibrates from 100 to 500 jobs, with fewer workers and at a lower rate than are then planned. Flex
workers are measured as `scenarios/cold-start.yaml` does: most jobs wait for a start.

`--check` instead counts how many intervals of `loadtest capacity --check` hold what a run of 300 s measured, with a
burst at its begin.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import count

import numpy as np

from loadtest.analyze.jobs import LoadWindow
from loadtest.analyze.workers import WorkerUptime
from loadtest.capacity.backtest.backtest import HeldOut, backtest
from loadtest.capacity.backtest.replica import FIGURES
from loadtest.capacity.calibration.calibrate import calibrate
from loadtest.capacity.calibration.measurements import MeasuredRun
from loadtest.capacity.estimates import Estimate
from loadtest.capacity.planning.objective import ObjectiveStatus
from loadtest.capacity.planning.optimizer import Problem
from loadtest.capacity.simulation.predict import SimulationBudget
from loadtest.capacity.simulation.workload import WorkerConfig, fixed, setting_of
from loadtest.endpoint.settings import QueueDelay, RequestCount
from loadtest.scenario.gates import parse_gate
from loadtest.scenario.model import Scenario
from loadtest.traffic.arrivals import draw_schedule
from loadtest.traffic.settings import OpenLoad
from tests.independent.endpoint import Simulation, System
from tests.independent.recorded import arrivals, observed
from tests.unit.analyze.rows import START_AT, scenario

TRUE_JOBS, TRUE_RUNS = 20_000, 4
LIMITS = (0.5, 0.7, 0.9, 1.1, 1.5, 2.0, 3.0)
"""Limits of the objective, as shares of the true figure; up to 0.9 "met" is wrong by more than a tenth."""
LIMIT_S = 1.0
"""The objective for which the fewest fixed workers are sought."""


@dataclass(frozen=True)
class Case:
    """A system as measured, at a rate, and as planned: `setting` of `planned`, at `rate_per_s`."""

    name: str
    measured: System
    measured_per_s: float
    planned: System
    setting: WorkerConfig
    rate_per_s: float


def _lognormal(median_s: float, sigma: float) -> Callable[..., float]:
    return lambda rng: median_s * math.exp(sigma * rng.gauss(0, 1))


def cases() -> list[Case]:
    """Return fixed workers, and flex ones of both scalers."""
    service, start = _lognormal(1.0, 0.6), _lognormal(8.0, 0.2)
    by_delay = System(service, most=4, start=start, scaler=("queue delay", 1.0), idle_s=5.0)
    by_count = replace(by_delay, scaler=("request count", 1), idle_s=4.0)
    fixed_measured, fixed_planned = (System(service, active=n, most=n) for n in (3, 8))
    delay_planned, count_planned = replace(by_delay, active=2, most=8), replace(by_count, most=10)
    return [
        Case("fixed", fixed_measured, 1.5, fixed_planned, fixed(8), 5.0),
        Case(
            "queue delay",
            by_delay,
            0.01,
            delay_planned,
            WorkerConfig(2, 8, QueueDelay.model_construct(queue_delay=1.0), 5.0),
            2.0,
        ),
        Case(
            "request count",
            by_count,
            0.01,
            count_planned,
            WorkerConfig(0, 10, RequestCount(request_count=1), 4.0),
            1.5,
        ),
    ]


def true_p95_s(system: System, rate_per_s: float, seed: int) -> float:
    """Return delay p95 of one long run of the system, without its beginning."""
    done = Simulation(system, arrivals(rate_per_s, TRUE_JOBS, seed), seed).run().jobs
    return float(np.quantile([job.taken - job.at for job in done[TRUE_JOBS // 10 :]], 0.95))


@dataclass(frozen=True)
class Answer:
    """Delay p95 in seconds as planned, and the fewest fixed workers that meet `LIMIT_S`, 0 if none were sought."""

    observed: Estimate
    workers: int = 0


def answer(case: Case, budget: SimulationBudget, seed: int) -> Answer:
    """Return the plan from one run of 100 to 500 jobs."""
    jobs = 100 + 100 * (seed % 5)
    run = observed(case.measured, arrivals(case.measured_per_s, jobs, seed), seed)
    _, work = calibrate([MeasuredRun("made", scenario(endpoint=_settings(case.measured)), run)])
    problem = Problem(parse_gate(f"delay p95 < {LIMIT_S}s"), replace(work, arrivals="poisson"), None, budget, budget)
    found = problem.evaluate(case.setting, case.rate_per_s).observed or Estimate(math.inf, 0.0, math.inf)
    return Answer(found, _fewest(problem, case.rate_per_s) if case.setting.fixed else 0)


def _fewest(problem: Problem, rate_per_s: float) -> int:
    stable = problem.min_stable_workers(rate_per_s)
    met = (n for n in count(stable) if problem.evaluate(fixed(n), rate_per_s).standing is ObjectiveStatus.MET)
    return next(met)


def _settings(system: System) -> dict[str, object]:
    kind, value = system.scaler
    scaler = {"queue_delay": f"{value}s"} if kind == "queue delay" else {"request_count": int(value)}
    workers = {"active": system.active, "max": system.most}
    return {"workers": workers, "scaler": scaler, "idle_timeout": f"{system.idle_s}s", "revival": None}


def line(case: Case, answers: Sequence[Answer], true_s: float, true_of: Callable[[System], float]) -> str:
    """Return the row of a case: cover, wrong "met" of given limits, and of the fewest workers that were found."""
    covers = np.mean([each.observed.low <= true_s <= each.observed.high for each in answers])
    too_low = [each.observed.high < share * true_s for each in answers for share in LIMITS if share <= 1 / 1.1]
    met = [each.observed.high < share * true_s for each in answers for share in LIMITS]
    widths = np.median([(each.observed.high - each.observed.low) / true_s for each in answers])
    found = [each.workers for each in answers if each.workers]
    too_few = [true_of(replace(case.planned, active=n, most=n)) > 1.1 * LIMIT_S for n in found]
    sought = f"{sum(too_few)} of {len(found)}" if found else "–"
    wrong = f"{sum(too_low)} of {sum(met)}"
    return f"| {case.name} | {len(answers)} | {true_s:.2f} s | {covers:.0%} | {widths:.2f} | {wrong} | {sought} |"


def table(seeds: Iterable[int], budget: SimulationBudget, processes: int) -> Iterator[str]:
    """Yield the table line by line."""
    yield '| workers | calibrations | true p95 | intervals cover | width | "met" is wrong | fewest workers wrong |'
    yield "|---|--:|--:|--:|--:|--:|--:|"
    for case in cases():

        @cache
        def true_of(system: System, rate_per_s: float = case.rate_per_s) -> float:
            return float(np.mean([true_p95_s(system, rate_per_s, 1000 + seed) for seed in range(TRUE_RUNS)]))

        with ProcessPoolExecutor(processes) as pool:
            answers = list(pool.map(partial(answer_by_name, case.name, budget), seeds))
        yield line(case, answers, true_of(case.planned), true_of)


CHECKED = {"stages": [{"rate": "1.2/s", "for": "20s"}, {"rate": "0.3/s", "for": "280s"}]}
CHECKED_S, CHECKED_WORKERS, CALIBRATION_JOBS = 300.0, 6, 200


def checked(name: str, seed: int) -> dict[str, bool]:
    """Return for each figure of a run whether its interval holds it; calibrated from another run."""
    case = next(each for each in cases() if each.name == name)
    at_s = arrivals(case.measured_per_s, CALIBRATION_JOBS, seed)
    run = MeasuredRun("made", scenario(endpoint=_settings(case.measured)), observed(case.measured, at_s, seed))
    system = replace(case.measured, active=case.measured.active and CHECKED_WORKERS, most=CHECKED_WORKERS)
    asked = scenario(endpoint=_settings(system), load=CHECKED)
    found = backtest(calibrate([run])[1], _held_out(asked, system, seed), seed, replicas=39)
    return {each.name: bool(each.in_interval) for each in found.figures}


def _held_out(asked: Scenario, system: System, seed: int) -> HeldOut:
    assert isinstance(asked.load, OpenLoad)
    drawn = 1000 + seed
    at_s = draw_schedule(asked.load, {"run": 1.0}, drawn).at_s.tolist()
    health_at = np.arange(0.5, CHECKED_S)
    spans = np.array([span for worker in Simulation(system, at_s, drawn).run().workers for span in worker.spans])
    up = ((spans[:, 0] <= health_at[:, None]) & (spans[:, 1] > health_at[:, None])).sum(axis=1).astype(float)
    return HeldOut(
        name="made",
        scenario=asked,
        setting=setting_of(asked.endpoint),
        jobs=observed(system, at_s, drawn),
        window=LoadWindow(START_AT, START_AT + CHECKED_S),
        complete=True,
        workers=WorkerUptime(health_at, up, CHECKED_S),
    )


def check_table(seeds: Sequence[int], processes: int) -> Iterator[str]:
    """Yield the table of runs as predicted, line by line."""
    yield f"| workers | {' | '.join(FIGURES)} |"
    yield "|---|--:|--:|--:|--:|"
    for case in cases():
        with ProcessPoolExecutor(processes) as pool:
            found = list(pool.map(partial(checked, case.name), seeds))
        inside = (f"{sum(each[name] for each in found)} of {len(found)}" for name in FIGURES)
        yield f"| {case.name} | {' | '.join(inside)} |"


def answer_by_name(name: str, budget: SimulationBudget, seed: int) -> Answer:
    """Return the answer for the case of this name; a system's functions cannot be sent to another process."""
    return answer(next(each for each in cases() if each.name == name), budget, seed)


def main() -> None:
    """Print one of the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--check", action="store_true")
    asked = parser.parse_args()
    seeds = range(asked.seeds)
    of_plans = partial(table, seeds, SimulationBudget(10, 4000))
    rows = check_table(seeds, asked.processes) if asked.check else of_plans(asked.processes)
    for row in rows:
        print(row, flush=True)


if __name__ == "__main__":
    main()
