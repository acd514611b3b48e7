"""The errors that end a command, and the exit codes.

An exception here is an error on this side of the wire; an error of the target is recorded with its sample.
"""

from __future__ import annotations

from enum import IntEnum
from pathlib import Path

from loadtest.redaction import without_secrets


class ExitCode(IntEnum):
    """The exit codes of `loadtest run` and `loadtest gate`."""

    PASS = 0
    FAIL = 1
    USAGE = 2
    INVALID = 3
    INCONCLUSIVE = 4
    ABORTED = 5
    SIGINT = 130
    SIGTERM = 143


class LoadtestError(Exception):
    """An error on this side of the wire; its text is one line that names the problem, its place and the fix.

    Secrets that the text repeats from a file or a command line are left out.
    """

    exit_code = ExitCode.USAGE

    def __init__(self, text: str = "") -> None:
        super().__init__(without_secrets(text))


class UsageError(LoadtestError):
    """A command was called with arguments that cannot work."""


class ScenarioError(LoadtestError):
    """A scenario, or another file of the user, cannot be understood or cannot be run."""


class RunDirectoryError(LoadtestError):
    """A run directory is missing, already exists, or lacks data."""


class RecordingError(LoadtestError):
    """Samples could not be written; the run cannot go on, samples written before stay readable."""

    exit_code = ExitCode.ABORTED


class RunAborted(LoadtestError):
    """The run cannot start or must not go on, because of the target, an abort rule or a ceiling."""

    exit_code = ExitCode.ABORTED


class InvalidResponse(LoadtestError):
    """The target sent a response that its protocol does not allow."""


def internal_error(exception: BaseException | None) -> str:
    """Return an error of this program as one line: its class and its place.

    Its text is left out, since it may repeat what it was about, such as a header with a key.
    """
    last = None if exception is None else exception.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    place = "" if last is None else f" at {Path(last.tb_frame.f_code.co_filename).name}:{last.tb_lineno}"
    return f"internal error: {type(exception).__name__}{place}"
