"""The count of jobs that a process has sent, in a file that stays correct even if the process is killed."""

from __future__ import annotations

import mmap
import os
import struct
from pathlib import Path

from loadtest.errors import RecordingError

_COUNT = struct.Struct("<q")


class PersistentCounter:
    """A count in a memory-mapped file, which the system writes back even after the process was killed.

    Raises RecordingError if the disk is full; once the file exists, counting needs no more space.
    """

    def __init__(self, path: Path) -> None:
        write_count(path, 0)
        with path.open("r+b") as file:
            self._file = mmap.mmap(file.fileno(), _COUNT.size)
        self._in_file = memoryview(self._file).cast("q")
        self.count = 0

    def add(self) -> None:
        """Count one more."""
        self.count += 1
        self._in_file[0] = self.count

    def close(self) -> None:
        """Close the file."""
        self._file.flush()
        self._in_file.release()
        self._file.close()


def read_count(path: Path) -> int:
    """Return the count in a file; 0 if there was no space for it."""
    content = path.read_bytes()
    return int(_COUNT.unpack(content)[0]) if len(content) == _COUNT.size else 0


def write_count(path: Path, count: int) -> None:
    """Write a count over the one in the file. Raises RecordingError if the disk is full."""
    try:
        # The block of the first count is kept, so that later ones fit on a full disk.
        file = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
        try:
            os.pwrite(file, _COUNT.pack(count), 0)
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file, 0, _COUNT.size)
        finally:
            os.close(file)
    except OSError as error:
        raise RecordingError(f"{path}: cannot record: {error.strerror}; free some space") from error
