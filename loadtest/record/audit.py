"""The count of jobs that each process has sent, kept even if it is killed, and the audit of rows by that count."""

from __future__ import annotations

import mmap
import os
import struct
from pathlib import Path

import numpy as np

from loadtest.errors import recording_error
from loadtest.protocol.operations import Op
from loadtest.record.directory import RunDirectory
from loadtest.record.run import Audit
from loadtest.record.sample import SAMPLES
from loadtest.record.shards import batches
from loadtest.traffic.arrivals import max_in_window

_COUNT = struct.Struct("<q")


class PersistentCounter:
    """A count in a memory-mapped file, which the system writes back even after the process was killed.

    Raises RecordingError if the disk is full; once the file exists, counting needs no more space.
    """

    def __init__(self, path: Path) -> None:
        write_count(path, 0)
        try:
            with path.open("r+b") as file:
                self._file = mmap.mmap(file.fileno(), _COUNT.size)
        except OSError as error:
            raise recording_error(path, error, "cannot record") from error
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
        raise recording_error(path, error, "cannot record") from error


def peak_requests(directory: RunDirectory, span_s: float = 10.0) -> dict[str, int]:
    """Return the most requests of each operation in any `span_s`, of all processes; empty if only one sent."""
    return {
        str(list(Op)[index]): max_in_window(np.sort(np.concatenate(sent_at)), span_s)
        for index, sent_at in directory.send_times().items()
    }


def audit(directory: RunDirectory) -> list[Audit]:
    """Return the jobs sent and the rows recorded of each process that left shards.

    A process on the master's disk counts in a file that survives it, so the difference is exact. A process on
    another machine reports its count: if it was lost, jobs that it sent after its last report are not counted.
    """
    audited = []
    for process in directory.processes():
        counts = [directory.sent_count_path(process), directory.reported_count_path(process)]
        sent = max((read_count(path) for path in counts if path.exists()), default=0)
        path = directory.shard_path("samples", process)
        recorded = sum(batch.num_rows for batch in batches(path, SAMPLES)) if path.exists() else 0
        audited.append(Audit(process, max(sent, recorded), recorded))
    return audited
