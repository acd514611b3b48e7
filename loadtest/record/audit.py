"""Was everything that was sent put on record? Counts that outlive a process, held against the rows it left."""

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
    """For each operation, the most requests of all processes in any `span_s`; empty where one sent alone."""
    return {
        str(list(Op)[place]): max_in_window(np.sort(np.concatenate(sent_at)), span_s)
        for place, sent_at in directory.send_times().items()
    }


def audit(directory: RunDirectory) -> list[Audit]:
    """For each process that left shards, the jobs that it sent and the rows that are there.

    A process on the lead's disk counts in a file that survives it, so the difference is exact. Of one elsewhere
    the lead knows what it last told: if it was lost, what it sent after that is not counted.
    """
    audited = []
    for process in directory.processes():
        tallies = [directory.sent_count_path(process), directory.reported_count_path(process)]
        sent = max((read_count(path) for path in tallies if path.exists()), default=0)
        path = directory.shard_path("samples", process)
        recorded = sum(batch.num_rows for batch in batches(path, SAMPLES)) if path.exists() else 0
        audited.append(Audit(process, max(sent, recorded), recorded))
    return audited
