"""What each job will ask of a worker, drawn by the job's index so that a seed names the whole sequence."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from loadtest.endpoint.job import Job
from loadtest.endpoint.settings import Chunks, EndpointSettings
from loadtest.endpoint.spread import BLOCK, sample, sample_stream

_HYPHEN, _VERSION = b"-4"
_VARIANTS = np.frombuffer(b"89ab", dtype=np.uint8)
_CHUNK_TIMES_AT_ONCE = 2**16


def uuids(rng: np.random.Generator) -> Iterator[str]:
    """Random UUIDs (version 4) as text."""
    text = np.full((BLOCK, 36), _HYPHEN, dtype=np.uint8)
    while True:
        drawn = rng.bytes(16 * BLOCK)
        digits = np.frombuffer(drawn.hex().encode(), dtype=np.uint8).reshape(BLOCK, 32)
        for first, last, hyphens in ((0, 8, 0), (8, 12, 1), (12, 16, 2), (16, 20, 3), (20, 32, 4)):
            text[:, first + hyphens : last + hyphens] = digits[:, first:last]
        text[:, 14] = _VERSION
        text[:, 19] = _VARIANTS[(np.frombuffer(drawn, dtype=np.uint8)[8::16] >> 4) % 4]
        yield from text.view("S36").ravel().astype(str).tolist()


def failures(rate: float, rng: np.random.Generator) -> Iterator[bool]:
    """For each job whether it fails, with probability `rate`."""
    while True:
        yield from (rng.random(BLOCK) < rate).tolist()


def chunk_offsets(chunks: Chunks, rng: np.random.Generator) -> Iterator[NDArray[np.float64]]:
    """For each job when its chunks come, in seconds since a worker took it."""
    rows = max(1, _CHUNK_TIMES_AT_ONCE // chunks.count)
    while True:
        gaps = sample(chunks.gap, rows * chunks.count, rng).reshape(rows, chunks.count)
        gaps[:, 0] = sample(chunks.first, rows, rng)
        yield from np.cumsum(gaps, axis=1)


def crashes(rate: float, rng: np.random.Generator) -> Iterator[float]:
    """For each job after which part of its time its worker dies, with probability `rate`; else infinite."""
    while True:
        dies, part = rng.random((2, BLOCK))
        yield from np.where(dies < rate, part, np.inf).tolist()


class JobSampler:
    """Draws jobs: the n-th has the same service time, chunks and fate whenever it comes."""

    def __init__(
        self,
        settings: EndpointSettings,
        times: np.random.SeedSequence,
        fates: np.random.SeedSequence,
        deaths: np.random.SeedSequence,
    ) -> None:
        rng = np.random.default_rng(times)
        self._fails = failures(settings.failure_rate, np.random.default_rng(fates)) if settings.failure_rate else None
        self._crashes = crashes(settings.crash_rate, np.random.default_rng(deaths)) if settings.crash_rate else None
        self._service_s = sample_stream(settings.service_time, rng)
        self._offsets = None if settings.chunks is None else chunk_offsets(settings.chunks, rng)

    def draw(self, job: Job) -> None:
        """Fills in what the next job will be."""
        if self._fails is not None:
            job.fails = next(self._fails)
        if self._offsets is None:
            job.service_s = next(self._service_s)
        else:
            job.chunk_offsets_s = next(self._offsets)
            job.service_s = float(job.chunk_offsets_s[-1])
        if self._crashes is not None:
            job.crashes_after_s = next(self._crashes) * job.service_s
