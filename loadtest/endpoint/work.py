"""What each job will ask of a worker, drawn by the job's index so that a seed names the whole sequence."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from loadtest.endpoint.job import Job
from loadtest.endpoint.settings import Chunks, EndpointSettings
from loadtest.endpoint.spread import BLOCK, draws, endless
from loadtest.protocol import Op

_VARIANT = {digit: "89ab"[int(digit, 16) % 4] for digit in "0123456789abcdef"}
_CHUNK_TIMES_AT_ONCE = 2**16


def uuids(rng: np.random.Generator) -> Iterator[str]:
    """Random UUIDs (version 4) as text."""
    while True:
        digits = rng.bytes(16 * BLOCK).hex()
        for at in range(0, len(digits), 32):
            d = digits[at : at + 32]
            yield f"{d[:8]}-{d[8:12]}-4{d[13:16]}-{_VARIANT[d[16]]}{d[17:20]}-{d[20:]}"


def failures(rate: float, rng: np.random.Generator) -> Iterator[bool]:
    """For each job whether it fails, with probability `rate`."""
    while True:
        yield from (rng.random(BLOCK) < rate).tolist()


def chunk_offsets(chunks: Chunks, rng: np.random.Generator) -> Iterator[NDArray[np.float64]]:
    """For each job when its chunks come, in seconds since a worker took it."""
    rows = max(1, _CHUNK_TIMES_AT_ONCE // chunks.count)
    while True:
        gaps = draws(chunks.gap, rows * chunks.count, rng).reshape(rows, chunks.count)
        gaps[:, 0] = draws(chunks.first, rows, rng)
        yield from np.cumsum(gaps, axis=1)


class Work:
    """Makes jobs: the n-th has the same id, service time, chunks and fate whenever it comes."""

    def __init__(self, settings: EndpointSettings, seed: np.random.SeedSequence) -> None:
        ids, times, fates = (np.random.default_rng(each) for each in seed.spawn(3))
        self._ids = uuids(ids)
        self._fails = failures(settings.failure_rate, fates)
        self._service_s = endless(settings.service_time, times)
        self._offsets = None if settings.chunks is None else chunk_offsets(settings.chunks, times)

    def next_job(self, op: Op, now: float) -> Job:
        """The next job, submitted `now`; a `/runsync` job's id begins with `sync-`."""
        job_id = next(self._ids)
        if op is Op.RUNSYNC:
            job_id = "sync-" + job_id
        if self._offsets is None:
            return Job(job_id, op, now, next(self._service_s), next(self._fails))
        offsets_s = next(self._offsets)
        return Job(job_id, op, now, float(offsets_s[-1]), next(self._fails), offsets_s)
