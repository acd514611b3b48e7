"""The data of the charts of tokens: when they came, how many at once, and how long requests and answers were.

Times are seconds from the start of the load, rates tokens per second, all else milliseconds or tokens.
"""

from __future__ import annotations

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from loadtest.analyze.jobs import JobColumns, LoadWindow, floats
from loadtest.analyze.stats.bins import (
    BinnedPercentiles,
    Bins,
    Distribution,
    bins_over,
    distribution,
    histogram_edges_ms,
    rounded,
)
from loadtest.arrays import Floats, Mask
from loadtest.scenario.flows import FLOWS
from loadtest.scenario.metrics import Metric


class TokenTimes(msgspec.Struct, frozen=True):
    """Percentiles per bin of a time, over `counts` of them, and a sample of single ones."""

    counts: list[int]
    percentiles: BinnedPercentiles
    points_at_s: list[float] = []
    points_ms: list[float] = []


class AnswerPoints(msgspec.Struct, frozen=True):
    """A sample of a flow's completed jobs, evenly picked: their output tokens and their end-to-end time."""

    output_tokens: list[float]
    end_to_end_ms: list[float]


class TokenSeries(msgspec.Struct, frozen=True):
    """The tokens of a run whose jobs report any.

    `ttft_ms` is of completed jobs by their intended start, `gap_ms` is between neighbouring arrivals of content,
    by the time of the later one; null if no job has any. `output_per_s` counts the output tokens of completed jobs in
    the bins of `Rates`: evenly over the chunks in which their content came, or at their end. `input_tokens` and
    `output_tokens` are lengths, by flow.
    """

    bin_s: float
    at_s: list[float]
    ttft_ms: TokenTimes | None
    gap_ms: TokenTimes | None
    output_per_s: list[float]
    answers: dict[str, AnswerPoints]
    input_tokens: dict[str, Distribution]
    output_tokens: dict[str, Distribution]


def token_series(
    jobs: JobColumns, chunks: pa.Table, window: LoadWindow, rate_bins: Bins, limits: tuple[int, int]
) -> TokenSeries | None:
    """Return the tokens of a run; None, at no cost, if no job reports any.

    `rate_bins` are those of the rates of jobs; `limits` are the most bins and the most points of a chart.
    """
    counted = ~(np.isnan(jobs.output_tokens) & np.isnan(jobs.input_tokens))
    if not counted.any():
        return None
    max_bins, max_points = limits
    bins = bins_over(window.start_at, window.duration_s, max_bins)
    done = jobs.where(jobs.completed)
    job, at = _content(jobs, chunks)
    return TokenSeries(
        bin_s=bins.width_s,
        at_s=bins.starts_s.tolist(),
        ttft_ms=_ttft(done, bins, max_points),
        gap_ms=_gaps(job, at, bins),
        output_per_s=_output_per_s(jobs, job, at, rate_bins),
        answers=_answers(done, max_points),
        input_tokens=_lengths(done, done.input_tokens),
        output_tokens=_lengths(done, done.output_tokens),
    )


def _content(jobs: JobColumns, chunks: pa.Table) -> tuple[NDArray[np.int64], Floats]:
    """Return the job, as its row, and the time of each chunk with content of completed jobs, by job and time."""
    keys = _keys(jobs.seq, jobs.process)
    order = np.argsort(keys)
    at, pieces = floats(chunks, "at"), floats(chunks, "pieces")
    wanted = _keys(
        pc.cast(chunks.column("seq"), pa.int64()).to_numpy(), pc.cast(chunks.column("process"), pa.int64()).to_numpy()
    )
    rows = order[np.minimum(np.searchsorted(keys[order], wanted), len(keys) - 1)]
    # Runs of before had no column `pieces`; a chunk was content then.
    mine = (keys[rows] == wanted) & jobs.completed[rows] & ~(pieces == 0) & ~np.isnan(at)
    rows, at = rows[mine], at[mine]
    by_job = np.lexsort((at, rows))
    return rows[by_job], at[by_job]


def _keys(seq: NDArray[np.int64], process: NDArray[np.integer]) -> NDArray[np.int64]:
    """Return one number per job; a process fits 16 bits and a run's `seq` 47."""
    return (seq << 16) | (process.astype(np.int64) & 0xFFFF)


def _ttft(done: JobColumns, bins: Bins, max_points: int) -> TokenTimes | None:
    ttft_ms = done.known_times_ms(Metric.TTFT)
    known = np.flatnonzero(~np.isnan(ttft_ms))
    if not len(known):
        return None
    at, ttft_ms = done.intended_at[known], ttft_ms[known]
    picked = _picked(len(known), max_points)
    return TokenTimes(
        counts=_counts(bins, at),
        percentiles=bins.percentiles(at, ttft_ms),
        points_at_s=rounded(at[picked] - bins.start_at),
        points_ms=rounded(ttft_ms[picked]),
    )


def _gaps(job: NDArray[np.int64], at: Floats, bins: Bins) -> TokenTimes | None:
    # Chunks that were read together are one arrival. Those that came after the load belong to no bin of it.
    within = np.flatnonzero((np.diff(job) == 0) & (np.diff(at) > 0))
    later_at, gap_ms = at[within + 1], np.diff(at)[within] * 1000
    load = later_at <= bins.start_at + bins.span_s
    if not load.any():
        return None
    return TokenTimes(_counts(bins, later_at[load]), bins.percentiles(later_at[load], gap_ms[load]))


def _output_per_s(jobs: JobColumns, job: NDArray[np.int64], at: Floats, bins: Bins) -> list[float]:
    chunks = np.bincount(job, minlength=len(jobs))
    tokens = np.where(jobs.completed & ~np.isnan(jobs.output_tokens), jobs.output_tokens, 0.0)
    whole = chunks == 0
    moments = np.concatenate([at, jobs.finished_at[whole]])
    return bins.per_second(moments, np.concatenate([tokens[job] / chunks[job], tokens[whole]]))


def _answers(done: JobColumns, max_points: int) -> dict[str, AnswerPoints]:
    end_to_end_ms = done.known_times_ms(Metric.END_TO_END)
    known = ~(np.isnan(done.output_tokens) | np.isnan(end_to_end_ms))
    found = {}
    share = max_points / max(1, int(np.count_nonzero(known)))
    for flow, mask in _by_flow(done, known).items():
        rows = np.flatnonzero(mask)
        picked = rows[_picked(len(rows), max(1, round(len(rows) * share)))]
        found[flow] = AnswerPoints(done.output_tokens[picked].tolist(), rounded(end_to_end_ms[picked]))
    return found


def _lengths(done: JobColumns, tokens: Floats) -> dict[str, Distribution]:
    # Flows share their edges, so that their bars can be compared.
    edges = histogram_edges_ms(tokens)
    return {flow: distribution(tokens[mask], edges) for flow, mask in _by_flow(done, ~np.isnan(tokens)).items()}


def _by_flow(done: JobColumns, known: Mask) -> dict[str, Mask]:
    masks = {flow: known & done.of_flow(flow) for flow in FLOWS}
    return {flow: mask for flow, mask in masks.items() if mask.any()}


def _counts(bins: Bins, at: Floats) -> list[int]:
    counts: list[int] = np.bincount(bins.index(at), minlength=bins.count).tolist()
    return counts


def _picked(n: int, most: int) -> NDArray[np.int64]:
    """Return at most this many of n indices, evenly spaced."""
    return np.unique(np.linspace(0, n - 1, min(n, most)).round().astype(np.int64))
