"""How many jobs a process has sent, in a file that outlives it: a killed process leaves the truth behind."""

from __future__ import annotations

import mmap
import struct
from pathlib import Path

_COUNT = struct.Struct("<q")


class Tally:
    """A count in memory that is a file; the system writes it back whatever becomes of the process."""

    def __init__(self, path: Path) -> None:
        path.write_bytes(_COUNT.pack(0))
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


def counted(path: Path) -> int:
    """What a tally stands at."""
    return int(_COUNT.unpack(path.read_bytes())[0])


def write_count(path: Path, count: int) -> None:
    """Set down a count that another machine told of."""
    path.write_bytes(_COUNT.pack(count))
