"""The errors that end a command, and the exit codes.

An exception here is an error on this side of the wire; an error of the target is recorded with its sample.
"""

from __future__ import annotations

import errno
import os
import re
from enum import IntEnum
from pathlib import Path

_WORD = re.compile(r"[^\s\"']+")
_QUERY_VALUE = re.compile(r"=[^&]+")
_SPACED_PASSWORD = re.compile(r"""(?<=://)[^\s:@/"\[]*:(?![0-9]{1,5}(?:[/\s"'?#;,)]|$))(?:(?!://).)*@""")
"""User and password of a URL, of which a space in the password would leave a part; not its port, or another URL."""
_KEY = re.compile(r"\b(rpa_|sk-|hf_|Bearer )[A-Za-z0-9_.-]{8,}")


def without_secrets(text: str) -> str:
    """Return a text with "…" for users and passwords of URLs, the values of their queries, and keys."""
    text = _SPACED_PASSWORD.sub("…@", text)
    return _KEY.sub(r"\1…", _WORD.sub(lambda word: _without_credentials(word[0]), text))


def url_without_secrets(url: str) -> str:
    """Return what was given as a URL with "…" for all that may be secret in it: user, password, query, fragment.

    Any text before an "@" may be a password there, as it may not be in a sentence.
    """
    masked = re.sub(r"^([A-Za-z][A-Za-z0-9+.-]*://)?.*@", r"\1…@", url, flags=re.DOTALL)
    return re.sub(r"[?#].*", "?…", masked, flags=re.DOTALL)


def _without_credentials(word: str) -> str:
    """Return a word without the credentials in it, if it is a URL, with or without its scheme."""
    before, scheme, rest = word.partition("://")
    user, at, host = (rest if scheme else word).rpartition("@")
    if not scheme and not (at and ":" in user and host):
        return word
    address, question, query = host.partition("?")
    return (
        f"{before + scheme if scheme else ''}{'…@' if at else ''}{address}{question}{_QUERY_VALUE.sub('=…', query)}"
    )


class ExitCode(IntEnum):
    """The exit codes of `loadtest run` and `loadtest gate`."""

    PASS = 0
    FAIL = 1
    USAGE = 2
    INVALID = 3
    INCONCLUSIVE = 4
    ABORTED = 5
    INTERNAL = 70
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


class InternalError(LoadtestError):
    """A fault of this program; its text names the exception, never what that holds."""

    exit_code = ExitCode.INTERNAL


def internal_error(exception: object) -> InternalError:
    """Return the error of an unexpected exception: its class and place, but not its text, which may hold a key."""
    trace = getattr(exception, "__traceback__", None)
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = "" if trace is None else f" at {Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}"
    return InternalError(f"internal error: {type(exception).__name__}{place}; please report it")


class RunAborted(LoadtestError):
    """The run cannot start or must not go on, because of the target, an abort rule or a ceiling."""

    exit_code = ExitCode.ABORTED


class InvalidResponse(LoadtestError):
    """The target sent a response that its protocol does not allow."""


_NOT_ALLOWED = "give this user the right to write there, or name another directory"
_REMEDIES = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some space, or raise the quota",
    errno.EFBIG: "raise the limit of file sizes, as with: ulimit -f unlimited",
    errno.EACCES: _NOT_ALLOWED,
    errno.EPERM: _NOT_ALLOWED,
    errno.EROFS: "name a directory on a file system that is not read-only",
    errno.ENOENT: "its directory is missing; put it back, or name another",
    errno.EIO: "check the disk",
    errno.EMFILE: "raise the limit of open files, as with: ulimit -n 65536",
    errno.ENFILE: "raise the limit of open files of this machine, as with: sysctl fs.file-max=1000000",
    errno.EADDRNOTAVAIL: "widen net.ipv4.ip_local_port_range, or send from more machines",
    errno.ENOMEM: "free some memory, or send from more machines",
    errno.ENOBUFS: "free some memory, or send from more machines",
}


def reason_and_remedy(error: OSError) -> str:
    """Return why the system refused a call, and what helps if that is known: "File too large; raise …"."""
    number = error.errno or 0
    # Arrow's own text repeats the path, and a resolver's numbers are not those of the system.
    reason = os.strerror(number) if number > 0 else error.strerror or str(error)
    remedy = _REMEDIES.get(number)
    return reason if remedy is None else f"{reason}; {remedy}"


def recording_error(path: Path, error: OSError, problem: str = "cannot be written") -> RecordingError:
    """Return the error of a file of results that the system did not let us write."""
    return RecordingError(f"{path}: {problem}: {reason_and_remedy(error)}")
