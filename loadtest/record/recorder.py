"""The rows of a run: jobs, requests by second and chunks from each process, health from the master."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress

import msgspec

from loadtest.errors import RecordingError
from loadtest.protocol.client_messages import Health
from loadtest.protocol.operations import Op
from loadtest.record.audit import PersistentCounter
from loadtest.record.directory import MASTER_PROCESS, SHARDS, RunDirectory
from loadtest.record.requests import RequestLog
from loadtest.record.sample import HEALTH, SAMPLES, Sample

BATCH = 500
"""The samples that are written at once, which takes about a millisecond; writing all that came since the last flush
could delay jobs that are due."""
_SAMPLE_FIELDS = [Sample.__struct_fields__.index(name) for name in SAMPLES.names]


class Recorder:
    """The rows of one process, on disk after each `flush`, which its owner calls at least once per second.

    `requests` has a log for each operation. A process that shares its limits with others keeps its send times
    (`keep_sends`): only those of all processes together give the fullest 10 seconds. `schedule` is called to write a
    full batch; unless given, it is written at once.
    """

    def __init__(
        self,
        directory: RunDirectory,
        process: int = 0,
        keep_sends: bool = False,
        schedule: Callable[[Callable[[], None]], object] = lambda work: work(),
    ) -> None:
        self._process = process
        self._schedule = schedule
        self._shards = {table: directory.shard(table, process) for table in SHARDS if table != "health"}
        self._samples: list[Sample] = []
        self._write_failed = False
        self._chunks: list[tuple[int, int, float]] = []
        self.requests = {op: RequestLog(op, keep_sends) for op in Op}
        self.tally = PersistentCounter(directory.sent_count_path(process))

    def sample(self, sample: Sample, chunk_seen_at: list[float]) -> None:
        """Record a job that is over, with the times at which its chunks were seen; only `flush` raises errors."""
        sample.process = self._process
        self._samples.append(sample)
        if chunk_seen_at:
            self._chunks.extend((sample.seq, self._process, at) for at in chunk_seen_at)
        if len(self._samples) == BATCH and not self._write_failed:
            self._schedule(self._write_batch)

    def flush(self, now: float) -> None:
        """Write everything except the requests of the second that is not over.

        Raises RecordingError if the disk is full; rows that were not written are written by the next flush.
        """
        self._write_samples()
        if self._chunks:
            self._shards["chunks"].append(zip(*self._chunks, strict=True))
            self._chunks.clear()
        self._write_requests(now)

    def _write_requests(self, now: float) -> None:
        for index, log in enumerate(self.requests.values()):
            if log.sends:
                self._shards["sends"].append(([index] * len(log.sends), log.sends))
                del log.sends[:]
        rows = [row for log in self.requests.values() for row in log.rows_before(now, self._process)]
        if rows:
            rows.sort(key=lambda row: row[0])
            self._shards["requests"].append(zip(*rows, strict=True))
            for log in self.requests.values():
                log.drop_before(now)

    def _write_batch(self) -> None:
        with suppress(RecordingError):
            self._write_samples()

    def _write_samples(self) -> None:
        if self._samples:
            columns = list(zip(*map(msgspec.structs.astuple, self._samples), strict=True))
            self._write_failed = True
            self._shards["samples"].append(columns[field] for field in _SAMPLE_FIELDS)
            self._write_failed = False
            self._samples = []

    def close(self) -> None:
        """Write everything and end the shards. Raises RecordingError if the disk is still full."""
        try:
            self.flush(math.inf)
        finally:
            for shard in self._shards.values():
                shard.close()
            self.tally.close()


class HealthWriter:
    """The health rows of a run, and one request row per second; RecordingError is raised if the disk is full."""

    def __init__(self, directory: RunDirectory) -> None:
        self._health = directory.shard("health", MASTER_PROCESS)
        self._requests = directory.shard("requests", MASTER_PROCESS)
        self._log = RequestLog(Op.HEALTH, keep_sends=False)

    def sent(self, at: float) -> None:
        """Count a request that is sent at this time."""
        self._log.sent(at)

    def answered(self, status: int, sent_at: float, answered_at: float, health: Health | None) -> None:
        """Write the health in an answer, if it holds one, and the requests of all seconds before it."""
        self._log.answered(status, sent_at, answered_at)
        if health is not None:
            jobs, workers = health.jobs, health.workers
            counts = [getattr(jobs, name, getattr(workers, name, None)) for name in HEALTH.names[1:]]
            self._health.append([[value] for value in (answered_at, *counts)])
        self._write_requests(answered_at)

    def close(self) -> None:
        """Write the last requests and end the shards."""
        try:
            self._write_requests(math.inf)
        finally:
            self._health.close()
            self._requests.close()

    def _write_requests(self, before: float) -> None:
        rows = self._log.rows_before(before, MASTER_PROCESS)
        if rows:
            self._requests.append(zip(*rows, strict=True))
            self._log.drop_before(before)
