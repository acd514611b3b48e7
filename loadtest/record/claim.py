"""The claim of a directory for results: one process makes it, and holds its lock until it dies."""

from __future__ import annotations

import fcntl
from io import FileIO
from pathlib import Path

from loadtest.errors import RunDirectoryError


class DirectoryExists(RunDirectoryError):
    """A directory for results that exists already."""


def make_directory(path: Path) -> None:
    """Make a directory for results. Raises DirectoryExists, or RunDirectoryError if it cannot be made."""
    try:
        path.mkdir(parents=True)
    except FileExistsError:
        raise DirectoryExists(f"{path}: exists already; name another with --out") from None
    except OSError as error:
        raise RunDirectoryError(f"{path}: cannot be made: {error.strerror}; name another with --out") from None


def lock(path: Path) -> FileIO | None:
    """Lock a file, which is made if it is missing, until it is closed; return None if another process holds it.

    A child process that inherits the file descriptor holds the lock as well. Raises OSError if it cannot be made.
    """
    file = path.open("ab", buffering=0)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        if isinstance(error, BlockingIOError):
            return None
        raise
    return file
