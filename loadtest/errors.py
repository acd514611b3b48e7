"""The error family: what went wrong on our side, where, and how to mend it; and the exit codes."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """What `loadtest run` and `loadtest gate` end with."""

    PASS = 0
    FAIL = 1
    USAGE = 2
    INVALID = 3
    INCONCLUSIVE = 4
    ABORTED = 5
    SIGINT = 130
    SIGTERM = 143


class LoadtestError(Exception):
    """A fault on our side of the wire; its text is one line that names the thing, the place and the mend."""

    exit_code = ExitCode.USAGE


class UsageError(LoadtestError):
    """A command was called in a way that cannot work."""


class ScenarioError(LoadtestError):
    """A scenario, or another file that the user wrote, cannot be understood or cannot be run."""


class RunDirectoryError(LoadtestError):
    """A run directory is missing, taken, or lacks what is needed."""


class RecordingError(LoadtestError):
    """Samples could not be written; the run cannot go on, what was written stays readable."""

    exit_code = ExitCode.ABORTED


class RunAborted(LoadtestError):
    """The run cannot start or must not go on: the target, an abort rule or a ceiling says so."""

    exit_code = ExitCode.ABORTED


class InvalidResponse(LoadtestError):
    """The target answered something that its protocol does not allow."""
