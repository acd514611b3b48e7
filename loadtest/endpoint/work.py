"""What each job will ask of a worker, drawn by the job's index so that a seed names the whole sequence."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from loadtest.endpoint.job import Job
from loadtest.endpoint.settings import Chunks, EndpointSettings
from loadtest.endpoint.spread import BLOCK, draws, endless

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


def crashes(rate: float, rng: np.random.Generator) -> Iterator[float]:
    """For each job after which part of its time its worker dies, with probability `rate`; else infinite."""
    while True:
        dies, part = rng.random((2, BLOCK))
        yield from np.where(dies < rate, part, np.inf).tolist()


class Work:
    """Draws jobs: the n-th has the same service time, chunks and fate whenever it comes."""

    def __init__(
        self,
        settings: EndpointSettings,
        times: np.random.SeedSequence,
        fates: np.random.SeedSequence,
        deaths: np.random.SeedSequence,
    ) -> None:
        rng = np.random.default_rng(times)
        self._fails = failures(settings.failure_rate, np.random.default_rng(fates))
        self._crashes = crashes(settings.crash_rate, np.random.default_rng(deaths)) if settings.crash_rate else None
        self._service_s = endless(settings.service_time, rng)
        self._offsets = None if settings.chunks is None else chunk_offsets(settings.chunks, rng)

    def draw(self, job: Job) -> None:
        """Fills in what the next job will be."""
        job.fails = next(self._fails)
        if self._offsets is None:
            job.service_s = next(self._service_s)
        else:
            job.chunk_offsets_s = next(self._offsets)
            job.service_s = float(job.chunk_offsets_s[-1])
        if self._crashes is not None:
            job.crashes_after_s = next(self._crashes) * job.service_s
