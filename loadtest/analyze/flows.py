"""Each flow's figures: times of its jobs, how they ended, and what unfinished ones leave open."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from loadtest.analyze.jobs import FLOWS, OUTCOMES, Floats, Jobs, LoadWindow, Mask
from loadtest.analyze.quantiles import PER_MILLE, nearest_rank, quantiles, supported
from loadtest.analyze.summary import Censored, FlowSummary, OutcomeSummary
from loadtest.record.run import Run
from loadtest.record.sample import Outcome
from loadtest.scenario.model import Scenario

_NOTHING: Floats = np.empty(0)


def flow_summaries(
    jobs: Jobs, scenario: Scenario, run: Run, window: LoadWindow, chunks: pa.Table | None, within: bool = False
) -> dict[str, FlowSummary]:
    """The flows of the scenario and of the samples; rates are over the window.

    With `within`, jobs are those that were meant to start in the window; without, all of them.
    """
    named = (flow for flow in FLOWS if flow in scenario.flows or np.any(jobs.flow == FLOWS.index(flow)))
    given_up_at = censored_at(jobs, scenario, run)
    return {flow: _flow(jobs, given_up_at, flow, window, chunks, within) for flow in named}


def censored_at(jobs: Jobs, scenario: Scenario, run: Run) -> Floats:
    """Until when each job, had it not ended, was followed: to the end of patience or of the run, in epoch seconds.

    Where the run's record lacks its end, that is the last thing the samples saw.
    """
    ended_at = run.ended_at
    if ended_at is None:
        seen = (each[~np.isnan(each)] for each in (jobs.intended_at, jobs.sent_at, jobs.finished_at))
        ended_at = max((float(each.max()) for each in seen if len(each)), default=0.0)
    until: Floats = np.maximum(np.minimum(jobs.intended_at + scenario.patience, ended_at), jobs.intended_at)
    return until


def _flow(
    jobs: Jobs, given_up_at: Floats, flow: str, window: LoadWindow, chunks: pa.Table | None, within: bool
) -> FlowSummary:
    # Masks and single columns: a copy of all columns of ten million jobs would be a gigabyte.
    mine = jobs.flow == FLOWS.index(flow)
    throughput_per_s = window.per_second(window.count(jobs.finished_at[mine & jobs.completed]))
    if within:
        mine &= window.holds(jobs.intended_at)
    done = mine & jobs.completed
    polls = jobs.polls[done]
    polls = polls[~np.isnan(polls)]
    return FlowSummary(
        jobs=int(np.count_nonzero(mine)),
        completed=int(np.count_nonzero(done)),
        throughput_per_s=throughput_per_s,
        end_to_end_ms=quantiles(jobs.end_to_end_ms[done]),
        response_ms=quantiles(jobs.response_ms[done]),
        submit_ms=quantiles(_NOTHING if flow == "runsync" else jobs.submit_ms[done]),
        delay_ms=quantiles(jobs.delay_ms[done]),
        execution_ms=quantiles(jobs.execution_ms[done]),
        overhead_ms=quantiles(jobs.overhead_ms[done]),
        first_chunk_ms=quantiles(jobs.first_chunk_ms[done]),
        chunk_gap_ms=quantiles(_NOTHING if chunks is None else _chunk_gaps_ms(jobs, done, chunks)),
        polls_per_job=float(polls.mean()) if len(polls) else None,
        outcomes=_outcomes(jobs, mine),
        censored=_censored(jobs, mine, given_up_at),
    )


def _outcomes(jobs: Jobs, mine: Mask) -> dict[str, OutcomeSummary]:
    counts = np.bincount(jobs.outcome[mine & (jobs.outcome >= 0)], minlength=len(OUTCOMES))
    return {
        str(word): OutcomeSummary(int(n), quantiles(jobs.end_to_end_ms[mine & jobs.ended(Outcome(word))]))
        for word, n in zip(OUTCOMES, counts, strict=True)
        if n
    }


def _censored(jobs: Jobs, mine: Mask, given_up_at: Floats) -> Censored:
    unfinished = mine & jobs.ended(Outcome.CENSORED)
    n = int(np.count_nonzero(unfinished))
    if n == 0:
        return Censored(0)
    at_least_ms = (given_up_at[unfinished] - jobs.intended_at[unfinished]) * 1000
    return Censored(n, censored_bounds(jobs.end_to_end_ms[mine & jobs.completed], at_least_ms))


def censored_bounds(completed_ms: Floats, at_least_ms: Floats) -> dict[str, tuple[float, float | None]]:
    """Between what each percentile lies if every unfinished job were to complete some time; (low, high), high None
    where it could be anything.

    Both are nearest ranks among completed and unfinished jobs together. Low has each unfinished job end at the
    moment until which it was followed, which none can undercut; high has it end never. Percentiles that the
    number of all these jobs cannot support are left out.
    """
    completed_ms = np.sort(completed_ms[~np.isnan(completed_ms)])
    n = len(completed_ms) + len(at_least_ms)
    earliest_ms = np.sort(np.concatenate([completed_ms, at_least_ms]))
    bounds: dict[str, tuple[float, float | None]] = {}
    for name, per_mille in PER_MILLE.items():
        if supported(n, per_mille):
            rank = nearest_rank(n, per_mille)
            high = float(completed_ms[rank - 1]) if rank <= len(completed_ms) else None
            bounds[name] = (float(earliest_ms[rank - 1]), high)
    return bounds


def _job_keys(seq: NDArray[np.int64], process: NDArray[np.integer]) -> NDArray[np.int64]:
    """One number a job; a process fits 16 bits and a run's `seq` 47."""
    return (seq << 16) | (process.astype(np.int64) & 0xFFFF)


def _chunk_gaps_ms(jobs: Jobs, which: Mask, chunks: pa.Table) -> Floats:
    which = which & ~np.isnan(jobs.first_chunk_at)
    if len(chunks) == 0 or not which.any():
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
