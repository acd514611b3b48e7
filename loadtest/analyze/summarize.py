"""From the rows of a run to its Summary: every figure, counted once."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from loadtest.analyze.jobs import FLOWS, OUTCOMES, Floats, Jobs, LoadWindow, jobs_of, load_window, offered_count
from loadtest.analyze.operations import operation_summaries
from loadtest.analyze.quantiles import quantiles
from loadtest.analyze.summary import (
    Arrivals,
    Cost,
    FlowSummary,
    RunFacts,
    Summary,
    WorkerSummary,
)
from loadtest.analyze.validity import Evidence, validity
from loadtest.analyze.verdict import verdict
from loadtest.record.run import Ending, Run
from loadtest.record.sample import Outcome
from loadtest.scenario.model import Scenario

_NOTHING: Floats = np.empty(0)


def summarize(run: Run, samples: pa.Table, requests: pa.Table, chunks: pa.Table | None) -> Summary:
    """Every figure of a run. Tables are in the schemas of `record.sample`; any may be empty."""
    scenario = Scenario.model_validate(run.scenario)
    jobs = jobs_of(samples)
    window = load_window(run, jobs)
    arrivals = _arrivals(run, jobs, window)
    counts = _job_counts(jobs)
    flows = {
        flow: _flow(jobs.of_flow(flow), flow, window, chunks)
        for flow in FLOWS
        if flow in scenario.flows or np.any(jobs.flow == FLOWS.index(flow))
    }
    operations = operation_summaries(requests, scenario, run.fullest)
    checked = validity(Evidence(run, arrivals, counts, flows, operations))
    word, reason = verdict(run, checked, [], counts)
    return Summary(
        run=_facts(run, scenario, window),
        verdict=word,
        reason=reason,
        validity=checked,
        gates=[],
        arrivals=arrivals,
        jobs=counts,
        flows=flows,
        operations=operations,
        workers=_workers(samples),
        cost=_cost(jobs, scenario.price),
    )


def _facts(run: Run, scenario: Scenario, window: LoadWindow) -> RunFacts:
    return RunFacts(
        id=run.id,
        scenario=scenario.name,
        scenario_hash=run.scenario_hash,
        target=run.target,
        seed=run.seed,
        started_at=run.started_at,
        duration_s=window.duration_s,
        complete=run.ending is Ending.COMPLETE,
        processes=len(run.processes),
    )


def _arrivals(run: Run, jobs: Jobs, window: LoadWindow) -> Arrivals:
    started = int(np.count_nonzero(jobs.sent))
    due = offered_count(run, window)
    offered = started if due is None else due
    return Arrivals(
        offered=offered,
        started=started,
        offered_per_s=window.per_second(offered),
        achieved_per_s=window.per_second(window.count(jobs.sent_at)),
        send_lag_ms=quantiles(jobs.send_lag_ms),
    )


def _job_counts(jobs: Jobs) -> dict[str, int]:
    counts = {outcome: int(np.count_nonzero(jobs.outcome == index)) for index, outcome in enumerate(OUTCOMES)}
    totals = {"submitted": int(np.count_nonzero(jobs.sent)), "accepted": int(np.count_nonzero(jobs.accepted))}
    return totals | {str(outcome): count for outcome, count in counts.items()}


def _flow(jobs: Jobs, flow: str, window: LoadWindow, chunks: pa.Table | None) -> FlowSummary:
    done = jobs.where(jobs.completed)
    polls = done.polls[~np.isnan(done.polls)]
    return FlowSummary(
        jobs=len(jobs),
        completed=len(done),
        throughput_per_s=window.per_second(window.count(done.finished_at)),
        end_to_end_ms=quantiles(done.end_to_end_ms),
        response_ms=quantiles(done.response_ms),
        submit_ms=quantiles(_NOTHING if flow == "runsync" else done.submit_ms),
        delay_ms=quantiles(done.delay_ms),
        execution_ms=quantiles(done.execution_ms),
        overhead_ms=quantiles(done.overhead_ms),
        first_chunk_ms=quantiles(done.first_chunk_ms),
        chunk_gap_ms=quantiles(_NOTHING if chunks is None else _chunk_gaps_ms(done, chunks)),
        polls_per_job=float(polls.mean()) if len(polls) else None,
    )


def _job_keys(seq: NDArray[np.int64], process: NDArray[np.int64]) -> NDArray[np.int64]:
    """One number a job; a process fits 16 bits and a run's `seq` 47."""
    return (seq << 16) | (process & 0xFFFF)


def _chunk_gaps_ms(jobs: Jobs, chunks: pa.Table) -> Floats:
    seen = chunks.filter(pc.is_valid(chunks.column("at")))
    columns = {name: seen.column(name).to_numpy() for name in ("seq", "process", "at")}
    keys = _job_keys(columns["seq"].astype(np.int64), columns["process"].astype(np.int64))
    mine = np.isin(keys, _job_keys(jobs.seq, jobs.process))
    keys, at = keys[mine], columns["at"][mine]
    order = np.lexsort((at, keys))
    keys, at = keys[order], at[order]
    gaps: Floats = np.diff(at)[np.diff(keys) == 0] * 1000
    return gaps


def _workers(samples: pa.Table) -> list[WorkerSummary]:
    """Workers by their number of completed jobs, the busiest first."""
    done = samples.filter(
        pc.and_(
            pc.equal(samples.column("outcome"), Outcome.COMPLETED.value), pc.is_valid(samples.column("worker_id"))
        )
    )
    by_worker = [
        WorkerSummary(worker_id=worker, jobs=len(execution_ms), execution_ms=quantiles(execution_ms))
        for worker, execution_ms in _execution_by_worker(done)
    ]
    return sorted(by_worker, key=lambda worker: (-worker.jobs, worker.worker_id))


def _execution_by_worker(done: pa.Table) -> Iterator[tuple[str, Floats]]:
    if len(done) == 0:
        return
    encoded = done.column("worker_id").combine_chunks().dictionary_encode()
    codes = encoded.indices.to_numpy()
    order = np.argsort(codes, kind="stable")
    execution_ms = pc.cast(done.column("execution_ms"), pa.float64()).to_numpy()[order]
    starts = np.searchsorted(codes[order], np.arange(1, len(encoded.dictionary)))
    yield from zip(encoded.dictionary.to_pylist(), np.split(execution_ms, starts), strict=True)


def _cost(jobs: Jobs, price: float | None) -> Cost | None:
    """Execution of all jobs, however they ended, at `price` US dollars a worker-second."""
    if price is None:
        return None
    billed_s = float(np.nansum(jobs.execution_ms)) / 1000
    completed = int(np.count_nonzero(jobs.completed))
    return Cost(billed_s=billed_s, per_1000_jobs=billed_s * price / completed * 1000 if completed else None)
