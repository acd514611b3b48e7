"""From the rows of a run to its Summary: every figure, counted once."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from loadtest.analyze.arrivals import arrivals_by_part, arrivals_in, ends_of_ramps
from loadtest.analyze.checks.concurrency_cap import concurrency_cap_reached
from loadtest.analyze.checks.inputs import CheckInputs
from loadtest.analyze.checks.registry import validity
from loadtest.analyze.flows import flow_summaries
from loadtest.analyze.job_table import JobTable, job_table
from loadtest.analyze.jobs import OUTCOMES, JobColumns, LoadWindow, load_window
from loadtest.analyze.littles_law import littles_law
from loadtest.analyze.operations import operation_summaries
from loadtest.analyze.start_kinds import cold_start_wave, start_summary
from loadtest.analyze.steady import SteadyWindow, steady_window
from loadtest.analyze.summary import Cost, RunInfo, Steady, Summary
from loadtest.analyze.verdict import verdict
from loadtest.analyze.workers import worker_summaries
from loadtest.record.run import Ending, RunRecord
from loadtest.record.sample import Outcome
from loadtest.scenario.model import Scenario


def summarize(
    run: RunRecord,
    samples: pa.Table | JobTable,
    requests: pa.Table,
    chunks: pa.Table | None,
    health: pa.Table | None = None,
) -> Summary:
    """Every figure of a run.

    Tables are in the schemas of `record.sample`, any may be empty; the samples may be digested already.
    """
    scenario = Scenario.model_validate(run.scenario)
    digest = job_table(samples)
    jobs, classed = digest.jobs, digest.starts
    load = load_window(run, jobs)
    counts = _job_counts(jobs)
    found = steady_window(scenario, jobs, load)
    steady = _steady(found, run, scenario, jobs, load, chunks)
    in_window = {} if steady.arrivals is None else {"the steady window": steady.arrivals}
    inputs = CheckInputs(
        run=run,
        scenario=scenario,
        load_s=load.duration_s,
        arrivals=arrivals_in(run, jobs, load),
        parts=arrivals_by_part(run, jobs, load) | in_window,
        ramp_ends=ends_of_ramps(run, scenario, jobs, load),
        concurrency_cap=concurrency_cap_reached(scenario, jobs),
        jobs=counts,
        flows=flow_summaries(jobs, scenario, run, load, chunks),
        operations=operation_summaries(requests, scenario, run.peak_requests, counts[Outcome.COMPLETED]),
        steady=steady,
        littles_law=littles_law(jobs, health, load),
        cold_start_wave=None if found.window is None else cold_start_wave(jobs, classed, found.window),
    )
    checked = validity(inputs)
    word, reason = verdict(run, checked, [], counts)
    return Summary(
        run=_facts(run, scenario, load),
        verdict=word,
        reason=reason,
        validity=checked,
        gates=[],
        arrivals=inputs.arrivals,
        jobs=counts,
        flows=inputs.flows,
        operations=inputs.operations,
        workers=worker_summaries(jobs, digest.worker_names),
        cost=_cost(jobs, scenario.price),
        steady=inputs.steady,
        littles_law=inputs.littles_law,
        starts=start_summary(jobs, classed, scenario.price),
    )


def _facts(run: RunRecord, scenario: Scenario, window: LoadWindow) -> RunInfo:
    return RunInfo(
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


def _steady(
    found: SteadyWindow,
    run: RunRecord,
    scenario: Scenario,
    jobs: JobColumns,
    load: LoadWindow,
    chunks: pa.Table | None,
) -> Steady:
    window = found.window
    if window is None:
        return Steady(False, found.detail)
    return Steady(
        found=True,
        detail=found.detail,
        start_s=window.start_at - load.start_at,
        end_s=window.end_at - load.start_at,
        arrivals=arrivals_in(run, jobs, load, window),
        flows=flow_summaries(jobs, scenario, run, window, chunks, within=True),
    )


def _job_counts(jobs: JobColumns) -> dict[str, int]:
    counts = {outcome: int(np.count_nonzero(jobs.outcome == index)) for index, outcome in enumerate(OUTCOMES)}
    totals = {"submitted": int(np.count_nonzero(jobs.sent)), "accepted": int(np.count_nonzero(jobs.accepted))}
    return totals | {str(outcome): count for outcome, count in counts.items()}


def _cost(jobs: JobColumns, price: float | None) -> Cost | None:
    """Execution of all jobs, however they ended, at `price` US dollars a worker-second."""
    if price is None:
        return None
    billed_s = float(np.nansum(jobs.execution_ms)) / 1000
    completed = int(np.count_nonzero(jobs.completed))
    return Cost(billed_s=billed_s, per_1000_jobs=billed_s * price / completed * 1000 if completed else None)
