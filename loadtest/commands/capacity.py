"""`loadtest capacity`: from runs to the workers that an objective needs, their cost, and how well this predicts."""

from __future__ import annotations

import multiprocessing
import re
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import msgspec
from rich.console import Console

from loadtest.capacity.backtest.backtest import MAX_REPLICAS, BacktestResult, UnpredictableRunError, backtest
from loadtest.capacity.calibration.calibrate import Calibration, calibrate
from loadtest.capacity.calibration.measurements import MeasuredRun, endpoint_of
from loadtest.capacity.estimates import MapFn
from loadtest.capacity.planning.objective import ObjectiveStatus
from loadtest.capacity.planning.optimizer import COARSE, FINE, Alternatives, Problem
from loadtest.capacity.planning.plan import NO_ALTERNATIVES, BacktestReport, Plan, encode_plan, plan
from loadtest.capacity.simulation.arrivals import Process, profile
from loadtest.capacity.simulation.predict import SimulationBudget
from loadtest.capacity.simulation.workload import UnsimulableError, WorkerConfig, Workload, fixed
from loadtest.commands.backtest import load_calibration_run, load_held_out_run, measured_run
from loadtest.commands.gate import write_output
from loadtest.endpoint.settings import QueueDelay, parse_scaler
from loadtest.errors import ExitCode, UsageError
from loadtest.record.atomic_file import write_atomic
from loadtest.record.directory import RunDirectory, run_directory
from loadtest.report.pages.capacity import backtest_html, capacity_html
from loadtest.report.terminal.capacity import print_backtest_report, print_backtests, print_plan
from loadtest.report.terminal.counted_map import counted
from loadtest.report.terminal.layout import print_page
from loadtest.scenario.gates import Gate, parse_gate
from loadtest.scenario.loading.files import read_profile, read_requests
from loadtest.scenario.model import Scenario
from loadtest.traffic.settings import Gamma, Trace
from loadtest.units import per_second, seconds, seconds_text

T = TypeVar("T")
FILE = "capacity.json"
CALIBRATION_REPLICAS = 79
"""Fewer than for a run of --check: each plan waits for these."""


@dataclass(frozen=True)
class CapacityRequest:
    """The options of `loadtest capacity`, as written. `checks` are the runs to backtest."""

    runs: Sequence[Path]
    rate: str | None = None
    slo: str | None = None
    workers: str | None = None
    scalers: Sequence[str] = ()
    idle_timeouts: Sequence[str] = ()
    max_workers: int = 64
    arrivals: str | None = None
    price: float | None = None
    seed: int = 1
    out: Path | None = None
    checks: Sequence[Path] = ()
    look: SimulationBudget = COARSE
    confirm: SimulationBudget = FINE
    replicas: int = MAX_REPLICAS
    processes: int = 1
    allow_invalid: bool = False


def capacity(request: CapacityRequest, console: Console) -> int:
    """Answer the request in the terminal, in `capacity.json` and on a page; return 0, or 4 if it cannot be decided.

    Raises UsageError for an invalid option, an objective that no workers meet, or runs with too little data;
    RunDirectoryError for a bad run.
    """
    rate_per_s, slo = _objective(request)
    arrivals = None if request.arrivals is None else _parse_option("--arrivals", request.arrivals, _arrivals)
    if request.price is not None and request.price <= 0:
        raise UsageError(f"--price {request.price:g}: is not more than 0; give US dollars per worker-second")
    directories = [run_directory(run) for run in request.runs]
    measured = [measured_run(directory, request.allow_invalid) for directory in directories]
    scenario = measured[-1].scenario
    try:
        calibration, workload = calibrate(measured, arrivals)
    except ValueError as error:
        raise UsageError(f"{', '.join(str(each.path) for each in directories)}: {error}") from None
    named, alternatives = _workers_asked(request, scenario)
    stderr = Console(stderr=True)
    with _process_map(request.processes) as plain, counted(plain, "simulating", stderr) as map_fn:
        checks = _checks(request, workload, measured, named, map_fn)
        if slo is None:
            report = BacktestReport(calibration, checks)
            page = _write(request, directories[-1], report)
            print_backtest_report(report, console)
            print_page(page, console)
            return ExitCode.PASS
        price = scenario.price if request.price is None else request.price
        backtests, not_backtested = _calibration_backtests(request, workload, directories, measured, map_fn)
        budgets = (request.look, request.confirm)
        look, confirm = (msgspec.structs.replace(budget, seed=request.seed) for budget in budgets)
        problem = Problem(slo, workload, price, look, confirm)
        found = _planned(problem, calibration, rate_per_s, named, alternatives, map_fn)
    found = msgspec.structs.replace(found, checks=checks, backtests=backtests, not_backtested=not_backtested)
    page = _write(request, directories[-1], found)
    print_plan(found, console)
    print_backtests(checks, console)
    print_page(page, console)
    doubtful = found.answer.standing is ObjectiveStatus.CANNOT_TELL or any(each.missed for each in backtests)
    return ExitCode.INCONCLUSIVE if doubtful else ExitCode.PASS


def _calibration_backtests(
    request: CapacityRequest,
    workload: Workload,
    directories: Sequence[RunDirectory],
    measured: Sequence[MeasuredRun],
    map_fn: MapFn,
) -> tuple[tuple[BacktestResult, ...], tuple[str, ...]]:
    """Return the runs of the calibration as it predicts them, and why some are not predicted."""
    found, reasons = [], []
    for directory in directories:
        try:
            run = load_calibration_run(directory, measured)
            replicas = min(request.replicas, CALIBRATION_REPLICAS)
            found.append(backtest(workload, run, request.seed, replicas, map_fn, own_arrivals=True))
        except UnpredictableRunError as error:
            reasons.append(f"{directory.path.name}: {error}")
    return tuple(found), tuple(reasons)


def _objective(request: CapacityRequest) -> tuple[float, Gate | None]:
    """Return the rate per second and the objective to plan for; no objective if only backtests are asked for."""
    if request.rate is None and request.slo is None and request.checks:
        return 0.0, None
    if request.rate is None or request.slo is None:
        raise UsageError(
            "--rate and --slo: both are needed to plan; to compare a prediction with a run, give --check RUN alone"
        )
    rate_per_s = _parse_option("--rate", request.rate, per_second)
    if rate_per_s <= 0:
        raise UsageError(f"--rate {request.rate}: at this rate no job arrives; give one above 0/s")
    return rate_per_s, _parse_option("--slo", request.slo, parse_gate)


@contextmanager
def _process_map(processes: int) -> Iterator[MapFn]:
    """Yield a `map` over this many processes, which start at its first call; with one process, the plain `map`."""
    if processes < 2:
        yield map
        return
    # Spawned, since a process with threads, such as those of Arrow, cannot be forked safely.
    ignore = (signal.SIGINT, signal.SIG_IGN)  # this process handles Ctrl-C
    pool = ProcessPoolExecutor(processes, multiprocessing.get_context("spawn"), signal.signal, ignore)
    try:
        yield pool.map
    finally:
        pool.shutdown(cancel_futures=True)


def _checks(
    request: CapacityRequest,
    workload: Workload,
    measured: Sequence[MeasuredRun],
    named: WorkerConfig | None,
    map_fn: MapFn,
) -> tuple[BacktestResult, ...]:
    """Return the backtest of each run given with `--check`; raises UsageError if one cannot be predicted."""
    checks = []
    known = {run_directory(path).path.resolve() for path in request.runs}
    for path in request.checks:
        directory = run_directory(path)
        if directory.path.resolve() in known:
            raise UsageError(f"--check {path}: is one of the runs to calibrate from; name another run")
        run = load_held_out_run(directory, measured, named)
        try:
            checks.append(backtest(workload, run, request.seed, request.replicas, map_fn))
        except UnpredictableRunError as error:
            raise UsageError(f"--check {path}: {error}") from None
    return tuple(checks)


def _workers_asked(request: CapacityRequest, scenario: Scenario) -> tuple[WorkerConfig | None, Alternatives]:
    """Return the workers given with `--workers`, and the scalers and idle timeouts to try for flex workers."""
    scalers = tuple(_parse_option("--scaler", text, parse_scaler) for text in request.scalers)
    idle_s = tuple(_parse_option("--idle-timeout", text, seconds) for text in request.idle_timeouts)
    asked = bool(scalers or idle_s)
    scalers, idle_s = scalers or (QueueDelay(),), idle_s or (endpoint_of(scenario).idle_timeout,)
    flexible = WorkerConfig(0, 1, scalers[0], idle_s[0])
    named = None if request.workers is None else _parse_workers(request.workers, flexible)
    return named, Alternatives(scalers, idle_s, request.max_workers) if asked else NO_ALTERNATIVES


def _planned(
    problem: Problem,
    calibration: Calibration,
    rate_per_s: float,
    named: WorkerConfig | None,
    alternatives: Alternatives,
    map_fn: MapFn,
) -> Plan:
    """Return the plan; raises UsageError if nothing meets the objective, or flex workers lack a cold start time."""
    if alternatives.pairs() or (named is not None and not named.fixed):
        idle_s = [named.idle_timeout_s] if named is not None and not named.fixed else []
        _require_flex_times(problem.workload, calibration, min((*alternatives.idle_timeouts_s, *idle_s)))
    try:
        return plan(problem, calibration, rate_per_s, named, alternatives, map_fn)
    except (ValueError, UnsimulableError) as error:
        raise UsageError(f"--slo: {error}") from None


def _require_flex_times(workload: Workload, calibration: Calibration, idle_timeout_s: float) -> None:
    """Raise UsageError if no cold start was measured, or if workers would stop in the pause after a take."""
    if workload.cold_start is None:
        missing = next(each for each in calibration.missing if each.what == "cold start time")
        runs = ", ".join(calibration.runs)
        seen = f"the time of a cold start is not known from {runs} ({missing.why})"
        if calibration.cold_start.n == 0:
            seen = f"no cold start was seen in {runs}"
        raise UsageError(f"{seen}, so flex workers cannot be planned with; measure one by {missing.measure}")
    pause_s = max(calibration.pattern.pause_s, calibration.pattern.after_job_s)
    if 0 < pause_s >= idle_timeout_s:
        raise UsageError(
            f"--idle-timeout {seconds_text(idle_timeout_s)}: stops workers in the pause of {pause_s:.2f} s "
            "after each take, although jobs wait; give a longer one"
        )


def _parse_option(option: str, text: str, reader: Callable[[str], T]) -> T:
    try:
        return reader(text)
    except ValueError as error:
        raise UsageError(f"{option} {text}: {error}") from None


def _parse_workers(text: str, flexible: WorkerConfig) -> WorkerConfig:
    """Return the workers of "8", which always run, or of "2 to 8", two of which always run."""
    match = re.fullmatch(r"\s*([0-9]{1,5})(?:\s*(?:to|-)\s*([0-9]{1,5}))?\s*", text)
    if match is None:
        raise UsageError(
            f'--workers {text}: is not a number of workers; write it like "8", or "2 to 8" for flex workers'
        )
    active, max_workers = int(match[1]), int(match[2] or match[1])
    if max_workers < max(active, 1):
        raise UsageError(f'--workers {text}: the maximum must be at least 1 and at least the active; write "2 to 8"')
    if match[2] is None:
        return fixed(active)
    return msgspec.structs.replace(flexible, active=active, max_workers=max_workers)


def _arrivals(text: str) -> Process:
    """Return the arrivals of a text such as "gamma 2"; raises ValueError if invalid, ScenarioError for a bad file."""
    match text.split(maxsplit=1):
        case ["constant"]:
            return "constant"
        case ["poisson"]:
            return "poisson"
        case ["gamma", cv] if re.fullmatch(r"[0-9.]+\s*", cv):
            if not 0 < float(cv) <= 10:
                raise ValueError('the CV of the gaps is above 0 and at most 30; write it like "gamma 2"')
            return Gamma(gamma_cv=float(cv))
        case ["profile", file]:
            return profile(read_profile(Path(file.rstrip())))
        case ["trace", file]:
            times = read_requests(Path(file.rstrip()))["times"]
            if times[0] == times[-1]:
                raise ValueError("a trace of one moment has no rate; give one with two or more different times")
            return Trace(times=tuple(times))
    raise ValueError('are unknown arrivals; write "constant", "poisson", "gamma 2", "trace FILE", or "profile FILE"')


def _write(request: CapacityRequest, last: RunDirectory, found: Plan | BacktestReport) -> Path:
    """Write the result and its page next to it; return the page's path."""
    path = last.path / FILE if request.out is None else request.out
    page = path.with_suffix(".html")
    if page == path:
        raise UsageError(f"--out {path}: is the name of the page; name a file that ends in .json")
    source = capacity_html(found) if isinstance(found, Plan) else backtest_html(found)
    for target, content in ((path, encode_plan(found)), (page, source.encode())):
        if request.out is None:
            write_atomic(target, content)
        else:
            write_output(target, content, "--out")
    return page
