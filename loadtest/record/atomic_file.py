"""Files that are there whole or not at all, however a process or its disk ends."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from loadtest.errors import RecordingError

RESERVE_BYTES = 16 * 1024


@contextmanager
def atomic_replace(path: Path) -> Iterator[Path]:
    """A file to write, which then takes the place of `path`, whole or not at all; RecordingError where it fails."""
    beside = path.with_name(f".{path.name}.part")
    try:
        yield beside
        beside.replace(path)
    except OSError as error:
        with suppress(OSError):
            beside.unlink()
        why = os.strerror(error.errno) if error.errno else error
        raise RecordingError(f"{path}: cannot be written: {why}; free some space") from error


def write_atomic(path: Path, content: bytes) -> None:
    """Replace a file, whole or not at all; RecordingError where the disk refuses."""
    with atomic_replace(path) as beside:
        beside.write_bytes(content)


def reserve_space(reserve: Path, content: bytes = b"") -> None:
    """Keep room for content that will have grown a little by the end: remove `reserve`, then write it.

    RecordingError where there is no such room.
    """
    write_atomic(reserve, bytes(2 * len(content) + RESERVE_BYTES))
