"""`loadtest run`: the process that drives the load is started, its progress shown, and the results built."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import ceil
from pathlib import Path
from types import FrameType
from typing import IO

import msgspec
from rich.console import Console

from loadtest.addresses import LOOPBACK, reachable_host, split_address, url_host
from loadtest.analyze.summary import Summary
from loadtest.errors import (
    ExitCode,
    InternalError,
    LoadtestError,
    RecordingError,
    RunAborted,
    UsageError,
)
from loadtest.process import (
    SIGNAL_EXIT_CODES,
    ending_signals,
    exit_at_signals,
    raise_limit,
    refuse_taken,
    tell,
    too_few,
)
from loadtest.record.directory import GONE, RunDirectory, create_run
from loadtest.record.run import Ending, Progress
from loadtest.report.terminal.progress import ProgressDisplay
from loadtest.scenario.environment import api_key, key_note, proxy_for
from loadtest.scenario.loading.load import load_scenario
from loadtest.scenario.model import Scenario
from loadtest.scenario.preview import max_connections
from loadtest.scenario.target import is_remote
from loadtest.telemetry import metrics_config
from loadtest.units import last_lines

LOCUSTFILE = Path(__file__).parents[1] / "drive" / "locustfile.py"
LOCUST = [sys.executable, "-P", "-m", "loadtest.drive", "-f", str(LOCUSTFILE), "--loglevel", "WARNING"]
LOG_LINES = 15
MASTER_PORT = 5557
GENERATOR_STOP_TIMEOUT_S = 30.0
CONNECT_TIMEOUT_S = 60


@dataclass(frozen=True)
class RunRequest:
    """The arguments of `loadtest run`."""

    scenario: Path
    target: str | None = None
    out: Path | None = None
    seed: int | None = None
    processes: int = 1
    expect_workers: int = 0
    bind: str = LOOPBACK
    metrics: str = ""
    overrides: list[str] = field(default_factory=list)

    @property
    def generators(self) -> int:
        """Return the number of processes that only send, here or elsewhere; 0 if the master sends itself."""
        return self.expect_workers or (self.processes if self.processes > 1 else 0)


@dataclass(frozen=True)
class RunOutcome:
    """A run that has ended: its directory, and its results.

    `stopped_by` is the signal that ended it, `error` how the driving process failed, if either happened.
    """

    directory: RunDirectory
    summary: Summary
    stopped_by: signal.Signals | None = None
    error: LoadtestError | None = None


def scenario_of(request: RunRequest) -> Scenario:
    """Return the scenario to run. Raises ScenarioError or UsageError if it is not valid or its key is not set."""
    scenario = load_scenario(request.scenario, request.overrides, seed=request.seed, target=request.target)
    if (note := key_note(scenario, os.environ)) is not None:
        tell(f"note: {note}")
    api_key(scenario, os.environ)
    if is_remote(scenario.target):
        proxy_for(scenario.target.url)
    return scenario


def run(request: RunRequest, scenario: Scenario) -> int:
    """Run a scenario, leave a complete run directory, print the result, and return the exit code.

    Raises RunDirectoryError before anything is sent or made, RunAborted if the driving process failed.
    """
    ended = drive(request, scenario, request.out)
    exit_at_signals()  # there may be nobody who reads what is printed now
    from loadtest.report.terminal.run import print_result

    print_result(ended.summary, ended.directory.report, Console())
    if ended.stopped_by is not None:
        return SIGNAL_EXIT_CODES[ended.stopped_by]
    if ended.error is not None:
        raise ended.error
    return ended.summary.verdict.exit_code


def drive(request: RunRequest, scenario: Scenario, path: Path | None) -> RunOutcome:
    """Make the run directory, drive the scenario to its end, and build the results.

    The scenario travels to the driving process in the `run.json` of that directory. Raises RunDirectoryError if the
    directory cannot be made, RunAborted if the run never began, RecordingError if the disk is full.
    """
    address = _address(request)
    _announce_metrics(request)
    if warning := too_few(ceil(max_connections(scenario) / max(1, request.generators)), raise_limit()):
        tell(f"warning: {warning}")
    drivers: list[subprocess.Popen[bytes]] = []
    caught = _forward_signals(drivers)
    directory = create_run(scenario, path, shlex.join(["loadtest", *sys.argv[1:]]))
    try:
        return _drive(request, scenario, directory, address, drivers, caught)
    finally:
        directory.release()


def _drive(
    request: RunRequest,
    scenario: Scenario,
    directory: RunDirectory,
    address: tuple[str, int],
    drivers: list[subprocess.Popen[bytes]],
    caught: Sequence[signal.Signals],
) -> RunOutcome:
    # In the run directory, since a machine may have no directory for temporary files that can be written.
    with tempfile.TemporaryFile(dir=directory.path) as log, _driver(request, directory, log, address) as both:
        driver, lines = both
        drivers.append(driver)
        if caught:
            driver.send_signal(caught[0])
        # Slow to import, so that it is done while the driver imports what it needs, before anything is sent.
        from loadtest.commands.results import build_results

        with ProgressDisplay(scenario, _waiting(request, address)) as view:
            for line in lines:
                view.show(msgspec.json.decode(line, type=Progress))
            status = driver.wait()
        log.seek(0)
        logged = log.read().decode(errors="replace")
        output = last_lines(logged, LOG_LINES)
    for warning in [text for text in logged.splitlines() if text.startswith("warning: ")]:
        tell(warning)
    if not directory.exists():
        raise RecordingError(f"{directory.path}: {GONE}")
    kind = InternalError if status == ExitCode.INTERNAL else RunAborted
    record = directory.read_run()
    if not record.processes and not caught:  # the master names itself first of all
        directory.remove()
        raise kind(f"the driving process ended ({status}) before the run began: {output}")
    if caught and record.ending is None:  # it had no time to write that, or was killed at the second signal
        ending = Ending.INTERRUPTED if caught[0] is signal.SIGINT else Ending.TERMINATED
        directory.write_run(msgspec.structs.replace(record, ending=ending, ended_at=time.time()))
    try:
        summary = build_results(directory)
    except RecordingError as error:
        raise RecordingError(f"{error}, then build the results with: loadtest recover {directory.path}") from None
    if caught:
        return RunOutcome(directory, summary, caught[0])
    failure = f"{directory.path}: the driving process ended with {status}: {output}"
    return RunOutcome(directory, summary, error=kind(failure) if status else None)


@contextmanager
def _driver(
    request: RunRequest, directory: RunDirectory, log: IO[bytes], address: tuple[str, int]
) -> Iterator[tuple[subprocess.Popen[bytes], IO[bytes]]]:
    """Start the master and its generators on this machine; yield the master and its lines of progress.

    Each is in a session of its own, so that Ctrl-C reaches this process alone: it passes the signal on to the master,
    which ends its generators.
    """
    progress, progress_fd = os.pipe()
    # The master holds the lock of the directory too: the run goes on for as long as one of the two lives.
    fds = [progress_fd, *directory.lock_fds]
    master = _start(master_command(request, directory, progress_fd, address), log, pass_fds=fds)
    os.close(progress_fd)
    here = 0 if request.expect_workers else request.generators
    generators = [_start([*generator_command(address), "--parent", str(os.getpid())], log) for _ in range(here)]
    with os.fdopen(progress, "rb") as lines:
        try:
            yield master, lines
        finally:
            if master.poll() is None:
                master.kill()
            master.wait()
            for generator in generators:
                _stop(generator)


def _address(request: RunRequest) -> tuple[str, int]:
    """Return where the master listens: as asked for generators elsewhere, else on a free port of this machine.

    Raises UsageError if it cannot listen there, or if both kinds of generators are asked for.
    """
    host, port = split_address(request.bind, MASTER_PORT, "--bind")
    if request.expect_workers and request.processes > 1:
        raise UsageError("--processes: with --expect-workers the workers send; start more of them instead")
    if request.expect_workers:
        refuse_taken("--bind", host, port)
        return host, port
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return LOOPBACK, int(probe.getsockname()[1])


def _announce_metrics(request: RunRequest) -> None:
    """Print where the metrics of a run are, if it has any. Raises UsageError if they cannot be served there."""
    config, note = metrics_config(request.metrics, os.environ)
    if note:
        tell(f"note: {note}")
    if config is not None and config.address is not None:
        host, port = config.address
        refuse_taken("--metrics", host, port)
        tell(f"metrics at http://{url_host(reachable_host(host))}:{port}/metrics")


def master_command(
    request: RunRequest, directory: RunDirectory, progress_fd: int, address: tuple[str, int]
) -> list[str]:
    """Return the command that starts the master of a run."""
    command = [*LOCUST, "--headless", "--only-summary", "--run", str(directory.path.resolve())]
    command += ["--parent", str(os.getpid())]
    command += ["--token", directory.token]
    command += ["--progress-fd", str(progress_fd)]
    if request.metrics:
        command += ["--metrics", request.metrics]
    if request.generators:
        host, port = address
        command += ["--master", "--master-bind-host", host, "--master-bind-port", str(port)]
        command += ["--expect-workers", str(request.generators), "--expect-workers-max-wait", str(CONNECT_TIMEOUT_S)]
    return command


def generator_command(master: tuple[str, int]) -> list[str]:
    """Return the command of a process that sends for the master at this address."""
    host, port = master
    return [*LOCUST, "--worker", "--master-host", host, "--master-port", str(port)]


def _start(command: list[str], log: IO[bytes], pass_fds: Sequence[int] = ()) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        pass_fds=pass_fds,
        start_new_session=True,
        cwd=LOCUSTFILE.anchor,  # where no locust.conf is read, and no package shadows one of Python's own
    )


def _stop(generator: subprocess.Popen[bytes]) -> None:
    """Wait until a generator has ended, as it does with its master; terminate it if its master has died."""
    try:
        generator.wait(2)
    except subprocess.TimeoutExpired:
        generator.terminate()
        try:
            generator.wait(GENERATOR_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            generator.kill()
            generator.wait()


def _forward_signals(drivers: Sequence[subprocess.Popen[bytes]]) -> list[signal.Signals]:
    """Pass the first signal that ends a run on to its driver, kill that at the second; return the signals caught."""
    caught: list[signal.Signals] = []

    def forward(number: int, _frame: FrameType | None) -> None:
        caught.append(signal.Signals(number))
        for driver in drivers:
            driver.send_signal(number if len(caught) == 1 else signal.SIGKILL)

    on_signals(forward)
    return caught


def on_signals(handler: Callable[[int, FrameType | None], object]) -> None:
    """Call this at each signal that ends a run."""
    for number in ending_signals():
        signal.signal(number, handler)


def _waiting(request: RunRequest, address: tuple[str, int]) -> str:
    """Return the line to show while workers are waited for; an empty one if none are."""
    if not request.expect_workers:
        return ""
    host, port = address
    shown = "THIS_HOST" if reachable_host(host) != host else url_host(host)
    plural = "" if request.expect_workers == 1 else "s"
    return (
        f"waiting up to {CONNECT_TIMEOUT_S} s for {request.expect_workers} worker{plural}; "
        f"start each with: loadtest worker --master {shown}:{port}"
    )
