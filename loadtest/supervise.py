"""`loadtest run`: starts the process that drives the load, shows how it goes, and builds the results."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import IO

import msgspec
from rich.console import Console

from loadtest.errors import Aborted, ExitCode, RunDirectoryError
from loadtest.record.directory import RunDirectory
from loadtest.record.progress import Progress
from loadtest.report.live import LiveView
from loadtest.report.terminal import print_result
from loadtest.scenario.key import key_of
from loadtest.scenario.load import load_scenario

LOCUSTFILE = Path(__file__).parent / "drive" / "locustfile.py"
SIGNAL_ENDINGS = {signal.SIGINT: ExitCode.SIGINT, signal.SIGTERM: ExitCode.SIGTERM}
LOG_LINES = 15


@dataclass(frozen=True)
class RunRequest:
    """What `loadtest run` was asked for."""

    scenario: Path
    target: str | None = None
    out: Path | None = None
    seed: int | None = None
    overrides: list[str] = field(default_factory=list)


def run(request: RunRequest) -> int:
    """Drive a scenario to its end and leave a complete run directory; the exit code of the contract.

    Raises UsageError, ScenarioError or RunDirectoryError before anything is sent or made.
    """
    scenario = load_scenario(request.scenario, request.overrides, seed=request.seed, target=request.target)
    key_of(scenario, os.environ)
    moment = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    directory = RunDirectory(request.out or Path("reports", f"{scenario.name}-{moment}"))
    _refuse_what_cannot_be_made(directory.path)
    with tempfile.TemporaryFile() as log, _driver(request, directory, log) as (driver, lines):
        caught = _forwarding_signals(driver)
        with LiveView(scenario, Console(stderr=True)) as view:
            for line in lines:
                view.show(msgspec.json.decode(line, type=Progress))
            status = driver.wait()
        if not directory.path.exists():
            if caught:
                return SIGNAL_ENDINGS[caught[0]]
            raise Aborted(f"the driving process ended ({status}) before the run began: {_tail(log)}")
    from loadtest.results import build

    summary = build(directory)
    print_result(summary, directory.report, Console())
    if caught:
        return SIGNAL_ENDINGS[caught[0]]
    if status != 0 and summary.verdict.exit_code is ExitCode.PASS:
        raise Aborted(f"{directory.path}: the driving process ended with {status}: {_tail(log)}")
    return summary.verdict.exit_code


def _refuse_what_cannot_be_made(path: Path) -> None:
    try:
        path.mkdir(parents=True)
        path.rmdir()
    except FileExistsError:
        raise RunDirectoryError(f"{path}: is there already; name another with --out") from None
    except OSError as fault:
        raise RunDirectoryError(f"{path}: cannot be made: {fault.strerror}; name another with --out") from None


@contextmanager
def _driver(
    request: RunRequest, directory: RunDirectory, log: IO[bytes]
) -> Iterator[tuple[subprocess.Popen[bytes], IO[bytes]]]:
    """The driving process and its lines of progress; in a session of its own, since Ctrl-C is ours to pass on."""
    ours, theirs = os.pipe()
    command = [sys.executable, "-m", "locust", "-f", str(LOCUSTFILE), "--headless", "--only-summary"]
    command += ["--loglevel", "WARNING", "--scenario", str(request.scenario.resolve())]
    command += ["--out", str(directory.path.resolve()), "--progress-fd", str(theirs)]
    command += [] if request.target is None else ["--target", request.target]
    command += [] if request.seed is None else ["--seed", str(request.seed)]
    for override in request.overrides:
        command += ["--set", override]
    typed = shlex.join(["loadtest", *sys.argv[1:]])
    driver = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        pass_fds=[theirs],
        start_new_session=True,
        cwd=LOCUSTFILE.parent,
        env={**os.environ, "LOADTEST_COMMAND": typed},
    )
    os.close(theirs)
    with os.fdopen(ours, "rb") as lines:
        try:
            yield driver, lines
        finally:
            if driver.poll() is None:
                driver.kill()
            driver.wait()


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
