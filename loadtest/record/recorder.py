"""Collects what a process sees and appends it to its shards: jobs, requests by second, chunks, health."""

from __future__ import annotations

import math
from array import array
from collections import defaultdict
from contextlib import suppress
from typing import Any

import msgspec
import numpy as np

from loadtest.errors import RecordingError
from loadtest.protocol import Op
from loadtest.record.directory import SENDS, SHARDS, RunDirectory
from loadtest.record.sample import CHUNKS, HEALTH, REQUESTS, SAMPLES, Sample
from loadtest.record.shards import batch_of
from loadtest.record.tally import Tally
from loadtest.traffic.budget import FullestWindow
from loadtest.wire import Health

BATCH = 250
"""So many samples are written at once, as soon as they are there, which takes about a millisecond; to write
all that came since the last flush in one go could hold up what is due to be sent."""
OPS = list(Op)
_SAMPLE_FIELDS = [Sample.__struct_fields__.index(name) for name in SAMPLES.names]


class Recorder:
    """What one process saw. Nothing is on disk before `flush`, which its owner calls at least each second.

    `keep_sends` is for a process that shares its limits with others: only from the times of all their requests
    can the fullest 10 seconds be known.
    """

    def __init__(self, directory: RunDirectory, process: int = 0, keep_sends: bool = False) -> None:
        self._process = process
        self._keep_sends = keep_sends
        self._shards = {table: directory.shard(table, process) for table in SHARDS}
        self._sends: dict[Op, array[float]] = defaultdict(_doubles)
        self._samples: list[Sample] = []
        self._refused = False
        self._chunks: list[tuple[int, int, float]] = []
        self._health: list[tuple[Any, ...]] = []
        self._latencies_s: dict[tuple[int, Op, int], array[float]] = defaultdict(_doubles)
        self.fullest: dict[Op, FullestWindow] = defaultdict(FullestWindow)
        self.tally = Tally(directory.tally_path(process))

    def sample(self, sample: Sample, chunk_seen_at: list[float]) -> None:
        """A job that is over, with the times at which its chunks were seen; `flush` tells if the disk refuses."""
        sample.process = self._process
        self._samples.append(sample)
        if chunk_seen_at:
            self._chunks.extend((sample.seq, self._process, at) for at in chunk_seen_at)
        if len(self._samples) >= BATCH and not self._refused:
            with suppress(RecordingError):
                self._write_samples()

    def sent(self, operation: Op, at: float) -> None:
        """A request goes out."""
        self.fullest[operation].add(at)
        if self._keep_sends:
            self._sends[operation].append(at)

    def answered(self, operation: Op, status: int, sent_at: float, answered_at: float) -> None:
        """A request has its answer, or none (status 0)."""
        self._latencies_s[int(answered_at), operation, status].append(answered_at - sent_at)

    def health(self, at: float, health: Health) -> None:
        """What /health said."""
        jobs, workers = health.jobs, health.workers
        counts = (getattr(jobs, name, getattr(workers, name, None)) for name in HEALTH.names[1:])
        self._health.append((at, *counts))

    def flush(self, now: float) -> None:
        """Hand all to the system, but the second that is still going on.

        Raises RecordingError where it is refused; what was refused is kept and tried again by the next flush.
        """
        self._write_samples()
        if self._chunks:
            self._shards["chunks"].append(batch_of(zip(*self._chunks, strict=True), CHUNKS))
            self._chunks.clear()
        if self._health:
            self._shards["health"].append(batch_of(zip(*self._health, strict=True), HEALTH))
            self._health.clear()
        for operation in list(self._sends):
            sent_at = self._sends[operation]
            self._shards["sends"].append(batch_of(([OPS.index(operation)] * len(sent_at), sent_at), SENDS))
            del self._sends[operation]
        over = [key for key in self._latencies_s if key[0] + 1 <= now]
        if over:
            rows = [self._request_row(key, self._latencies_s[key]) for key in sorted(over)]
            self._shards["requests"].append(batch_of(zip(*rows, strict=True), REQUESTS))
            for key in over:
                del self._latencies_s[key]

    def _write_samples(self) -> None:
        if self._samples:
            columns = list(zip(*map(msgspec.structs.astuple, self._samples), strict=True))
            self._refused = True
            self._shards["samples"].append(batch_of((columns[field] for field in _SAMPLE_FIELDS), SAMPLES))
            self._refused = False
            self._samples.clear()

    def _request_row(self, key: tuple[int, Op, int], latencies_s: array[float]) -> tuple[Any, ...]:
        second, operation, status = key
        latencies_ms = np.sort(np.frombuffer(latencies_s)) * 1000
        n = len(latencies_ms)
        p50, p95 = (float(latencies_ms[-(-n * percent // 100) - 1]) for percent in (50, 95))
        mean, most = float(latencies_ms.mean()), self.fullest[operation].most
        return float(second), self._process, operation, status, n, mean, p50, p95, float(latencies_ms[-1]), most

    def close(self) -> None:
        """Hand everything over and end the shards; RecordingError where the disk refuses to the last."""
        try:
            self.flush(math.inf)
        finally:
            for shard in self._shards.values():
                shard.close()
            self.tally.close()


def _doubles() -> array[float]:
    return array("d")
