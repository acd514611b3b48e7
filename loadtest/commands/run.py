"""`loadtest run`: starts the process that drives the load, shows how it goes, and builds the results."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import IO, NoReturn

import msgspec
from rich.console import Console

from loadtest.analyze.summary import Summary
from loadtest.errors import ExitCode, RecordingError, RunAborted, RunDirectoryError, UsageError
from loadtest.record.directory import RunDirectory
from loadtest.record.progress import Progress
from loadtest.record.run import COMMAND_VARIABLE
from loadtest.report.terminal.progress import ProgressDisplay
from loadtest.scenario.credentials import api_key
from loadtest.scenario.loading.load import load_scenario
from loadtest.scenario.model import Scenario

LOCUSTFILE = Path(__file__).parents[1] / "drive" / "locustfile.py"
LOCUST = [sys.executable, "-P", "-m", "locust", "-f", str(LOCUSTFILE), "--loglevel", "WARNING"]
SIGNAL_ENDINGS = {signal.SIGINT: ExitCode.SIGINT, signal.SIGTERM: ExitCode.SIGTERM}
LOG_LINES = 15


LOOPBACK = "127.0.0.1"
MASTER_PORT = 5557
GENERATOR_STOP_TIMEOUT_S = 30.0
CONNECT_WITHIN_S = 60


@dataclass(frozen=True)
class RunRequest:
    """What `loadtest run` was asked for."""

    scenario: Path
    target: str | None = None
    out: Path | None = None
    seed: int | None = None
    processes: int = 1
    expect_workers: int = 0
    bind: str = LOOPBACK
    overrides: list[str] = field(default_factory=list)

    @property
    def generators(self) -> int:
        """Processes that only send, here or elsewhere; 0 where the one that leads sends as well."""
        return self.expect_workers or (self.processes if self.processes > 1 else 0)


@dataclass(frozen=True)
class RunOutcome:
    """A run that has ended: its directory, and its results unless it never began.

    `caught` is the signal that ended it, `fault` what became of the driving process, where there is any.
    """

    directory: RunDirectory
    summary: Summary | None
    stopped_by: signal.Signals | None = None
    error: RunAborted | None = None


def scenario_of(request: RunRequest) -> Scenario:
    """What is to be run; ScenarioError or UsageError where that is not clear, or its target's key is not known."""
    scenario = load_scenario(request.scenario, request.overrides, seed=request.seed, target=request.target)
    api_key(scenario, os.environ)
    return scenario


def run(request: RunRequest, scenario: Scenario) -> int:
    """Drive a scenario to its end, leave a complete run directory and tell the result; the contract's exit code.

    Raises RunDirectoryError before anything is sent or made, Aborted where the driving process ended badly.
    """
    ended = drive(request, scenario, choose_directory(request, scenario))
    if ended.summary is not None:
        from loadtest.report.terminal.run import print_result

        print_result(ended.summary, ended.directory.report, Console())
    if ended.stopped_by is not None:
        return SIGNAL_ENDINGS[ended.stopped_by]
    if ended.error is not None:
        raise ended.error
    assert ended.summary is not None
    return ended.summary.verdict.exit_code


def choose_directory(request: RunRequest, scenario: Scenario) -> Path:
    """Where the results go: as asked for, or under reports/; RunDirectoryError where it cannot be made."""
    moment = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    path = request.out or Path("reports", f"{scenario.name}-{moment}")
    _refuse_what_cannot_be_made(path)
    return path


def drive(request: RunRequest, scenario: Scenario, path: Path) -> RunOutcome:
    """Drive a scenario to its end, and build its results.

    Raises Aborted where it never began, RecordingError where the results could not be written.
    """
    directory = RunDirectory(path)
    with tempfile.TemporaryFile() as log, _driver(request, directory, log) as (driver, lines):
        caught = _forwarding_signals(driver)
        # Slow to import, so that it is done while the driver imports what it needs, before anything is sent.
        from loadtest.commands.results import build_results

        with ProgressDisplay(scenario, Console(stderr=True)) as view:
            for line in lines:
                view.show(msgspec.json.decode(line, type=Progress))
            status = driver.wait()
        said = _tail(log)
        if not directory.has_record():
            if caught:
                return RunOutcome(directory, None, caught[0])
            raise RunAborted(f"the driving process ended ({status}) before the run began: {said}")
    try:
        summary = build_results(directory)
    except RecordingError as error:
        raise RecordingError(f"{error}, then build the results with: loadtest recover {directory.path}") from None
    if caught:
        return RunOutcome(directory, summary, caught[0])
    ill = f"{directory.path}: the driving process ended with {status}: {said}"
    return RunOutcome(directory, summary, error=RunAborted(ill) if status else None)


def _refuse_what_cannot_be_made(path: Path) -> None:
    try:
        path.mkdir(parents=True)
        path.rmdir()
    except FileExistsError:
        raise RunDirectoryError(f"{path}: is there already; name another with --out") from None
    except OSError as error:
        raise RunDirectoryError(f"{path}: cannot be made: {error.strerror}; name another with --out") from None


@contextmanager
def _driver(
    request: RunRequest, directory: RunDirectory, log: IO[bytes]
) -> Iterator[tuple[subprocess.Popen[bytes], IO[bytes]]]:
    """The process that leads and its lines of progress, with its hands on this machine.

    Each is in a session of its own, since Ctrl-C is ours to pass on: to the lead, which ends its hands.
    """
    ours, theirs = os.pipe()
    host, port = _address(request)
    master = _start(master_command(request, directory, theirs, host, port), log, pass_fds=[theirs])
    os.close(theirs)
    here = 0 if request.expect_workers else request.generators
    generators = [_start(generator_command(host, port), log) for _ in range(here)]
    with os.fdopen(ours, "rb") as lines:
        try:
            yield master, lines
        finally:
            if master.poll() is None:
                master.kill()
            master.wait()
            for generator in generators:
                _stop(generator)


def _address(request: RunRequest) -> tuple[str, int]:
    """Where the lead listens to its hands: a free port for those on this machine, a known one for others."""
    host, _, port = request.bind.partition(":")
    if request.expect_workers:
        return host, int(port or MASTER_PORT)
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return LOOPBACK, int(probe.getsockname()[1])


def master_command(request: RunRequest, directory: RunDirectory, progress_fd: int, host: str, port: int) -> list[str]:
    """Return the command that starts the master of a run."""
    command = [*LOCUST, "--headless", "--only-summary", "--scenario", str(request.scenario.resolve())]
    command += ["--out", str(directory.path.resolve()), "--progress-fd", str(progress_fd)]
    command += [] if request.target is None else ["--target", request.target]
    command += [] if request.seed is None else ["--seed", str(request.seed)]
    for override in request.overrides:
        command += ["--set", override]
    if request.generators:
        command += ["--master", "--master-bind-host", host, "--master-bind-port", str(port)]
        command += ["--expect-workers", str(request.generators), "--expect-workers-max-wait", str(CONNECT_WITHIN_S)]
    return command


def generator_command(host: str, port: int) -> list[str]:
    """The command of a process that sends for a lead at this address."""
    return [*LOCUST, "--worker", "--master-host", host, "--master-port", str(port)]


def run_worker(master: str, keep: Path | None) -> NoReturn:
    """Become a process that sends for the lead at `HOST[:PORT]`, and keeps what it records in `keep`."""
    host, _, port = master.partition(":")
    if port and not port.isdigit():
        raise UsageError(f'--master: "{master}" is no address; write it like "10.0.0.5" or "10.0.0.5:{MASTER_PORT}"')
    command = generator_command(host, int(port or MASTER_PORT))
    command += [] if keep is None else ["--keep", str(keep.resolve())]
    os.execv(command[0], command)


def _start(command: list[str], log: IO[bytes], pass_fds: Sequence[int] = ()) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        pass_fds=pass_fds,
        start_new_session=True,
        cwd=LOCUSTFILE.parent,
        env={**os.environ, COMMAND_VARIABLE: shlex.join(["loadtest", *sys.argv[1:]])},
    )


def _stop(generator: subprocess.Popen[bytes]) -> None:
    """A hand whose lead has ended has ended or is about to; one whose lead has died is told to."""
    try:
        generator.wait(2)
    except subprocess.TimeoutExpired:
        generator.terminate()
        try:
            generator.wait(GENERATOR_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            generator.kill()
            generator.wait()


def _forwarding_signals(driver: subprocess.Popen[bytes]) -> list[signal.Signals]:
    """Pass the first SIGINT or SIGTERM on, kill at the second; the list fills with what was caught."""
    caught: list[signal.Signals] = []

    def forward(number: int, _frame: FrameType | None) -> None:
        caught.append(signal.Signals(number))
        driver.send_signal(number if len(caught) == 1 else signal.SIGKILL)

    for number in SIGNAL_ENDINGS:
        signal.signal(number, forward)
    return caught


def _tail(log: IO[bytes]) -> str:
    """The end of what a process said, in one line."""
    log.seek(0)
    return " | ".join(log.read().decode(errors="replace").split("\n")[-LOG_LINES:]).strip(" |") or "it said nothing"
