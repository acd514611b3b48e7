"""`loadtest capacity`: from runs to how many workers an objective takes, what they cost, and how well it predicts."""

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

from loadtest.capacity.backtest.backtest import MAX_REPLICAS, BacktestResult, backtest
from loadtest.capacity.calibration.calibrate import Calibration, MeasuredRun, calibrate, endpoint_of
from loadtest.capacity.estimates import MapFn
from loadtest.capacity.planning.objective import ObjectiveStatus
from loadtest.capacity.planning.optimizer import COARSE, FINE, Alternatives, Problem
from loadtest.capacity.planning.plan import NO_ALTERNATIVES, BacktestReport, Plan, plan
from loadtest.capacity.simulation.arrivals import Process, profile
from loadtest.capacity.simulation.predict import SimulationBudget
from loadtest.capacity.simulation.workload import ScalerConfig, WorkerConfig, Workload, fixed
from loadtest.commands.backtest import load_held_out_run
from loadtest.commands.gate import write_output
from loadtest.commands.results import read_run
from loadtest.errors import ExitCode, UsageError
from loadtest.record.directory import RunDirectory, run_directory
from loadtest.report.pages.capacity import capacity_html, checked_html
from loadtest.report.terminal.backtest import print_backtest_report, print_backtests
from loadtest.report.terminal.capacity import print_page, print_plan
from loadtest.scenario.gates import Gate, parse_gate
from loadtest.scenario.loading.files import read_profile, read_trace
from loadtest.scenario.model import Scenario
from loadtest.traffic.settings import Gamma, Trace
from loadtest.units import per_second, seconds, seconds_text

T = TypeVar("T")
FILE = "capacity.json"


@dataclass(frozen=True)
class CapacityRequest:
    """What `loadtest capacity` was asked for, as it was written. `checks` are the runs that are held out."""

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


def capacity(request: CapacityRequest, console: Console) -> int:
    """Answer the request in the terminal, in `capacity.json` and on a page; 0, or 4 where it is too close to tell.

    Raises UsageError for what cannot be understood, an objective that no workers meet, or runs that tell too
    little; RunDirectoryError for a bad run.
    """
    rate_per_s, slo = _objective(request)
    arrivals = None if request.arrivals is None else _parse_option("--arrivals", request.arrivals, _arrivals)
    if request.price is not None and request.price <= 0:
        raise UsageError(f"--price {request.price:g}: is not more than 0; give US dollars per worker-second")
    directories = [run_directory(named) for named in request.runs]
    measured = [_measured(directory) for directory in directories]
    scenario = measured[-1].scenario
    try:
        calibration, workload = calibrate(measured, arrivals)
    except ValueError as error:
        raise UsageError(f"{', '.join(str(each.path) for each in directories)}: {error}") from None
    named, alternatives = _workers_asked(request, scenario)
    with _process_map(request.processes) as each:
        checks = _checks(request, workload, measured, named, each)
        if slo is None:
            checked = BacktestReport(calibration, checks)
            page = _write(request, directories[-1], checked)
            print_backtest_report(checked, console)
            print_page(page, console)
            return ExitCode.PASS
        price = scenario.price if request.price is None else request.price
        look, confirm = (
            msgspec.structs.replace(budget, seed=request.seed) for budget in (request.look, request.confirm)
        )
        question = Problem(slo, workload, price, look, confirm)
        found = _planned(question, calibration, rate_per_s, named, alternatives, each)
    found = msgspec.structs.replace(found, checks=checks)
    page = _write(request, directories[-1], found)
    print_plan(found, console)
    print_backtests(checks, console)
    print_page(page, console)
    return ExitCode.INCONCLUSIVE if found.answer.standing is ObjectiveStatus.CANNOT_TELL else ExitCode.PASS


def _objective(request: CapacityRequest) -> tuple[float, Gate | None]:
    """The rate per second and the objective to plan for; no objective where only a prediction is to be checked."""
    if request.rate is None and request.slo is None and request.checks:
        return 0.0, None
    if request.rate is None or request.slo is None:
        raise UsageError(
            "--rate and --slo: both are needed to plan; to hold a prediction against a run, give --check RUN alone"
        )
    rate_per_s = _parse_option("--rate", request.rate, per_second)
    if rate_per_s <= 0:
        raise UsageError(f"--rate {request.rate}: at this rate no job comes; give one above 0/s")
    return rate_per_s, _parse_option("--slo", request.slo, parse_gate)


@contextmanager
def _process_map(processes: int) -> Iterator[MapFn]:
    """`map` over so many processes; they start when first asked, with one it stays in this."""
    if processes < 2:
        yield map
        return
    # Spawned, since a process that has threads, as Arrow makes them, cannot be forked safely.
    ignore = (signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for this process to answer
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
    each: MapFn,
) -> tuple[BacktestResult, ...]:
    """What was predicted of each run that is held out; UsageError where one cannot be predicted."""
    checks = []
    known = {run_directory(path).path.resolve() for path in request.runs}
    for path in request.checks:
        directory = run_directory(path)
        if directory.path.resolve() in known:
            raise UsageError(f"--check {path}: is calibrated from as well; name a run that is not among them")
        run = load_held_out_run(directory, measured, named)
        try:
            checks.append(backtest(workload, run, request.seed, request.replicas, each))
        except ValueError as error:
            raise UsageError(f"--check {path}: {error}") from None
    return tuple(checks)


def _workers_asked(request: CapacityRequest, scenario: Scenario) -> tuple[WorkerConfig | None, Alternatives]:
    """The workers that are named, if any, and the scalers and idle timeouts to look for flex workers in."""
    scalings = tuple(_parse_option("--scaler", text, _scaling) for text in request.scalers)
    idle_s = tuple(_parse_option("--idle-timeout", text, seconds) for text in request.idle_timeouts)
    asked = bool(scalings or idle_s)
    scalings, idle_s = scalings or (ScalerConfig(),), idle_s or (endpoint_of(scenario).idle_timeout,)
    named = (
        None
        if request.workers is None
        else _parse_workers(request.workers, WorkerConfig(0, 1, scalings[0], idle_s[0]))
    )
    return named, Alternatives(scalings, idle_s, request.max_workers) if asked else NO_ALTERNATIVES


def _planned(
    question: Problem,
    calibration: Calibration,
    rate_per_s: float,
    named: WorkerConfig | None,
    alternatives: Alternatives,
    each: MapFn,
) -> Plan:
    """The plan; UsageError where nothing meets the objective, or no start of the flex workers asked for was seen."""
    if alternatives.pairs() or (named is not None and not named.fixed):
        _require_cold_start(question.workload, calibration)
        idle_s = [named.idle_timeout_s] if named is not None and not named.fixed else []
        _require_idle_timeout(calibration.pattern.pause_s, [*alternatives.idle_timeouts_s, *idle_s])
    try:
        return plan(question, calibration, rate_per_s, named, alternatives, each)
    except ValueError as error:
        raise UsageError(f"--slo: {error}") from None


def _require_cold_start(workload: Workload, calibration: Calibration) -> None:
    if workload.cold_start is not None:
        return
    measure = next(each.measure for each in calibration.missing if each.what == "cold start time")
    raise UsageError(
        f"no cold start was seen in {', '.join(calibration.runs)}, so flex workers cannot be planned with; "
        f"measure one by {measure}"
    )


def _require_idle_timeout(pause_s: float, idle_timeouts_s: Sequence[float]) -> None:
    if 0 < pause_s >= min(idle_timeouts_s):
        raise UsageError(
            f"--idle-timeout {seconds_text(min(idle_timeouts_s))}: stops workers in the pause of {pause_s:.2f} s "
            "after each take, though jobs wait; give a longer one"
        )


def _measured(directory: RunDirectory) -> MeasuredRun:
    data = read_run(directory, ())
    return MeasuredRun(data.run.id, data.scenario, data.jobs)


def _parse_option(option: str, text: str, reader: Callable[[object], T]) -> T:
    try:
        return reader(text)
    except ValueError as error:
        raise UsageError(f"{option} {text}: {error}") from None


def _parse_workers(text: str, usual: WorkerConfig) -> WorkerConfig:
    """The workers of "8", which always run, or of "2 to 8", of which two do."""
    match = re.fullmatch(r"\s*([0-9]{1,5})(?:\s*(?:to|-)\s*([0-9]{1,5}))?\s*", text)
    if match is None:
        raise UsageError(
            f'--workers {text}: is no number of workers; write it like "8", or "2 to 8" for flex workers'
        )
    active, max_workers = int(match[1]), int(match[2] or match[1])
    if max_workers < max(active, 1):
        raise UsageError(f"--workers {text}: the most must be at least 1, and at least as many as the active")
    if match[2] is None:
        return fixed(active)
    return msgspec.structs.replace(usual, active=active, max_workers=max_workers)


def _scaling(text: object) -> ScalerConfig:
    """The scaler of "queue delay 4s" or "request count 4"; ValueError where it is neither."""
    match = re.fullmatch(r"\s*(?:queue\s+delay\s+(\S+)|request\s+count\s+([1-9][0-9]{0,5}))\s*", str(text))
    if match is None:
        raise ValueError('is no scaler; write it like "queue delay 4s" or "request count 4"')
    return ScalerConfig(seconds(match[1])) if match[1] else ScalerConfig(request_count=int(match[2]))


def _arrivals(text: object) -> Process:
    """The arrivals of "gamma 2" or "trace FILE"; ValueError where they are none, ScenarioError for a bad file."""
    of_file = re.fullmatch(r"\s*(trace|profile)\s+(.*\S)\s*", str(text))
    if of_file is not None and of_file[1] == "profile":
        return profile(read_profile(Path(of_file[2])))
    if of_file is not None:
        times = read_trace(Path(of_file[2]))
        if times[0] == times[-1]:
            raise ValueError("a trace of one moment has no rate; give one with two or more different times")
        return Trace(times=tuple(times))
    match = re.fullmatch(r"\s*(constant|poisson|gamma\s+([0-9.]+))\s*", str(text))
    if match is None:
        raise ValueError('are no arrivals; write "constant", "poisson", "gamma 2", "trace FILE", or "profile FILE"')
    if match[2] and not 0 < float(match[2]) <= 10:
        raise ValueError('the CV of the gaps is above 0 and at most 10; write it like "gamma 2"')
    if match[2]:
        return Gamma(gamma_cv=float(match[2]))
    return "constant" if match[1] == "constant" else "poisson"


def _write(request: CapacityRequest, last: RunDirectory, found: Plan | BacktestReport) -> Path:
    """Write what was found and its page, which stands beside it; the page's path."""
    path = last.path / FILE if request.out is None else request.out
    page = path.with_suffix(".html")
    if page == path:
        raise UsageError(f"--out {path}: is where the page would be; name a file that ends in .json")
    content = msgspec.json.format(msgspec.json.encode(found), indent=2)
    source = capacity_html(found) if isinstance(found, Plan) else checked_html(found)
    for place, written in ((path, content), (page, source.encode())):
        if request.out is None:
            last.write(place, written)
        else:
            write_output(place, written, "--out")
    return page
