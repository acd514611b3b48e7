"""The rows of a run: jobs, requests by second and chunks from each process, health from the master."""

from __future__ import annotations

import math
from array import array
from collections import defaultdict
from collections.abc import Collection, Sequence
from contextlib import suppress
from typing import TypeAlias

import msgspec
import numpy as np

from loadtest.errors import RecordingError
from loadtest.protocol.client_messages import Health
from loadtest.protocol.operations import Op
from loadtest.record.audit import PersistentCounter
from loadtest.record.directory import MASTER_PROCESS, SHARDS, RunDirectory
from loadtest.record.sample import HEALTH, SAMPLES, ChunkSeen, ErrorKind, Outcome, Sample
from loadtest.record.shards import UNWRITABLE, Shard, fits
from loadtest.traffic.rate_limit import PeakWindow
from loadtest.units import nearest_rank

EndedJob: TypeAlias = tuple[Sample, Sequence[ChunkSeen]]
"""A job that was sent and is over, and the times at which its chunks were seen."""
_SAMPLE_FIELDS = [Sample.__struct_fields__.index(name) for name in SAMPLES.names]
RequestRow = tuple[float, int, Op, int, int, float, float, float, float, int]
"""The columns of `requests.parquet`, in their order."""


class RequestLog:
    """The requests of one operation, counted as they go out and as they are answered.

    With `keep_sends`, `sends` holds when they went out, since it was last emptied.
    """

    def __init__(self, operation: Op, keep_sends: bool) -> None:
        self._operation = operation
        self._keep_sends = keep_sends
        self._latencies_s: dict[tuple[int, int], array[float]] = defaultdict(_doubles)
        self._second = self._status = -1
        self._latest_s = _doubles()
        self.sends = _doubles()
        self.peak = PeakWindow()

    def sent(self, at: float) -> None:
        """Count a request that goes out."""
        self.peak.add(at)
        if self._keep_sends:
            self.sends.append(at)

    def answered(self, status: int, sent_at: float, answered_at: float) -> None:
        """Count a request that has its response, or none (status 0)."""
        second = int(answered_at)
        if second != self._second or status != self._status:
            self._second, self._status = second, status
            self._latest_s = self._latencies_s[second, status]
        self._latest_s.append(answered_at - sent_at)

    def rows_before(self, now: float, process: int) -> list[RequestRow]:
        """Return the rows of all seconds that are over."""
        return [self._row(process, *key, self._latencies_s[key]) for key in sorted(self._over(now))]

    def drop_before(self, now: float) -> None:
        """Drop all seconds that are over."""
        for key in self._over(now):
            del self._latencies_s[key]
        self._second = -1

    def _over(self, now: float) -> list[tuple[int, int]]:
        return [key for key in self._latencies_s if key[0] + 1 <= now]

    def _row(self, process: int, second: int, status: int, latencies_s: array[float]) -> RequestRow:
        latencies_ms = np.sort(np.frombuffer(latencies_s)) * 1000
        n = len(latencies_ms)
        p50, p95 = (float(latencies_ms[nearest_rank(n, per_mille) - 1]) for per_mille in (500, 950))
        mean, max_ms, peak = float(latencies_ms.mean()), float(latencies_ms[-1]), self.peak.peak
        return float(second), process, self._operation, status, n, mean, p50, p95, max_ms, peak


def _doubles() -> array[float]:
    return array("d")


class Recorder:
    """The rows of one process, on disk after each `flush`, which its owner calls at least once per second.

    `requests` has a log for each operation. A process that shares its limits with others keeps its send times
    (`keep_sends`): only those of all processes together give the fullest 10 seconds.
    """

    def __init__(self, directory: RunDirectory, process: int = 0, keep_sends: bool = False) -> None:
        self._process = process
        self._shards = {table: directory.shard(table, process) for table in SHARDS if table != "health"}
        self._samples: list[Sample] = []
        self._write_failed = False
        self._chunks: list[tuple[int, int, float, int]] = []
        self._cancels: list[tuple[int, int, float]] = []
        self.requests = {op: RequestLog(op, keep_sends) for op in Op}
        self.tally = PersistentCounter(directory.sent_count_path(process))

    def record(self, ended: Sequence[EndedJob]) -> None:
        """Write the samples of these jobs; if the disk is full, they wait for `flush`, which raises the error."""
        for sample, chunks_seen in ended:
            sample.process = self._process
            self._samples.append(sample)
            if chunks_seen:
                self._chunks.extend((sample.seq, self._process, *seen) for seen in chunks_seen)
        if not self._write_failed:
            with suppress(RecordingError):
                self._write_samples()

    def cancelled(self, sample: Sample, at: float) -> None:
        """Record that the endpoint has confirmed, at this time, the end of a job that was given up."""
        self._cancels.append((sample.seq, self._process, at))

    def flush(self, now: float) -> None:
        """Write everything except the requests of the second that is not over.

        Raises RecordingError if the disk is full; rows that were not written are written by the next flush.
        """
        self._write_samples()
        for table, rows in (("chunks", self._chunks), ("cancels", self._cancels)):
            if rows:
                self._shards[table].append(zip(*rows, strict=True))
                rows.clear()
        for index, log in enumerate(self.requests.values()):
            if log.sends:
                self._shards["sends"].append(([index] * len(log.sends), log.sends))
                del log.sends[:]
        _write_rows(self._shards["requests"], self.requests.values(), now, self._process)

    def _write_samples(self) -> None:
        if self._samples:
            self._write_failed = True
            try:
                self._append_samples()
            except UNWRITABLE:
                for sample in self._samples:
                    _make_writable(sample)
                self._append_samples()
            self._write_failed = False
            self._samples = []

    def _append_samples(self) -> None:
        columns = list(zip(*map(msgspec.structs.astuple, self._samples), strict=True))
        self._shards["samples"].append(columns[field] for field in _SAMPLE_FIELDS)

    def close(self) -> None:
        """Write everything and end the shards. Raises RecordingError if the disk is still full."""
        try:
            self.flush(math.inf)
        finally:
            for shard in self._shards.values():
                shard.close()
            self.tally.close()


def _make_writable(sample: Sample) -> None:
    """Drop the values that the row of a job cannot hold, and say which: the job is a bad answer, and has a row."""
    unfit = [field.name for field in SAMPLES if not fits(getattr(sample, field.name), field.type)]
    if unfit:
        for name in unfit:
            setattr(sample, name, None)
        sample.outcome, sample.error_kind = Outcome.BAD_ANSWER, ErrorKind.INVALID_RESPONSE
        sample.error = f"{', '.join(unfit)}: the endpoint's value cannot be recorded"


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
            row = zip((answered_at, *counts), HEALTH, strict=True)
            self._health.append([[value if fits(value, field.type) else None] for value, field in row])
        _write_rows(self._requests, [self._log], answered_at, MASTER_PROCESS)

    def close(self) -> None:
        """Write the last requests and end the shards."""
        try:
            _write_rows(self._requests, [self._log], math.inf, MASTER_PROCESS)
        finally:
            self._health.close()
            self._requests.close()


def _write_rows(shard: Shard, logs: Collection[RequestLog], before: float, process: int) -> None:
    """Write the rows of all seconds that are over, and drop those seconds."""
    rows = [row for log in logs for row in log.rows_before(before, process)]
    if rows:
        rows.sort(key=lambda row: row[0])
        shard.append(zip(*rows, strict=True))
        for log in logs:
            log.drop_before(before)
