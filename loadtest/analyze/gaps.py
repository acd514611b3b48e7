"""The times between neighbouring tokens of streamed jobs, as the client saw them arrive.

A job has any number of them. Tokens that came in one chunk, or in chunks that were read together, are one arrival,
and have no gap between them: a user sees none.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from loadtest.analyze.jobs import JobColumns
from loadtest.arrays import Floats, Mask

_ROUNDING_MS = 1.0
"""Gaps that add up to the time from the first content to the last, to within this, are all there."""


@dataclass(frozen=True)
class Pooled:
    """Times of several jobs, job by job: `counts` has the number of each job's, NaN is a time that is not known."""

    values_ms: Floats
    counts: NDArray[np.int64]

    @property
    def starts(self) -> NDArray[np.int64]:
        """Return where the times of each job begin."""
        starts: NDArray[np.int64] = np.cumsum(self.counts) - self.counts
        return starts

    @property
    def jobs(self) -> int:
        """Return the number of jobs that have any."""
        return int(np.count_nonzero(self.counts))

    def take(self, indices: NDArray[np.int64]) -> Pooled:
        """Return the times of the jobs at these indices, in this order."""
        counts = self.counts[indices]
        return Pooled(self.values_ms[np.repeat(self.starts[indices], counts) + _positions(counts)], counts)

    def totals(self, values: Floats) -> Floats:
        """Return the sums of values, one for each of the times, of each job that has any."""
        return np.add.reduceat(values, self.starts[self.counts > 0]) if len(values) else np.empty(0)


@dataclass(frozen=True)
class TokenGaps:
    """The gaps of all jobs of a run, in milliseconds; `whole` if they are all gaps that a job has.

    Of a job that did not complete, more tokens could have come. Of one that did, rows may be missing, or say nothing
    of content.
    """

    known: Pooled
    whole: Mask

    def of(self, indices: NDArray[np.int64]) -> Pooled:
        """Return the gaps of the jobs at these indices, in this order, those that are not known as NaN.

        A job whose gaps are not all known has at least one more, and as many as the mean of the others if that is
        more. The first of them follows those that are known.
        """
        known, whole = self.known.take(indices), self.whole[indices]
        counts = known.counts
        typical = round(float(counts[whole].mean())) if whole.any() else 1
        lacking = np.where(whole, 0, np.maximum(1, typical - counts))
        found = Pooled(np.full(int(counts.sum() + lacking.sum()), np.nan), counts + lacking)
        found.values_ms[np.repeat(found.starts, counts) + _positions(counts)] = known.values_ms
        return found

    def of_whole(self, indices: NDArray[np.int64]) -> Pooled:
        """Return the gaps of those of the jobs at these indices whose gaps are all known."""
        return self.of(indices[self.whole[indices]])


def _positions(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return 0, 1, … for each count."""
    return np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts)


def job_keys(seq: NDArray[np.int64], process: NDArray[np.integer]) -> NDArray[np.int64]:
    """Return one number per job; a process fits 16 bits and a run's `seq` 47."""
    return (seq << 16) | (process.astype(np.int64) & 0xFFFF)


def token_gaps(jobs: JobColumns, chunks: pa.Table) -> TokenGaps:
    """Return the gaps between tokens, of chunks in the schema of `chunks.parquet` in any order."""
    streamed = np.flatnonzero(~np.isnan(jobs.first_content_at))
    if len(streamed) == 0 or len(chunks) == 0:
        known = Pooled(np.empty(0), np.zeros(len(jobs), np.int64))
    else:
        known = _pooled(jobs, chunks, streamed)
    span_ms, total_ms = (jobs.last_content_at - jobs.first_content_at) * 1000, np.zeros(len(jobs))
    total_ms[known.counts > 0] = known.totals(known.values_ms)
    # Without content, only a job of at most one token is known to have no gap.
    whole = (np.abs(span_ms - total_ms) < _ROUNDING_MS) | (jobs.output_tokens <= 1)
    return TokenGaps(known, whole & jobs.completed)


def _pooled(jobs: JobColumns, chunks: pa.Table, streamed: NDArray[np.int64]) -> Pooled:
    arrived = chunks.filter(pc.and_(pc.is_valid(chunks.column("at")), pc.greater(chunks.column("pieces"), 0)))
    seq, process, at = (arrived.column(name).to_numpy() for name in ("seq", "process", "at"))
    own, keys = job_keys(jobs.seq[streamed], jobs.process[streamed]), job_keys(seq.astype(np.int64), process)
    order = np.argsort(own)
    place = np.minimum(np.searchsorted(own[order], keys), len(own) - 1)
    mine = own[order][place] == keys
    job, at = streamed[order][place[mine]], at[mine]
    order = np.lexsort((at, job))
    job, at = job[order], at[order]
    gaps_ms, follows = np.diff(at) * 1000, np.diff(job) == 0
    apart = follows & (gaps_ms > 0)
    return Pooled(gaps_ms[apart], np.bincount(job[1:][apart], minlength=len(jobs)).astype(np.int64))
