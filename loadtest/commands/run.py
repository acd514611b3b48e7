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
from typing import IO, TYPE_CHECKING

import msgspec
from rich.console import Console

from loadtest.commands.driver import Driver, generator_arguments
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
    open_page,
    raise_limit,
    refuse_taken,
    tell,
    too_few,
)
from loadtest.protocol.addresses import LOOPBACK, reachable_host, split_address, url_host
from loadtest.record.directory import GONE, RunDirectory, create_run
from loadtest.record.run import Ending, Progress
from loadtest.report.terminal.progress import ProgressDisplay
from loadtest.scenario.environment import api_key, key_note, proxy_for
from loadtest.scenario.loading.load import load_scenario
from loadtest.scenario.local_endpoint import LocalEndpoint
from loadtest.scenario.model import Scenario
from loadtest.scenario.preview import max_connections
from loadtest.scenario.target import RemoteTarget, is_remote
from loadtest.scenario.telemetry import metrics_config
from loadtest.units import last_lines

if TYPE_CHECKING:
    from loadtest.analyze.summary import Summary

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
    note: str = ""
    open_report: bool = False

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


def run(request: RunRequest, scenario: Scenario, driver: Driver) -> int:
    """Run a scenario, leave a complete run directory, print the result, and return the exit code.

    Raises RunDirectoryError before anything is sent or made, RunAborted if the driving process failed.
    """
    ended = drive(request, scenario, request.out, driver)
    exit_at_signals()  # there may be nobody who reads what is printed now
    from loadtest.report.terminal.run import print_result

    print_result(ended.summary, ended.directory.report, Console())
    if request.open_report:
        open_page(ended.directory.report)
    if ended.stopped_by is not None:
        return SIGNAL_EXIT_CODES[ended.stopped_by]
    if ended.error is not None:
        raise ended.error
    return ended.summary.verdict.exit_code


def drive(request: RunRequest, scenario: Scenario, path: Path | None, driver: Driver) -> RunOutcome:
    """Make the run directory, drive the scenario to its end, and build the results.

    The scenario travels to the driving process in the `run.json` of that directory. Raises RunDirectoryError if the
    directory cannot be made, RunAborted if the run never began, RecordingError if the disk is full.
    """
    address = _address(request)
    _announce_metrics(request)
    if warning := too_few(ceil(max_connections(scenario) / max(1, request.generators)), raise_limit()):
        tell(f"warning: {warning}")
    caught = _forward_signals(driver)
    directory = create_run(scenario, path, shlex.join(["loadtest", *sys.argv[1:]]), request.note)
    try:
        with _local_endpoint(scenario, directory) as endpoint:
            return _drive(request, scenario, directory, address, endpoint, driver, caught)
    finally:
        directory.release()


def _drive(
    request: RunRequest,
    scenario: Scenario,
    directory: RunDirectory,
    address: tuple[str, int],
    endpoint: LocalEndpoint | None,
    driver: Driver,
    caught: Sequence[signal.Signals],
) -> RunOutcome:
    # In the run directory, since a machine may have no directory for temporary files that can be written.
    with (
        tempfile.TemporaryFile(dir=directory.path) as log,
        _begin(driver, request, directory, log, address, endpoint) as lines,
    ):
        # Slow to import, so that it is done while the driver imports what it needs, before anything is sent.
        from loadtest.commands.results import build_results

        with ProgressDisplay(scenario, _waiting(request, address)) as view:
            for line in lines:
                view.show(msgspec.json.decode(line, type=Progress))
            status = driver.process.wait()
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
def _local_endpoint(scenario: Scenario, directory: RunDirectory) -> Iterator[LocalEndpoint | None]:
    """Start the endpoint of a run, if it is on this machine, so that it is ready as soon as its driver is.

    It ends with the driver.
    """
    if isinstance(scenario.target, RemoteTarget):
        yield None
        return
    handler = None if scenario.target == "embedded" else scenario.target
    scratch = directory.scratch.resolve()
    endpoint = LocalEndpoint(scenario.endpoint, scenario.seed, handler, directory.workers, scratch)
    try:
        yield endpoint
    finally:
        endpoint.stop()


@contextmanager
def _begin(
    driver: Driver,
    request: RunRequest,
    directory: RunDirectory,
    log: IO[bytes],
    address: tuple[str, int],
    endpoint: LocalEndpoint | None,
) -> Iterator[IO[bytes]]:
    """Let the driver be the master, start generators on this machine, and yield the master's lines of progress.

    At a signal the master ends its generators.
    """
    progress, progress_fd = os.pipe()
    fds = {"--progress-fd": [progress_fd], "--endpoint-fds": [] if endpoint is None else endpoint.fds}
    # The master holds the lock of the directory too: the run goes on for as long as one of the two lives.
    driver.begin(master_arguments(request, directory, address), log, fds | {"": directory.lock_fds})
    os.close(progress_fd)
    if endpoint is not None:
        endpoint.detach()
    generators = [Driver() for _ in range(0 if request.expect_workers else request.generators)]
    for generator in generators:
        generator.begin([*generator_arguments(address), "--parent", str(os.getpid())], log)
    master = driver.process
    with os.fdopen(progress, "rb") as lines:
        try:
            yield lines
        finally:
            if master.poll() is None:
                master.kill()
            master.wait()
            for generator in generators:
                _stop(generator.process)


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


def master_arguments(request: RunRequest, directory: RunDirectory, address: tuple[str, int]) -> list[str]:
    """Return the arguments with which Locust becomes the master of a run."""
    arguments = ["--headless", "--only-summary", "--run", str(directory.path.resolve())]
    arguments += ["--parent", str(os.getpid())]
    arguments += ["--token", directory.token]
    if request.metrics:
        arguments += ["--metrics", request.metrics]
    if request.generators:
        host, port = address
        arguments += ["--master", "--master-bind-host", host, "--master-bind-port", str(port)]
        arguments += [
            "--expect-workers",
            str(request.generators),
            "--expect-workers-max-wait",
            str(CONNECT_TIMEOUT_S),
        ]
    return arguments


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


def _forward_signals(driver: Driver) -> list[signal.Signals]:
    """Pass the first signal that ends a run on to its driver, kill that at the second; return the signals caught."""
    caught: list[signal.Signals] = []

    def forward(number: int, _frame: FrameType | None) -> None:
        caught.append(signal.Signals(number))
        driver.process.send_signal(number if len(caught) == 1 else signal.SIGKILL)

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
