"""How many jobs a process has sent, in a file that outlives it: a killed process leaves the truth behind."""

from __future__ import annotations

import mmap
import os
import struct
from pathlib import Path

from loadtest.errors import RecordingError

_COUNT = struct.Struct("<q")


class PersistentCounter:
    """A count in memory that is a file; the system writes it back whatever becomes of the process.

    Raises RecordingError where there is no room for it; once it is there, counting needs no more.
    """

    def __init__(self, path: Path) -> None:
        write_count(path, 0)
        with path.open("r+b") as file:
            self._file = mmap.mmap(file.fileno(), _COUNT.size)
        self._in_file = memoryview(self._file).cast("q")
        self.count = 0

    def add(self) -> None:
        """One more."""
        self.count += 1
        self._in_file[0] = self.count

    def close(self) -> None:
        """Let go of the file."""
        self._file.flush()
        self._in_file.release()
        self._file.close()


def read_count(path: Path) -> int:
    """What a tally stands at; 0 where there was no room for it."""
    content = path.read_bytes()
    return int(_COUNT.unpack(content)[0]) if len(content) == _COUNT.size else 0


def write_count(path: Path, count: int) -> None:
    """Set down a count, over the one that is there; RecordingError where the disk refuses."""
    try:
        # The block that the first count took is kept, so that the later ones fit on a full disk.
        file = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
        try:
            os.pwrite(file, _COUNT.pack(count), 0)
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file, 0, _COUNT.size)
        finally:
            os.close(file)
    except OSError as error:
        raise RecordingError(f"{path}: cannot record: {error.strerror}; free some space") from error
