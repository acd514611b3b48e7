"""The exit codes of a process that drives or sends: never 1, which would say that a gate failed."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest

from loadtest.drive import __main__ as drive
from loadtest.errors import ExitCode, UsageError


def ends(how: BaseException) -> Callable[[], None]:
    def run_locust() -> None:
        raise how

    return run_locust


@pytest.mark.parametrize(
    ("how", "code"),
    [
        (SystemExit(0), 0),
        (SystemExit(2), 2),
        (SystemExit(ExitCode.SIGTERM), 143),
        (SystemExit(1), 5),
        (SystemExit(-1), 5),
        (RuntimeError("odd"), 70),
        (OSError(24, "too many open files"), 70),
        (UsageError("--users: has no effect here"), 2),
    ],
)
def test_every_end_has_a_documented_exit_code(monkeypatch: pytest.MonkeyPatch, how: BaseException, code: int) -> None:
    monkeypatch.setattr(drive, "run_locust", ends(how))
    monkeypatch.setattr(drive, "exit_at_signals", lambda: None)
    with pytest.raises(SystemExit) as ended:
        drive.main()
    assert ended.value.code == code


def test_a_process_ends_as_by_sigterm_once_what_started_it_has_died(monkeypatch: pytest.MonkeyPatch) -> None:
    parents, slept, sent = [7, 7, 1], [], []
    monkeypatch.setattr(os, "getppid", lambda: parents.pop(0))
    monkeypatch.setattr(os, "kill", lambda *given: sent.append(given))
    drive.end_with(7, slept.append)
    assert (slept, sent) == ([drive.PARENT_CHECK_S] * 2, [(os.getpid(), signal.SIGTERM)])
