"""What is drawn for each job of simulated workers: its time, its chunks or its length, its outcome."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from loadtest.endpoint.distributions import BLOCK, sample, sample_stream
from loadtest.endpoint.job import Job
from loadtest.endpoint.llm_settings import output_lengths
from loadtest.endpoint.settings import Chunks, EndpointSettings

_CHUNK_TIMES_PER_BLOCK = 2**16


def failures(rate: float, rng: np.random.Generator) -> Iterator[bool]:
    """Yield for each job whether it fails, with probability `rate`."""
    while True:
        yield from (rng.random(BLOCK) < rate).tolist()


def chunk_offsets(chunks: Chunks, rng: np.random.Generator) -> Iterator[NDArray[np.float64]]:
    """Yield for each job when its chunks come, in seconds since a worker took it."""
    rows = max(1, _CHUNK_TIMES_PER_BLOCK // chunks.count)
    while True:
        gaps = sample(chunks.gap, rows * chunks.count, rng).reshape(rows, chunks.count)
        gaps[:, 0] = sample(chunks.first, rows, rng)
        yield from np.cumsum(gaps, axis=1)


def crashes(rate: float, rng: np.random.Generator) -> Iterator[float]:
    """Yield for each job the share of its time after which its worker dies, with probability `rate`; else inf."""
    while True:
        dies, share = rng.random((2, BLOCK))
        yield from np.where(dies < rate, share, np.inf).tolist()


class JobSampler:
    """Draws jobs: the n-th has the same service time, chunks and outcome whenever it comes."""

    def __init__(
        self,
        settings: EndpointSettings,
        times: np.random.SeedSequence,
        outcomes: np.random.SeedSequence,
        deaths: np.random.SeedSequence,
    ) -> None:
        rng = np.random.default_rng(times)
        fails = failures(settings.failure_rate, np.random.default_rng(outcomes))
        self._fails = fails if settings.failure_rate else None
        self._crashes = crashes(settings.crash_rate, np.random.default_rng(deaths)) if settings.crash_rate else None
        self._service_s = sample_stream(settings.service_time, rng)
        self._lengths = None if settings.llm is None else output_lengths(settings.llm.output_tokens, rng)
        self._offsets = None if settings.chunks is None else chunk_offsets(settings.chunks, rng)

    def draw(self, job: Job) -> None:
        """Fill in the work of the next job."""
        if self._fails is not None:
            job.fails = next(self._fails)
        if self._lengths is not None and job.completion is not None:
            job.completion.draw(next(self._lengths))
            job.service_s = job.completion.service_s
        elif self._offsets is None:
            job.service_s = next(self._service_s)
        else:
            job.chunk_offsets_s = next(self._offsets)
            job.service_s = float(job.chunk_offsets_s[-1])
        if self._crashes is not None:
            job.crashes_after_s = next(self._crashes) * job.service_s
