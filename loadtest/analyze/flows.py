"""Each flow's figures: times of its jobs, how they ended, and what unfinished ones leave open."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from loadtest.analyze.jobs import FLOWS, OUTCOMES, Floats, JobColumns, LoadWindow, Mask
from loadtest.analyze.stats.quantiles import PER_MILLE, is_supported, quantiles
from loadtest.analyze.summary import Censored, FlowSummary, OutcomeSummary, Quantiles
from loadtest.record.run import RunRecord
from loadtest.record.sample import Outcome
from loadtest.scenario.model import Scenario
from loadtest.units import nearest_rank

_NOTHING: Floats = np.empty(0)
_QUANTITIES = (
    "end_to_end_ms", "response_ms", "submit_ms", "delay_ms", "execution_ms", "overhead_ms", "lag_ms",
    "first_chunk_ms",
)  # fmt: skip


def flow_summaries(
    jobs: JobColumns,
    scenario: Scenario,
    run: RunRecord,
    window: LoadWindow,
    chunks: pa.Table | None,
    within: bool = False,
) -> dict[str, FlowSummary]:
    """The flows of the scenario and of the samples; rates are over the window.

    With `within`, jobs are those that were meant to start in the window; without, all of them.
    """
    named = [flow for flow in FLOWS if flow in scenario.flows or np.any(jobs.flow == FLOWS.index(flow))]
    given_up_at = censoring_times(jobs, scenario, run)
    parts = {flow: _part(jobs, flow, window, within) for flow in named}
    # Each column is made once for all flows, and let go before the next: of ten million jobs one takes 80 MB.
    times: dict[str, dict[str, Quantiles]] = {flow: {} for flow in parts}
    for quantity in _QUANTITIES:
        column = getattr(jobs, quantity)
        for flow, part in parts.items():
            times[flow][quantity] = quantiles(column[part.done])
    end_to_end_ms = jobs.end_to_end_ms
    return {
        flow: _flow(jobs, flow, part, times[flow], end_to_end_ms, given_up_at, window, chunks)
        for flow, part in parts.items()
    }


@dataclass(frozen=True)
class _FlowJobs:
    """The jobs of one flow that count, and the places of those that completed."""

    mine: Mask
    done: NDArray[np.int64]


def _part(jobs: JobColumns, flow: str, window: LoadWindow, within: bool) -> _FlowJobs:
    mine = jobs.of_flow(flow)
    if within:
        mine &= window.contains(jobs.intended_at)
    return _FlowJobs(mine, np.flatnonzero(mine & jobs.completed))


def censoring_times(jobs: JobColumns, scenario: Scenario, run: RunRecord) -> Floats:
    """Until when each job, had it not ended, was followed: to the end of patience or of the run, in epoch seconds.

    Where the run's record lacks its end, that is the last thing the samples saw.
    """
    ended_at = run.ended_at
    if ended_at is None:
        seen = (each[~np.isnan(each)] for each in (jobs.intended_at, jobs.sent_at, jobs.finished_at))
        ended_at = max((float(each.max()) for each in seen if len(each)), default=0.0)
    until: Floats = np.maximum(np.minimum(jobs.intended_at + scenario.job_timeout, ended_at), jobs.intended_at)
    return until


def _flow(
    jobs: JobColumns,
    flow: str,
    part: _FlowJobs,
    times: dict[str, Quantiles],
    end_to_end_ms: Floats,
    given_up_at: Floats,
    window: LoadWindow,
    chunks: pa.Table | None,
) -> FlowSummary:
    polls = jobs.polls[part.done]
    polls = polls[~np.isnan(polls)]
    if flow == "runsync":
        times = times | {"submit_ms": quantiles(_NOTHING), "lag_ms": quantiles(_NOTHING)}
    return FlowSummary(
        jobs=int(np.count_nonzero(part.mine)),
        completed=len(part.done),
        throughput_per_s=window.per_second(window.count(jobs.finished_at[jobs.of_flow(flow) & jobs.completed])),
        **times,
        chunk_gap_ms=quantiles(_NOTHING if chunks is None else _chunk_gaps_ms(jobs, part.done, chunks)),
        polls_per_job=float(polls.mean()) if len(polls) else None,
        outcomes=_outcomes(jobs, part.mine, end_to_end_ms, times["end_to_end_ms"]),
        censored=_censored(jobs, part, end_to_end_ms, given_up_at),
    )


def _outcomes(jobs: JobColumns, mine: Mask, end_to_end_ms: Floats, completed: Quantiles) -> dict[str, OutcomeSummary]:
    counts = np.bincount(jobs.outcome[mine & (jobs.outcome >= 0)], minlength=len(OUTCOMES))
    return {
        str(word): OutcomeSummary(
            int(n),
            completed if word == Outcome.COMPLETED else quantiles(end_to_end_ms[mine & jobs.ended(Outcome(word))]),
        )
        for word, n in zip(OUTCOMES, counts, strict=True)
        if n
    }


def _censored(jobs: JobColumns, part: _FlowJobs, end_to_end_ms: Floats, given_up_at: Floats) -> Censored:
    unfinished = part.mine & jobs.ended(Outcome.CENSORED)
    n = int(np.count_nonzero(unfinished))
    if n == 0:
        return Censored(0)
    at_least_ms = (given_up_at[unfinished] - jobs.intended_at[unfinished]) * 1000
    return Censored(n, censored_bounds(end_to_end_ms[part.done], at_least_ms))


def censored_bounds(completed_ms: Floats, at_least_ms: Floats) -> dict[str, tuple[float, float | None]]:
    """Between what each percentile lies if every unfinished job were to complete some time; (low, high), high None
    where it could be anything.

    Both are nearest ranks among completed and unfinished jobs together. Low has each unfinished job end at the
    moment until which it was followed, which none can undercut; high has it end never. Percentiles that the
    number of all these jobs cannot support are left out.
    """
    completed_ms = completed_ms[~np.isnan(completed_ms)]
    n = len(completed_ms) + len(at_least_ms)
    earliest_ms = np.concatenate([completed_ms, at_least_ms])
    ranks = {name: nearest_rank(n, per_mille) for name, per_mille in PER_MILLE.items() if is_supported(n, per_mille)}
    if ranks:
        indices = sorted({rank - 1 for rank in ranks.values()})
        earliest_ms.partition(indices)
        if known := [place for place in indices if place < len(completed_ms)]:
            completed_ms.partition(known)
    return {
        name: (
            float(earliest_ms[rank - 1]),
            float(completed_ms[rank - 1]) if rank <= len(completed_ms) else None,
        )
        for name, rank in ranks.items()
    }


def _job_keys(seq: NDArray[np.int64], process: NDArray[np.integer]) -> NDArray[np.int64]:
    """One number a job; a process fits 16 bits and a run's `seq` 47."""
    return (seq << 16) | (process.astype(np.int64) & 0xFFFF)


def _chunk_gaps_ms(jobs: JobColumns, which: NDArray[np.int64], chunks: pa.Table) -> Floats:
    which = which[~np.isnan(jobs.first_chunk_at[which])]
    if len(chunks) == 0 or len(which) == 0:
        return _NOTHING
    seen = chunks.filter(pc.is_valid(chunks.column("at")))
    columns = {name: seen.column(name).to_numpy() for name in ("seq", "process", "at")}
    keys = _job_keys(columns["seq"].astype(np.int64), columns["process"])
    mine = np.isin(keys, _job_keys(jobs.seq[which], jobs.process[which]))
    keys, at = keys[mine], columns["at"][mine]
    order = np.lexsort((at, keys))
    keys, at = keys[order], at[order]
    gaps: Floats = np.diff(at)[np.diff(keys) == 0] * 1000
    return gaps
