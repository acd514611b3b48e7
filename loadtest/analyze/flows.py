"""The figures of each flow: times of its jobs, how they ended, and what unfinished jobs leave open."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from loadtest.analyze.gaps import job_keys
from loadtest.analyze.jobs import OUTCOMES, JobColumns, LoadWindow
from loadtest.analyze.run_data import RunData
from loadtest.analyze.stats.effective_number import effective_pooled
from loadtest.analyze.stats.quantiles import PER_MILLE, is_supported, quantiles
from loadtest.analyze.summary import Censored, FlowSummary, OutcomeSummary, Quantiles, TokenSummary
from loadtest.analyze.throughput import completion_window
from loadtest.arrays import Floats, Mask
from loadtest.record.sample import Outcome
from loadtest.scenario.flows import ANSWERED_BY_SUBMISSION, FLOWS
from loadtest.scenario.metrics import Metric
from loadtest.traffic.settings import ClosedLoad
from loadtest.units import nearest_rank

_NO_TIMES: Floats = np.empty(0)
_METRICS = [
    metric for metric in Metric if metric.spec.column in FlowSummary.__struct_fields__ and not metric.is_pooled
]


@dataclass(frozen=True)
class _FlowData:
    """The jobs of one flow that count, as a mask, and the indices of those that completed, in time."""

    flow: str
    mine: Mask
    done: NDArray[np.int64]


def flow_summaries(data: RunData, window: LoadWindow, within: bool = False) -> dict[str, FlowSummary]:
    """Return the figures of the flows of the scenario and of the samples; rates are over the window.

    With `within`, only jobs with an intended start in the window count; without, all jobs.
    """
    jobs = data.jobs
    load = data.scenario.load
    # The tasks of a locustfile use what flows they like.
    listed = () if isinstance(load, ClosedLoad) and load.locustfile is not None else data.scenario.flows
    named = [flow for flow in FLOWS if flow in listed or np.any(jobs.of_flow(flow))]
    parts = [_select(jobs, flow, window, within) for flow in named]
    # Each column is made once for all flows, and freed before the next: of ten million jobs it takes 80 MB.
    times: dict[str, dict[str, Quantiles]] = {flow: {} for flow in named}
    for metric in _METRICS:
        column = jobs.times_ms(metric)
        for part in parts:
            known = part.flow in metric.spec.flows
            times[part.flow][metric.spec.column] = quantiles(column[part.done] if known else _NO_TIMES)
    end_to_end_ms, followed_until_at = jobs.times_ms(Metric.END_TO_END), data.followed_until_at()
    return {
        part.flow: FlowSummary(
            jobs=int(np.count_nonzero(part.mine)),
            completed=len(part.done),
            throughput_per_s=_throughput_per_s(jobs, part.flow, window),
            **times[part.flow],
            lag_ms=quantiles(_NO_TIMES if part.flow in ANSWERED_BY_SUBMISSION else jobs.lag_ms[part.done]),
            chunk_gap_ms=quantiles(_chunk_gaps_ms(data, part.done)),
            itl_ms=_itl(data, part),
            tokens=_tokens(jobs, part.flow, window),
            polls_per_job=_mean(jobs.polls[part.done]),
            outcomes=_outcomes(jobs, part.mine, end_to_end_ms, times[part.flow]["end_to_end_ms"]),
            censored=_censored(jobs, part, end_to_end_ms, followed_until_at),
        )
        for part in parts
    }


def _throughput_per_s(jobs: JobColumns, flow: str, window: LoadWindow) -> float:
    mine = jobs.of_flow(flow)
    span = completion_window(jobs, mine, window)
    return span.per_second(span.count(jobs.finished_at[mine & jobs.completed]))


def _tokens(jobs: JobColumns, flow: str, window: LoadWindow) -> TokenSummary | None:
    mine = jobs.of_flow(flow) & jobs.completed
    span = completion_window(jobs, mine, window)
    mine &= span.contains(jobs.finished_at)
    given, made = (each[mine & ~np.isnan(each)] for each in (jobs.input_tokens, jobs.output_tokens))
    if len(given) == len(made) == 0:
        return None
    return TokenSummary(
        jobs=len(made),
        completed=int(np.count_nonzero(mine)),
        output_per_job=_mean(made),
        output_per_s=span.per_second(float(made.sum())) if len(made) else None,
        input_per_job=_mean(given),
        input_per_s=span.per_second(float(given.sum())) if len(given) else None,
    )


def _select(jobs: JobColumns, flow: str, window: LoadWindow, within: bool) -> _FlowData:
    mine = jobs.of_flow(flow)
    if within:
        mine &= window.contains(jobs.intended_at)
    done = np.flatnonzero(mine & jobs.completed)
    return _FlowData(flow, mine, done[np.argsort(jobs.intended_at[done], kind="stable")])


def _itl(data: RunData, part: _FlowData) -> Quantiles:
    """Return the gaps between tokens of all jobs together, with the intervals that the number of jobs gives."""
    if part.flow not in Metric.ITL.spec.flows:
        return Quantiles(0)
    gaps = data.gaps.of_whole(part.done)
    return quantiles(gaps.values_ms, effective_pooled(gaps.values_ms, gaps.counts))


def _mean(values: Floats) -> float | None:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else None


def _outcomes(jobs: JobColumns, mine: Mask, end_to_end_ms: Floats, completed: Quantiles) -> dict[str, OutcomeSummary]:
    counts = np.bincount(jobs.outcome[mine & (jobs.outcome >= 0)], minlength=len(OUTCOMES))
    return {
        str(outcome): OutcomeSummary(
            int(n),
            completed
            if outcome == Outcome.COMPLETED
            else quantiles(end_to_end_ms[mine & jobs.ended(Outcome(outcome))]),
        )
        for outcome, n in zip(OUTCOMES, counts, strict=True)
        if n
    }


def _censored(jobs: JobColumns, part: _FlowData, end_to_end_ms: Floats, followed_until_at: Floats) -> Censored:
    unfinished = part.mine & jobs.ended(Outcome.CENSORED)
    n = int(np.count_nonzero(unfinished))
    if n == 0:
        return Censored(0)
    at_least_ms = (followed_until_at[unfinished] - jobs.intended_at[unfinished]) * 1000
    return Censored(n, censored_bounds(end_to_end_ms[part.done], at_least_ms))


def censored_bounds(completed_ms: Floats, at_least_ms: Floats) -> dict[str, tuple[float, float | None]]:
    """Return the (low, high) bounds of each percentile if every unfinished job were to complete at some time.

    Both are nearest ranks among completed and unfinished jobs together. Low assumes that each unfinished job ended
    when the client stopped following it, which no job can undercut; high assumes that it never ends, and is None if
    the percentile could then be anything. Percentiles that the number of all these jobs cannot support are left out.
    """
    completed_ms = completed_ms[~np.isnan(completed_ms)]
    n = len(completed_ms) + len(at_least_ms)
    earliest_ms = np.concatenate([completed_ms, at_least_ms])
    ranks = {name: nearest_rank(n, per_mille) for name, per_mille in PER_MILLE.items() if is_supported(n, per_mille)}
    if ranks:
        indices = sorted({rank - 1 for rank in ranks.values()})
        earliest_ms.partition(indices)
        if known := [index for index in indices if index < len(completed_ms)]:
            completed_ms.partition(known)
    return {
        name: (
            float(earliest_ms[rank - 1]),
            float(completed_ms[rank - 1]) if rank <= len(completed_ms) else None,
        )
        for name, rank in ranks.items()
    }


def _chunk_gaps_ms(data: RunData, done: NDArray[np.int64]) -> Floats:
    jobs, chunks = data.jobs, data.chunks
    streamed = done[~np.isnan(jobs.first_chunk_at[done])]
    if len(chunks) == 0 or len(streamed) == 0:
        return _NO_TIMES
    received = chunks.filter(pc.is_valid(chunks.column("at")))
    columns = {name: received.column(name).to_numpy() for name in ("seq", "process", "at")}
    keys = job_keys(columns["seq"].astype(np.int64), columns["process"])
    mine = np.isin(keys, job_keys(jobs.seq[streamed], jobs.process[streamed]))
    keys, at = keys[mine], columns["at"][mine]
    order = np.lexsort((at, keys))
    keys, at = keys[order], at[order]
    gaps: Floats = np.diff(at)[np.diff(keys) == 0] * 1000
    return gaps
