"""`python -m benchmarks.capacity_grid`: predictions of `loadtest capacity` for systems that share no code with it.

Each cell is an endpoint by an independent simulator. A run directory of it at some workers and rate is calibrated
from, by the same path as `loadtest capacity`; a run at other workers and another rate is predicted with `--check`,
and its long-run figures by a plan. `--random 200` plans for random systems, and fails if a plan is "met" with exit
code 0 whose true figure misses the objective by more than a tenth.
"""

from __future__ import annotations

import argparse
import io
import math
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console

from benchmarks.capacity_systems import Cell, Constant, grid, random_cells
from loadtest.capacity.planning.objective import ObjectiveStatus
from loadtest.capacity.planning.plan import Plan, decode_plan
from loadtest.capacity.simulation.predict import SimulationBudget
from loadtest.commands.capacity import CapacityRequest, capacity
from loadtest.errors import ExitCode, UsageError
from loadtest.scenario.model import Scenario
from tests.independent.endpoint import Simulation, System
from tests.independent.recorded import arrivals, write_run

JOBS, MIN_S = 1500, 600.0
"""The jobs of a recorded run, and how long it lasts at least: a shorter one shows little but its first starts."""
TRUE_JOBS, TRUE_RUNS = 12_000, 3
"""Jobs and number of the simulations that give the truth of a plan."""
BUDGET = SimulationBudget(10, 5000)
SHARE, MILLISECONDS = 0.1, 20.0
_MISSED = 1.1
_WARM_UP = 0.25


@dataclass(frozen=True)
class Figure:
    """One predicted figure with its interval, and its truth; delays in milliseconds, worker time per second."""

    name: str
    predicted: float
    low: float
    high: float
    true: float

    @property
    def covers(self) -> bool:
        """Return whether the truth lies in the interval."""
        return self.low <= self.true <= self.high

    @property
    def near(self) -> bool:
        """Return whether the prediction is within 10 % of the truth, or 20 ms of a delay."""
        off = abs(self.predicted - self.true)
        return off <= SHARE * self.true or (self.delay and off <= MILLISECONDS)

    @property
    def delay(self) -> bool:
        """Return whether it is a delay."""
        return self.name.startswith("delay")

    @property
    def holds(self) -> bool:
        """Return whether a delay is near or in the interval, or worker time is near."""
        return self.near or (self.delay and self.covers)


@dataclass(frozen=True)
class Answer:
    """What `loadtest capacity` says of a cell: its exit code, or why it refuses."""

    name: str
    code: int | None
    refused: str
    status: str = ""
    true_over_limit: float = math.nan
    run: tuple[Figure, ...] = ()
    plan: tuple[Figure, ...] = ()

    @property
    def wrongly_met(self) -> bool:
        """Return whether an objective is "met" with exit code 0 that in truth is missed by more than a tenth."""
        met = self.code == ExitCode.PASS and self.status == ObjectiveStatus.MET
        return met and not self.true_over_limit <= _MISSED


def scenario(name: str, system: System, rate_per_s: float) -> Scenario:
    """Return the scenario of a run against this system: a handler's workers if jobs overlap or leave a gap."""
    kind, value = system.scaler
    real = system.concurrency > 1 or system.gap_s > 0
    start, length_s = system.start, math.ceil(max(JOBS / rate_per_s, MIN_S))
    constant = isinstance(start, Constant)
    cold = f"{start.value_s}s" if constant else {"median": f"{start.median_s}s", "sigma": start.sigma}
    revival = system.revival and {"within": f"{system.revival[0]}s", "duration": f"{system.revival[1]}s"}
    return Scenario.model_validate(
        {
            "name": name.replace(" ", "-").replace(",", "").replace("%", "percent"),
            "target": {"handler": "handler.py", "concurrency": system.concurrency} if real else "embedded",
            "load": {"stages": [{"rate": f"{rate_per_s:.6f}/s", "for": f"{length_s}s"}]},
            "job_timeout": "10h",
            "drain": {"within": "10h"},
            "endpoint": {
                "workers": {"active": system.active, "max": system.most},
                "scaler": {"queue_delay": f"{value}s"} if kind == "queue delay" else {"request_count": int(value)},
                "idle_timeout": f"{system.idle_s}s",
                "revival": revival,
            }
            | ({} if real else {"cold_start": cold, "crash_rate": f"{system.crashes:.0%}"}),
        }
    )


def truth(system: System, rate_per_s: float, seed: int) -> dict[str, float]:
    """Return the figures of the system once it is settled: delays in ms, and billed worker-seconds per second."""
    p50, p95, billed = [], [], []
    for number in range(TRUE_RUNS):
        at_s = arrivals(rate_per_s, TRUE_JOBS, seed + number)
        simulation = Simulation(system, at_s, seed + number).run()
        first, last = _WARM_UP * at_s[-1], at_s[-1]
        delay_ms = [(job.taken - job.at) * 1000 for job in simulation.jobs if job.at >= first]
        p50.append(float(np.quantile(delay_ms, 0.5)))
        p95.append(float(np.quantile(delay_ms, 0.95)))
        spans = [(start, stop) for worker in simulation.workers for start, stop in worker.spans]
        up_s = sum(max(0.0, min(stop, last) - max(start, first)) for start, stop in spans)
        rounded_s = sum(math.ceil(stop - start) - (stop - start) for start, stop in spans if first <= stop <= last)
        billed.append((up_s + rounded_s) / (last - first))
    figures = {"delay p50": p50, "delay p95": p95, "worker time": billed}
    return {name: float(np.mean(values)) for name, values in figures.items()}


def answer(cell: Cell, seed: int, objective: float | None, directory: Path) -> Answer:
    """Calibrate and plan for an objective, a share of the true p95; without one, predict a second run too."""
    target, rate = cell.predicted, cell.predicted_per_s
    asked = scenario(cell.name, cell.calibrated, cell.calibrated_per_s)
    write_run(directory / "calibration", asked, cell.calibrated, cell.calibrated_per_s, seed)
    checks = []
    if objective is None:
        checks = [directory / "held-out"]
        write_run(checks[0], scenario(cell.name, target, rate), target, rate, seed + 1)
    true = truth(target, rate, seed + 2)
    limit_ms = 2 * true["delay p95"] + 1000 if objective is None else objective * true["delay p95"] + 10
    kind, value = target.scaler
    request = CapacityRequest(
        runs=[directory / "calibration"],
        rate=f"{rate:.6f}/s",
        slo=f"delay p95 < {limit_ms:.0f}ms",
        workers=f"{target.active} to {target.most}" if target.active < target.most else str(target.most),
        scalers=[f"{kind} {value:g}" + ("s" if kind == "queue delay" else "")] if target.active < target.most else [],
        idle_timeouts=[f"{target.idle_s}s"] if target.active < target.most else [],
        max_workers=target.most,
        checks=checks,
        confirm=BUDGET,
        replicas=79,
    )
    try:
        code = capacity(request, Console(file=io.StringIO()))
    except UsageError as error:
        return Answer(cell.name, None, str(error).split(": ", 1)[-1])
    found = decode_plan((directory / "calibration" / "capacity.json").read_bytes(), Plan)
    return Answer(
        cell.name,
        int(code),
        "",
        str(found.answer.standing),
        true["delay p95"] / limit_ms,
        tuple(_of_run(found)),
        tuple(_of_plan(found, true)),
    )


def _of_run(found: Plan) -> Iterable[Figure]:
    names = {"delay_p50_ms": "delay p50", "delay_p95_ms": "delay p95", "worker_s": "worker time"}
    for check in found.checks:
        for figure in check.figures:
            if figure.name in names and figure.measured is not None:
                scale = check.duration_s if figure.name == "worker_s" else 1.0
                one = figure.predicted
                values = (one.value / scale, one.low / scale, one.high / scale, figure.measured / scale)
                yield Figure(names[figure.name], *values)


def _of_plan(found: Plan, true: dict[str, float]) -> Iterable[Figure]:
    predicted = found.answer.prediction
    if predicted.delay_ms is None or predicted.billed_workers is None:
        return
    figures = (predicted.delay_ms.p50, predicted.delay_ms.p95, predicted.billed_workers)
    for (name, value), one in zip(true.items(), figures, strict=True):
        yield Figure(name, one.value, one.low, one.high, value)


def one_cell(asked: tuple[Cell, int, float | None]) -> Answer:
    """Return the answer for a cell, by way of a temporary directory."""
    cell, seed, objective = asked
    with tempfile.TemporaryDirectory() as directory:
        return answer(cell, seed, objective, Path(directory))


def table(answers: Sequence[Answer]) -> Iterable[str]:
    """Yield a table of all figures in Markdown, and the shares that hold, of runs and of plans."""
    yield "| system | figure | run: predicted (interval) | true | | plan: predicted (interval) | true | | exit |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for each in answers:
        if each.refused:
            yield f"| {each.name} | refused | {each.refused} | | | | | | 2 |"
        for ours, planned in zip(each.run, each.plan, strict=False):
            yield f"| {each.name} | {ours.name} | {_text(ours)} | {_text(planned)} | {each.code} |"
    asked = [each for each in answers if not each.refused]
    for each in asked:
        if not each.run:
            yield from (f"| {each.name} | {one.name} | | | | {_text(one)} | {each.code} |" for one in each.plan)
    figures_of = {"runs": [each.run for each in asked], "plans": [each.plan for each in asked]}
    for what, of_cells in figures_of.items():
        figures = [figure for of_cell in of_cells for figure in of_cell]
        yield ""
        yield f"{what}: p50 and p95 hold in {_share(figures, 'delay', lambda one: one.holds)} (asked: 92 %), "
        yield f"worker time in {_share(figures, 'worker', lambda one: one.holds)} (95 %), "
        yield f"intervals cover {_share(figures, '', lambda one: one.covers)} (90 %)"


def _text(figure: Figure) -> str:
    def short(value: float) -> str:
        return f"{value:.0f}" if figure.delay else f"{value:.2f}"

    interval = f"{short(figure.low)} to {short(figure.high)}"
    mark = "ok" if figure.holds else "**no**"
    return f"{short(figure.predicted)} ({interval}) | {short(figure.true)} | {mark}"


def _share(figures: Sequence[Figure], kind: str, holds: Callable[[Figure], bool]) -> str:
    of_kind = [figure for figure in figures if figure.name.startswith(kind)]
    good = sum(map(holds, of_kind))
    return f"{good} of {len(of_kind)}" + (f", {good / len(of_kind):.0%}" if of_kind else "")


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table, or what plans for random systems say; return 1 if a plan was wrongly "met", else 0."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.capacity_grid", description=__doc__)
    parser.add_argument("--random", type=int, metavar="N", help="plan for N random systems in place of the grid")
    parser.add_argument("--only", default="", metavar="TEXT", help="only the cells with this text in their name")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(argv)
    started_s = time.perf_counter()
    asked: list[tuple[Cell, int, float | None]]
    if options.random is None:
        asked = [(each, options.seed + 10 * index, None) for index, each in enumerate(grid())]
    else:
        draw = random.Random(options.seed).uniform
        cells = random_cells(options.random, options.seed)
        asked = [(each, options.seed + 10 * index, draw(0.6, 1.6)) for index, each in enumerate(cells)]
    asked = [each for each in asked if options.only in each[0].name]
    with ProcessPoolExecutor(2) as pool:
        answers = []
        for found in pool.map(one_cell, asked):
            answers.append(found)
            said = found.refused or f"exit {found.code}, {found.status}, true over limit {found.true_over_limit:.2f}"
            print(f"{len(answers)} of {len(asked)}: {found.name}: {said}", file=sys.stderr, flush=True)
    print("\n".join(table(answers)))
    wrong = [each for each in answers if each.wrongly_met]
    met = sum(each.code == ExitCode.PASS and each.status == ObjectiveStatus.MET for each in answers)
    refused = sum(bool(each.refused) for each in answers)
    doubtful = sum(each.code == ExitCode.INCONCLUSIVE for each in answers)
    print(f"\n{len(answers)} systems: {met} met with exit 0, {doubtful} with exit 4, {refused} refused")
    for each in wrong:
        print(f"wrongly met: {each.name}, true over limit {each.true_over_limit:.2f}")
    print(f"{time.perf_counter() - started_s:.0f} s")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
