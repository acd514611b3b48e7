"""From a recorded run to its Summary: every figure, counted once, and the verdict with its reason."""

from __future__ import annotations

import numpy as np

from loadtest.analyze.accounting import Accounting, left_on_endpoint, left_text
from loadtest.analyze.arrivals import arrivals_by_stage, arrivals_in, ramp_ends
from loadtest.analyze.cache_audit import repeat_audits
from loadtest.analyze.checks.inputs import CheckInputs, concurrency_cap_reached
from loadtest.analyze.checks.registry import shortage, validity
from loadtest.analyze.flows import flow_summaries
from loadtest.analyze.impossible_times import impossible_times
from loadtest.analyze.jobs import OUTCOMES, JobColumns
from loadtest.analyze.leftovers import NONE_LEFT, Faults, LeftOnEndpoint
from loadtest.analyze.littles_law import littles_law
from loadtest.analyze.operations import operation_summaries
from loadtest.analyze.run_data import RunData
from loadtest.analyze.start_kinds import cold_start_wave, start_summary
from loadtest.analyze.summary import (
    Check,
    Cost,
    GateResult,
    RunInfo,
    Steady,
    Summary,
    Validity,
    Verdict,
)
from loadtest.analyze.users import users_by_part
from loadtest.analyze.workers import worker_summaries
from loadtest.record.run import Ending, RunRecord
from loadtest.record.sample import Outcome


def summarize(data: RunData) -> Summary:
    """Return every figure of a run; it has no gates yet."""
    inputs, accounting = check_inputs(data), data.table.accounting
    checked, left = validity(inputs), left_on_endpoint(accounting, cancelled=data.cancels.num_rows)
    word, reason = verdict(data.run, checked, [], inputs.jobs, left)
    return Summary(
        run=_run_info(data),
        verdict=word,
        reason=reason,
        validity=checked,
        gates=[],
        arrivals=inputs.arrivals,
        jobs=inputs.jobs,
        flows=inputs.flows,
        operations=inputs.operations,
        workers=worker_summaries(data.jobs, data.table.worker_names),
        causes=data.table.causes,
        cost=_cost(data.jobs, data.scenario.price),
        steady=inputs.steady,
        littles_law=inputs.littles_law,
        starts=start_summary(data.jobs, data.starts, data.scenario.price),
        left_on_endpoint=left,
        faults=Faults(accounting.faults, accounting.met_faults),
        users=inputs.users,
        cache_audit=repeat_audits(data),
    )


def failed_checks(data: RunData) -> list[Check]:
    """Return the validity checks that failed, without computing the rest of the summary."""
    return [check for check in validity(check_inputs(data)).checks if not check.ok]


def check_inputs(data: RunData) -> CheckInputs:
    """Return the figures that the validity checks read."""
    jobs, window = data.jobs, data.steady.window
    counts, steady = _job_counts(jobs, data.table.accounting), _steady(data)
    in_window = {} if steady.arrivals is None else {"the steady window": steady.arrivals}
    return CheckInputs(
        run=data.run,
        scenario=data.scenario,
        load_s=data.load.duration_s,
        arrivals=arrivals_in(data),
        parts=arrivals_by_stage(data) | in_window,
        ramp_ends=ramp_ends(data),
        concurrency_cap=concurrency_cap_reached(data.scenario, jobs),
        jobs=counts,
        flows=flow_summaries(data, data.load),
        operations=operation_summaries(
            data.requests, data.scenario, data.run.peak_requests, counts[Outcome.COMPLETED]
        ),
        steady=steady,
        impossible_times=impossible_times(jobs),
        littles_law=littles_law(jobs, data.health, data.load),
        cold_start_wave=None if window is None else cold_start_wave(jobs, data.starts, window),
        users=users_by_part(data),
        repeated_ids=data.table.accounting.repeated_ids,
    )


def _run_info(data: RunData) -> RunInfo:
    run = data.run
    return RunInfo(
        id=run.id,
        scenario=data.scenario.name,
        scenario_hash=run.scenario_hash,
        target=run.target,
        seed=run.seed,
        started_at=run.started_at,
        duration_s=data.load.duration_s,
        complete=run.ending is Ending.COMPLETE,
        processes=len(run.processes),
    )


def _steady(data: RunData) -> Steady:
    window = data.steady.window
    if window is None:
        return Steady(False, data.steady.detail)
    return Steady(
        found=True,
        detail=data.steady.detail,
        start_s=window.start_at - data.load.start_at,
        end_s=window.end_at - data.load.start_at,
        arrivals=arrivals_in(data, window),
        flows=flow_summaries(data, window, within=True),
    )


def _job_counts(jobs: JobColumns, accounting: Accounting) -> dict[str, int]:
    counts = {outcome: int(np.count_nonzero(jobs.outcome == index)) for index, outcome in enumerate(OUTCOMES)}
    totals = {
        "submitted": int(np.count_nonzero(jobs.sent)),
        "accepted": int(np.count_nonzero(jobs.accepted)),
        "perhaps_accepted": accounting.perhaps_accepted,
        "given_up": accounting.given_up,
    }
    return totals | {str(outcome): count for outcome, count in counts.items()}


def _cost(jobs: JobColumns, price: float | None) -> Cost | None:
    """Return what the execution of all jobs cost, whatever their outcome, at `price` US dollars per worker-second."""
    if price is None:
        return None
    billed_s = float(np.nansum(jobs.execution_ms)) / 1000
    completed = int(np.count_nonzero(jobs.completed))
    return Cost(billed_s=billed_s, per_1000_jobs=billed_s * price / completed * 1000 if completed else None)


def verdict(
    run: RunRecord,
    validity: Validity,
    gates: list[GateResult],
    jobs: dict[str, int],
    left: LeftOnEndpoint = NONE_LEFT,
) -> tuple[Verdict, str]:
    """Return the verdict and its reason: first whether the run ended, then whether it is valid, then its gates.

    The jobs that the endpoint may still have are named whatever the verdict is.
    """
    word, reason = _decide(run, validity, gates, jobs)
    return word, " ".join(filter(None, (_not_completed(jobs), reason, left_text(left))))


def _decide(run: RunRecord, validity: Validity, gates: list[GateResult], jobs: dict[str, int]) -> tuple[Verdict, str]:
    if run.ending is not Ending.COMPLETE:
        return Verdict.ABORTED, _abort_reason(run)
    failing = [check for check in validity.checks if not check.ok]
    if failing:
        more = f" {_count(len(failing) - 1, 'more check')} failed." if len(failing) > 1 else ""
        return Verdict.INVALID, f"The measurement is not valid: {failing[0].detail}{more}"
    for bad in (Verdict.FAIL, Verdict.INCONCLUSIVE):
        missed = [gate for gate in gates if gate.verdict is bad]
        if missed:
            word = "failed" if bad is Verdict.FAIL else f"{'is' if len(missed) == 1 else 'are'} inconclusive"
            return bad, f"{_count(len(missed), 'gate')} of {len(gates)} {word}: {missed[0].gate}. {missed[0].detail}"
    measured = "The"
    if not _not_completed(jobs):
        measured = f"{jobs['completed']} of {_count(jobs['submitted'], 'job')} completed and the"
    passed = "every gate passed" if gates else "no gate was set"
    by_default = "".join(f"; no gate on errors was set, so {gate.gate} applied" for gate in gates if gate.default)
    return Verdict.PASS, f"{measured} measurement is valid; {passed}{by_default}."


def _not_completed(jobs: dict[str, int]) -> str:
    """Return how many jobs did not complete, their share and their outcomes, the most frequent first; "" if none."""
    counts = [
        (jobs.get(outcome, 0), outcome.replace("_", " ")) for outcome in Outcome if outcome is not Outcome.COMPLETED
    ]
    others = sum(count for count, _ in counts)
    if not others:
        return ""
    total = jobs["completed"] + others
    named = ", ".join(f"{count} {words}" for count, words in sorted(counts, reverse=True) if count)
    return f"{others} of {_count(total, 'job')} ({100 * others / total:.3g} %) did not complete: {named}."


def _abort_reason(run: RunRecord) -> str:
    if run.ending is None:
        return "The run has no end on record: its master process died."
    why = f": {run.reason}" if run.reason else " before its load had ended"
    reason = f"The run was {run.ending.value}{why if why.endswith('?') else why.rstrip('.') + '.'}"
    return f"{reason} {shortage(run)}".rstrip()


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}{'' if n == 1 else 's'}"
