"""The judgement of one gate on one run: pass, fail, or inconclusive with the amount of data that is missing.

A percentile and a share are judged by early stopping (MLPerf, c = 0.99), a mean and a rate by batch means.
Unknown values count against the gate, and no data never passes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from loadtest.analyze.summary import GateResult, Verdict
from loadtest.gate.batch_means import MIN_JOBS, MIN_S, BatchMeans, mean_of, rate_of
from loadtest.gate.early_stopping import holds, refuted
from loadtest.gate.explanations import NO_JOBS, explain, format_value
from loadtest.gate.inputs import GateInputs, Window, of_flow, select, windows
from loadtest.gate.measures import Count, Times, share_count, times
from loadtest.gate.workers import judged_by_worker
from loadtest.scenario.gates import Gate, limit_text


def judge(gate: Gate, inputs: GateInputs) -> GateResult:
    """Return one gate's result; `observed` and `limit` in milliseconds, as a fraction of one, or per second."""
    within = windows(gate, inputs)
    if within is None:
        return result(gate, None, 0, Verdict.INCONCLUSIVE, "No steady state was found.")
    if gate.metric.is_rate:
        return _throughput(gate, of_flow(gate, inputs), within)
    some = select(gate, inputs, within)
    if gate.metric.is_share:
        return _share(gate, some)
    measured = times(gate.metric, some, in_order=gate.statistic == "mean")
    if len(measured) == 0:
        return result(gate, None, 0, Verdict.INCONCLUSIVE, NO_JOBS)
    if gate.per_worker:
        return judged_by_worker(gate, measured, inputs.worker_ids)
    if gate.per_mille is not None:
        return _percentile(gate, measured, gate.per_mille)
    return _longest(gate, measured) if gate.statistic == "max" else _mean(gate, measured)


def result(
    gate: Gate,
    observed: float | None,
    n: int,
    verdict: Verdict,
    detail: str,
    ci95: tuple[float, float] | None = None,
) -> GateResult:
    """Return a gate's result, its limit in the unit of summaries."""
    limit = gate.limit * 1000 if gate.metric.is_time else gate.limit
    return GateResult(str(gate), observed, limit, n, verdict, detail, gate.metric, gate.metric.spec.unit, ci95)


def verdict_of(count: Count, share: float) -> Verdict:
    """Return the verdict by early stopping, if `share` of all jobs may be over; undecided jobs never make it fail."""
    if holds(count.over + count.undecided, count.n, share):
        return Verdict.PASS
    return Verdict.FAIL if refuted(count.over, count.n, share) else Verdict.INCONCLUSIVE


def _percentile(gate: Gate, measured: Times, per_mille: int) -> GateResult:
    share = (1000 - per_mille) / 1000
    count = measured.count(gate.limit * 1000)
    word = verdict_of(count, share)
    observed_ms, ci95_ms = measured.percentile_ms(per_mille)
    return result(gate, observed_ms, count.n, word, explain(gate, count, share, word), ci95_ms)


def _share(gate: Gate, inputs: GateInputs) -> GateResult:
    count = share_count(gate.metric, inputs)
    if count is None:
        return result(gate, None, len(inputs), Verdict.INCONCLUSIVE, f"The share of {gate.metric} is not known.")
    if count.n == 0:
        return result(gate, None, 0, Verdict.INCONCLUSIVE, NO_JOBS)
    word = verdict_of(count, gate.limit)
    return result(gate, count.over / count.n, count.n, word, explain(gate, count, gate.limit, word), count.ci95())


def _longest(gate: Gate, measured: Times) -> GateResult:
    """Judge the longest time, a fact about the jobs of this run; nothing is inferred from it."""
    count = measured.count(gate.limit * 1000)
    known = measured.value_ms[~measured.unknown]
    observed = float(known.max()) if len(known) == len(measured) else None
    if count.over:
        word = Verdict.FAIL
        detail = f"{count.over:,} of {count.n:,} jobs took {limit_text(gate)} or more."
    elif count.undecided:
        word = Verdict.INCONCLUSIVE
        detail = f"{count.undecided:,} of {count.n:,} jobs were unfinished; how long they took is not known."
    else:
        word, detail = Verdict.PASS, f"Each of {count.n:,} jobs took less."
    return result(gate, observed, count.n, word, detail)


def _mean(gate: Gate, measured: Times) -> GateResult:
    limit_ms, unknown, n = gate.limit * 1000, int(np.count_nonzero(measured.unknown)), len(measured)
    found = mean_of(np.where(measured.unknown, measured.lower_bound_ms, measured.value_ms))
    if found is None:
        short = f"{n:,} jobs are too few for the interval of a mean; {MIN_JOBS - n} more are needed."
        return result(gate, None, n, Verdict.INCONCLUSIVE, short)
    low, high = (format_value(gate, edge / 1000) for edge in found.interval())
    text = f"The 95 % interval of the mean is {low} to {high}, by batch means."
    if unknown:
        text = f"{text} For {unknown:,} unfinished jobs it takes the time that they had waited."
    if found.interval()[0] >= limit_ms:
        return result(gate, found.mean, n, Verdict.FAIL, text, found.interval())
    if unknown:
        detail = f"{unknown:,} of {n:,} jobs were unfinished; how long they took is not known."
        return result(gate, None, n, Verdict.INCONCLUSIVE, detail)
    if found.below(limit_ms):
        return result(gate, found.mean, n, Verdict.PASS, text, found.interval())
    more = _more(found, limit_ms, found.mean < limit_ms, n)
    needed = "While the mean is not below the limit, no number of jobs would be enough."
    needed = needed if more is None else f"About {more:,.0f} more jobs would decide it, if it stays the same."
    return result(gate, found.mean, n, Verdict.INCONCLUSIVE, f"{text} {needed}", found.interval())


def _throughput(gate: Gate, inputs: GateInputs, within: Sequence[Window]) -> GateResult:
    """Judge the rate of jobs that completed in the windows, whatever their intended start."""
    length_s = sum(each.end_s - each.start_s for each in within)
    if len(inputs) == 0:
        return result(gate, None, 0, Verdict.INCONCLUSIVE, NO_JOBS)
    done_s = inputs.jobs.finished_at[inputs.jobs.completed & inputs.mask] - inputs.load.start_at
    found = rate_of(done_s, within)
    n = sum(int(np.count_nonzero((done_s >= each.start_s) & (done_s < each.end_s))) for each in within)
    if found is None:
        short = f"{length_s:.3g} s are too short for the interval of a rate; {MIN_S:g} s are needed."
        return result(gate, n / length_s if length_s else None, n, Verdict.INCONCLUSIVE, short)
    low, high = (format_value(gate, edge) for edge in found.interval())
    text = f"The 95 % interval of the rate is {low} to {high}, by batch means over {length_s:.3g} s."
    if found.above(gate.limit):
        return result(gate, found.mean, n, Verdict.PASS, text, found.interval())
    if found.interval()[1] <= gate.limit:
        return result(gate, found.mean, n, Verdict.FAIL, text, found.interval())
    more = _more(found, gate.limit, found.mean > gate.limit, length_s)
    needed = "While the rate is not above the limit, no longer run would be enough."
    needed = needed if more is None else f"About {more:,.0f} s more would decide it, if it stays the same."
    return result(gate, found.mean, n, Verdict.INCONCLUSIVE, f"{text} {needed}", found.interval())


def _more(found: BatchMeans, limit: float, right_side: bool, amount: float) -> float | None:
    """Return the additional amount that would decide; None if no amount would."""
    return max(1.0, amount * (found.sample_size_factor(limit) - 1)) if right_side else None
