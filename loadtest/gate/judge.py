"""The judgement of one gate on one run: pass, fail, or inconclusive with the amount of data that is missing.

A percentile and a share are judged by early stopping (MLPerf, c = 0.99), a mean by the effective number
of jobs, a rate by batch means.
Unknown values count against the gate, and no data never passes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from msgspec.structs import replace

from loadtest.analyze.stats.hypothesis_tests import rejected
from loadtest.analyze.stats.quantiles import TAIL
from loadtest.analyze.summary import GateResult, Verdict
from loadtest.arrays import Mask
from loadtest.gate.batch_means import MIN_JOBS, MIN_S, MeanEstimate, mean_of, rate_of
from loadtest.gate.early_stopping import holds, more_jobs, refutation, refuted
from loadtest.gate.explanations import (
    NO_JOBS,
    More,
    counted,
    explain,
    explain_default,
    explain_workers,
    format_value,
    not_known,
)
from loadtest.gate.gaps import gap_times
from loadtest.gate.goodput import missed
from loadtest.gate.inputs import NO_WORKER, GateInputs, Window, completion_windows, of_flow, select, windows
from loadtest.gate.measures import Count, Times, share_count, times
from loadtest.scenario.gates import DEFAULT_ERRORS, Gate, default_gates, limit_text
from loadtest.scenario.metrics import Metric


def judge(gate: Gate, inputs: GateInputs) -> GateResult:
    """Return one gate's result; `observed` and `limit` in milliseconds, as a fraction of one, or per second."""
    within = windows(gate, inputs)
    if within is None:
        return result(gate, None, 0, Verdict.INCONCLUSIVE, "No steady state was found.")
    if gate.metric.is_rate:
        return _rate(gate, of_flow(gate, inputs), within)
    some = select(gate, inputs, within)
    length_s = sum(each.end_s - each.start_s for each in within)
    if gate.metric is Metric.GOODPUT:
        return _goodput(gate, some, length_s)
    if gate.metric.is_share:
        return _share(gate, some, length_s)
    measured = gap_times(some) if gate.metric.is_pooled else times(gate.metric, some)
    if len(measured) == 0:
        return result(gate, None, 0, Verdict.INCONCLUSIVE, NO_JOBS)
    if gate.per_mille is not None and gate.per_worker:
        return _by_worker(gate, measured, inputs.worker_ids, gate.per_mille, length_s)
    if gate.per_mille is not None:
        return _percentile(gate, measured, gate.per_mille, length_s)
    return _longest(gate, measured) if gate.statistic == "max" else _mean(gate, measured)


def judge_all(gates: Sequence[Gate], inputs: GateInputs) -> list[GateResult]:
    """Return the results of the gates, with that of the default gate on errors if they lack one."""
    return [*(judge(gate, inputs) for gate in gates), *(_default_errors(inputs) for _ in default_gates(gates))]


def _default_errors(inputs: GateInputs) -> GateResult:
    """Judge the default gate on errors by the share in this run, so that it asks for no more jobs than other gates.

    Unfinished jobs count against it. It fails as any gate does, if chance does not explain the errors.
    """
    gate, count = DEFAULT_ERRORS, share_count(Metric.ERRORS, inputs)
    assert count is not None
    if count.n == 0:
        return replace(result(gate, None, 0, Verdict.INCONCLUSIVE, NO_JOBS), default=True)
    if refuted(count.over, count.n, gate.limit, count.worth):
        word = Verdict.FAIL
    else:
        word = Verdict.PASS if count.over + count.undecided < gate.limit * count.n else Verdict.INCONCLUSIVE
    text = explain_default(gate, count)
    judged = result(gate, count.over / count.n, count.n, word, text, count.ci95(), count.worth.n)
    return replace(judged, default=True)


def result(
    gate: Gate,
    observed: float | None,
    n: int,
    verdict: Verdict,
    detail: str,
    ci95: tuple[float, float] | None = None,
    effective_n: float | None = None,
) -> GateResult:
    """Return a gate's result, its limit in the unit of summaries."""
    limit = gate.limit * 1000 if gate.metric.is_time else gate.limit
    unit = gate.metric.spec.unit
    return GateResult(str(gate), observed, limit, n, verdict, detail, gate.metric, unit, ci95, effective_n)


def _percentile(gate: Gate, measured: Times, per_mille: int, length_s: float) -> GateResult:
    share, limit_ms = (1000 - per_mille) / 1000, gate.limit * 1000
    count = measured.count(limit_ms)
    word = _verdict(measured.holds(limit_ms, per_mille, count), count, share)
    more = _more(measured, count, limit_ms, per_mille, length_s) if word is Verdict.INCONCLUSIVE else None
    observed_ms, ci95_ms = measured.percentile_ms(per_mille)
    text = explain(gate, count, share, word, more)
    return result(gate, observed_ms, count.n, word, text, ci95_ms, count.worth.n)


def _more(own: Times, count: Count, limit_ms: float, per_mille: int, length_s: float) -> More | None:
    jobs = own.more_jobs(limit_ms, per_mille, count)
    return None if jobs is None else More(jobs, length_s * (1 + jobs / count.jobs))


def _share(gate: Gate, inputs: GateInputs, length_s: float) -> GateResult:
    count, share = share_count(gate.metric, inputs), gate.limit
    if count is None:
        return result(gate, None, len(inputs), Verdict.INCONCLUSIVE, f"The share of {gate.metric} is not known.")
    if count.n == 0:
        return result(gate, None, 0, Verdict.INCONCLUSIVE, NO_JOBS)
    worst = count.over + count.undecided
    word = _verdict(holds(worst, count.n, share, count.worth), count, share)
    jobs = more_jobs(worst, count.n, share, count.worth)
    more = None if jobs is None else More(jobs, length_s * (1 + jobs / count.n))
    text = explain(gate, count, share, word, more)
    return result(gate, count.over / count.n, count.n, word, text, count.ci95(), count.worth.n)


def _goodput(gate: Gate, inputs: GateInputs, length_s: float) -> GateResult:
    """Judge the share of jobs that meet every limit, by those that do not."""
    found, share = missed(gate, inputs), 1 - gate.limit
    count = found.count
    if count.n == 0:
        return result(gate, None, 0, Verdict.INCONCLUSIVE, NO_JOBS)
    worst = count.over + count.undecided
    word = _verdict(holds(worst, count.n, share, count.worth), count, share)
    jobs = more_jobs(worst, count.n, share, count.worth)
    more = None if jobs is None else More(jobs, length_s * (1 + jobs / count.n))
    low, high = count.ci95()
    text = explain(gate, count, share, word, more) + found.text()
    if length_s:
        text = f"{text} {(count.n - worst) / length_s:.3g} jobs/s met all limits."
    return result(gate, 1 - worst / count.n, count.n, word, text, (1 - high, 1 - low), count.worth.n)


def _verdict(holding: bool, count: Count, share: float) -> Verdict:
    """Return the verdict, if `share` of all jobs may be over; undecided jobs never make it fail."""
    if holding:
        return Verdict.PASS
    return Verdict.FAIL if refuted(count.over, count.n, share, count.worth) else Verdict.INCONCLUSIVE


def _longest(gate: Gate, measured: Times) -> GateResult:
    """Judge the longest time, a fact about the jobs of this run; nothing is inferred from it."""
    count = measured.count(gate.limit * 1000)
    known = measured.value_ms[~measured.unknown]
    observed = float(known.max()) if len(known) == len(measured) else None
    if count.over:
        word = Verdict.FAIL
        detail = f"{count.over:,} of {counted(count.n, count.pooled_of)} took {limit_text(gate)} or more."
    elif count.undecided:
        word = Verdict.INCONCLUSIVE
        detail = not_known(gate, count.undecided, counted(count.n, count.pooled_of))
    else:
        word, detail = Verdict.PASS, f"Each of {counted(count.n, count.pooled_of)} took less."
    return result(gate, observed, count.n, word, detail)


def _mean(gate: Gate, measured: Times) -> GateResult:
    unknown, n, jobs = int(np.count_nonzero(measured.unknown)), len(measured), measured.jobs
    pooled_of = None if measured.counts is None else jobs
    found = mean_of(measured.linear_ms())
    if found is None:
        short = f"{jobs:,} jobs are too few for the interval of a mean; {MIN_JOBS - jobs} more are needed."
        return result(gate, None, n, Verdict.INCONCLUSIVE, short)
    low, high = (format_value(gate, edge / 1000) for edge in found.interval())
    text = f"The 95 % interval of the mean is {low} to {high}, by the effective number of jobs."
    if found.too_skewed:
        text = f"{text} A few long times decide it, so it cannot be shown to be below a limit; gate a percentile."
    if unknown:
        those = f"{unknown:,} jobs that did not complete" if pooled_of is None else f"{unknown:,} unknown gaps"
        text = f"{text} For {those} it takes the least that is known."
    judged = _by_interval(gate, found, n, text, jobs, "more jobs")
    if unknown and judged.verdict is not Verdict.FAIL:
        return result(gate, None, n, Verdict.INCONCLUSIVE, not_known(gate, unknown, counted(n, pooled_of)))
    return judged


def _rate(gate: Gate, inputs: GateInputs, within: Sequence[Window]) -> GateResult:
    """Judge the rate of jobs that completed while those of the windows could, whatever their intended start.

    Or that of their tokens, which count when their job ends; of a job that reports none it is not known.
    """
    within = completion_windows(inputs, within)
    length_s = sum(each.end_s - each.start_s for each in within)
    if len(inputs) == 0:
        return result(gate, None, 0, Verdict.INCONCLUSIVE, NO_JOBS)
    done = inputs.jobs.completed & inputs.mask
    done_s = inputs.jobs.finished_at[done] - inputs.load.start_at
    amounts = getattr(inputs.jobs, gate.metric.spec.summed)[done] if gate.metric.spec.summed else np.ones(len(done_s))
    counted = np.zeros(len(done_s), dtype=bool)
    for each in within:
        counted |= (done_s >= each.start_s) & (done_s < each.end_s)
    n, unknown = int(np.count_nonzero(counted)), int(np.count_nonzero(counted & np.isnan(amounts)))
    least = np.nan_to_num(amounts)
    found = rate_of(done_s, within, least)
    if found is None:
        short = f"{length_s:.3g} s are too short for the interval of a rate; {MIN_S:g} s are needed."
        observed = float(least[counted].sum()) / length_s if length_s and not unknown else None
        return result(gate, observed, n, Verdict.INCONCLUSIVE, short)
    if unknown and not found.above(gate.limit):
        return result(gate, None, n, Verdict.INCONCLUSIVE, not_known(gate, unknown, f"{n:,} jobs"))
    low, high = (format_value(gate, edge) for edge in found.interval())
    text = f"The 95 % interval of the rate is {low} to {high}, by batch means over {length_s:.3g} s."
    return _by_interval(gate, found, n, text, length_s, "s more")


def _by_interval(gate: Gate, found: MeanEstimate, n: int, text: str, amount: float, unit: str) -> GateResult:
    """Judge a mean, to be below its limit, or a rate, to be above; `amount` is the data so far, in `unit`."""
    rate, (low, high) = gate.metric.is_rate, found.interval()
    limit = gate.limit if rate else gate.limit * 1000
    if high <= limit if rate else low >= limit:
        word = Verdict.FAIL
    elif found.above(limit) if rate else found.below(limit):
        word = Verdict.PASS
    else:
        word = Verdict.INCONCLUSIVE
        more = max(1.0, amount * (found.sample_size_factor(limit) - 1))
        if found.mean > limit if rate else found.mean < limit:
            text = f"{text} About {more:,.0f} {unit} would decide it, if it stays the same."
        else:
            what, side, longer = ("rate", "above", "longer run") if rate else ("mean", "below", "number of jobs")
            text = f"{text} While the {what} is not {side} the limit, no {longer} would be enough."
    return result(gate, found.mean, n, word, text, (low, high))


@dataclass(frozen=True)
class _Worker:
    worker_id: str
    own: Times
    count: Count
    observed_ms: float | None
    p_value: float
    holds: bool


def _by_worker(gate: Gate, measured: Times, worker_ids: Sequence[str], per_mille: int, length_s: float) -> GateResult:
    """Return one result for all workers, which names the worst: one slow host must not hide among many.

    It passes if every worker passes, even with all the jobs of unknown worker that are not under the limit: that is
    one claim, whose error is at most that of a single test. It fails if one worker fails after Holm's correction,
    since one of many workers is always unlucky; or if all jobs together do, for then one worker must.
    """
    share, limit_ms, unnamed = (1000 - per_mille) / 1000, gate.limit * 1000, measured.worker == NO_WORKER
    workers = [
        _worker(worker_ids[index], own, own.worker == index, per_mille, limit_ms)
        for index, own in measured.by_worker(NO_WORKER, limit_ms)
    ]
    together = [_worker("", measured, np.ones(len(measured), bool), per_mille, limit_ms)] if unnamed.any() else []
    judged = [*workers, *together]
    failing = [judged[index] for index in rejected([each.p_value for each in judged], TAIL)]
    open_ = [each for each in workers if not each.holds]
    if failing:
        word, worst = Verdict.FAIL, min(failing, key=lambda each: each.p_value)
    elif not workers:
        return result(gate, None, len(measured), Verdict.INCONCLUSIVE, "No job names its worker.")
    elif open_:
        word, worst = Verdict.INCONCLUSIVE, max(open_, key=lambda each: (_worst_share(each), -each.count.n))
    else:
        word, worst = Verdict.PASS, max(workers, key=lambda each: each.observed_ms or 0.0)
    named = sum(each in workers for each in failing or open_)
    detail = explain_workers(word, named, len(workers), int(np.count_nonzero(unnamed)))
    more = _more(worst.own, worst.count, limit_ms, per_mille, length_s) if word is Verdict.INCONCLUSIVE else None
    text = explain(gate, worst.count, share, word, more, of=f" on {worst.worker_id}" if worst.worker_id else "")
    return result(gate, worst.observed_ms, len(measured), word, f"{detail} {text}")


def _worker(worker_id: str, own: Times, known: Mask, per_mille: int, limit_ms: float) -> _Worker:
    """Return the jobs of a worker; only those `known` to be its own can refute the gate."""
    count = own.count(limit_ms)
    surely_over = own.take(np.flatnonzero(known)).count(limit_ms).over
    p_value = refutation(surely_over, count.n, (1000 - per_mille) / 1000, count.worth)
    holding = own.holds(limit_ms, per_mille, count)
    return _Worker(worker_id, own, count, own.percentile_ms(per_mille)[0], p_value, holding)


def _worst_share(worker: _Worker) -> float:
    return (worker.count.over + worker.count.undecided) / worker.count.n
