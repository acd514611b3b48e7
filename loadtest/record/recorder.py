"""Collects what a process sees and appends it to its shards: jobs, requests by second, chunks, health."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import Any

from loadtest.protocol import Op
from loadtest.record.directory import TABLES, RunDirectory
from loadtest.record.sample import HEALTH, SAMPLES, Sample
from loadtest.record.tally import Tally
from loadtest.traffic.budget import FullestWindow
from loadtest.wire import Health

_SAMPLE_COLUMNS = SAMPLES.names
LEAD = -1
"""The number of the process that leads and sends no jobs."""


class Recorder:
    """What one process saw. Nothing is on disk before `flush`, which its owner calls at least each second."""

    def __init__(self, directory: RunDirectory, process: int = 0) -> None:
        self._process = process
        self._shards = {table: directory.shard(table, process) for table in TABLES}
        self._samples: list[Sample] = []
        self._chunks: list[tuple[int, float]] = []
        self._health: list[list[Any]] = []
        self._latencies_ms: dict[tuple[int, Op, int], list[float]] = defaultdict(list)
        self.fullest: dict[Op, FullestWindow] = defaultdict(FullestWindow)
        self.samples = 0
        self.tally = Tally(directory.tally_path(process))

    def sample(self, sample: Sample, chunk_seen_at: list[float]) -> None:
        """A job that is over, with the times at which its chunks were seen."""
        sample.process = self._process
        self._samples.append(sample)
        self.samples += 1
        self._chunks.extend((sample.seq, at) for at in chunk_seen_at)

    def sent(self, operation: Op, at: float) -> None:
        """A request goes out."""
        self.fullest[operation].add(at)

    def answered(self, operation: Op, status: int, sent_at: float, answered_at: float) -> None:
        """A request has its answer, or none (status 0)."""
        key = (math.floor(answered_at), operation, status)
        self._latencies_ms[key].append((answered_at - sent_at) * 1000)

    def health(self, at: float, health: Health) -> None:
        """What /health said."""
        jobs, workers = health.jobs, health.workers
        counts = {name: getattr(jobs, name, getattr(workers, name, None)) for name in HEALTH.names[1:]}
        self._health.append([at, *counts.values()])

    def flush(self, now: float) -> None:
        """Hand all to the system, but the second that is still going on; RecordingError where it is refused."""
        samples, self._samples = self._samples, []
        if samples:
            self._shards["samples"].append([[getattr(s, name) for s in samples] for name in _SAMPLE_COLUMNS])
        chunks, self._chunks = self._chunks, []
        if chunks:
            seqs, times = zip(*chunks, strict=True)
            self._shards["chunks"].append([list(seqs), [self._process] * len(chunks), list(times)])
        health, self._health = self._health, []
        if health:
            self._shards["health"].append([list(column) for column in zip(*health, strict=True)])
        over = [key for key in self._latencies_ms if key[0] + 1 <= now]
        if over:
            rows = [self._request_row(key, self._latencies_ms.pop(key)) for key in sorted(over)]
            self._shards["requests"].append([list(column) for column in zip(*rows, strict=True)])

    def _request_row(self, key: tuple[int, Op, int], latencies_ms: list[float]) -> list[Any]:
        second, operation, status = key
        latencies_ms.sort()
        n = len(latencies_ms)
        p50, p95 = (latencies_ms[-(-n * percent // 100) - 1] for percent in (50, 95))
        mean, most = sum(latencies_ms) / n, self.fullest[operation].most
        return [float(second), self._process, operation, status, n, mean, p50, p95, latencies_ms[-1], most]

    def close(self) -> None:
        """Hand everything over and end the shards."""
        self.flush(math.inf)
        for shard in self._shards.values():
            shard.close()
        self.tally.close()
