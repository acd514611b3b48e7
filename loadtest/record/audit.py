"""The audit of a run: the jobs that each process counted as sent, compared with the rows that it left."""

from __future__ import annotations

import numpy as np

from loadtest.protocol.operations import Op
from loadtest.record.counter import read_count
from loadtest.record.directory import RunDirectory
from loadtest.record.run import Audit
from loadtest.record.sample import SAMPLES
from loadtest.record.shards import batches
from loadtest.traffic.arrivals import max_in_window


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
