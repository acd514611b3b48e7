"""Files that are there whole or not at all, however a process or its disk ends."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from loadtest.errors import RecordingError

RESERVE_BYTES = 16 * 1024


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A file to write, which then takes the place of `path`, whole or not at all; RecordingError where it fails."""
    beside = path.with_name(f".{path.name}.part")
    try:
        yield beside
        beside.replace(path)
    except OSError as fault:
        with suppress(OSError):
            beside.unlink()
        why = os.strerror(fault.errno) if fault.errno else fault
        raise RecordingError(f"{path}: cannot be written: {why}; free some space") from fault


def write_whole(path: Path, content: bytes) -> None:
    """Replace a file, whole or not at all; RecordingError where the disk refuses."""
    with replacing(path) as beside:
        beside.write_bytes(content)


def set_aside(reserve: Path, content: bytes = b"") -> None:
    """Keep room for content that will have grown a little by the end: remove `reserve`, then write it.

    RecordingError where there is no such room.
    """
    write_whole(reserve, bytes(2 * len(content) + RESERVE_BYTES))
