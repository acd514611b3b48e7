"""Whether a cache answers repeated inputs: the times of repeats next to those of jobs whose input is new."""

from __future__ import annotations

import math

import numpy as np

from loadtest.analyze.jobs import JobColumns
from loadtest.analyze.run_data import RunData
from loadtest.analyze.stats.effective_number import effective
from loadtest.analyze.stats.percentile_bounds import lower_rank, upper_bound
from loadtest.analyze.stats.quantiles import TAIL
from loadtest.analyze.stats.shares import excess, share_interval
from loadtest.analyze.summary import RepeatAudit, RepeatTimes
from loadtest.arrays import Floats, Mask
from loadtest.scenario.flows import FlowName
from loadtest.scenario.metrics import Metric
from loadtest.scenario.model import Scenario
from loadtest.traffic.inputs import distinct_inputs
from loadtest.traffic.repeats import Numbers

METRICS = (Metric.EXECUTION, Metric.RESPONSE, Metric.TTFT)
"""A cache of answers may spare the worker, the whole job or, if it has prefixes only, the time to the first token."""
_FAST = 0.05
"""A repeat counts as faster than new inputs if it is faster than all but this share of them."""
_MEDIAN, _MIN_JOBS = 500, 10
_STATISTICS = 2


def repeat_audits(data: RunData) -> dict[str, RepeatAudit]:
    """Return the audit of each flow that repeats inputs; nothing else is computed if none does."""
    flows = [name for name, flow in data.scenario.flows.items() if flow.repeat_every is not None]
    return {name: _audit(data, name) for name in flows}


def _audit(data: RunData, flow: FlowName) -> RepeatAudit:
    jobs = data.jobs
    mine = jobs.where(jobs.of_flow(flow))
    mine = mine.take(np.argsort(mine.intended_at, kind="stable"))
    new, repeat, early = _kinds(mine, data.scenario, flow)
    metrics = [
        metric
        for metric in METRICS
        if flow in metric.spec.flows and min(_known(mine, new, metric).size, _known(mine, repeat, metric).size)
    ]
    tail = TAIL / max(1, _STATISTICS * len(metrics))
    times = {
        metric.spec.column: _compared(_known(mine, new, metric), _known(mine, repeat, metric), tail)
        for metric in metrics
    }
    return RepeatAudit(int(np.count_nonzero(repeat)), early, int(np.count_nonzero(new)), times)


def _known(jobs: JobColumns, mask: Mask, metric: Metric) -> Floats:
    times_ms = jobs.known_times_ms(metric)[mask & jobs.completed]
    return times_ms[~np.isnan(times_ms)]


def _kinds(jobs: JobColumns, scenario: Scenario, flow: FlowName) -> tuple[Mask, Mask, int]:
    """Return masks of the jobs with a new input, and of the repeats sent after the end of the job that they repeat.

    The last number is that of repeats that were sent before. Jobs whose input comes from a file that has been used up
    are neither.
    """
    plan = scenario.repeat_plan(flow, scenario.schedule())
    assert plan is not None
    # In the closed model each process numbers its jobs by itself.
    process = np.zeros(len(jobs), np.int64) if plan.seqs is not None else jobs.process.astype(np.int64)
    key = (process << 47) + jobs.seq
    order = np.argsort(key)
    sources = np.full(len(jobs), -1)
    repeats = np.zeros(len(jobs), bool)
    for each in np.unique(process):
        count = int(jobs.seq[process == each].max()) + 1 if plan.seqs is None else len(plan.seqs)
        found, of = plan.pairs(count)
        at, there = _rows(key, order, (each << 47) + found)
        repeats[at[there]] = True
        source, known = _rows(key, order, (each << 47) + of)
        sources[at[there & known]] = source[there & known]
    limit = distinct_inputs(scenario.flows[flow].inputs)
    fresh = np.ones(len(jobs), bool) if limit is None else jobs.seq < limit
    has_source = repeats & (sources >= 0)
    ended = np.zeros(len(jobs), bool)
    ended[has_source] = jobs.completed[sources[has_source]] & (
        jobs.finished_at[sources[has_source]] <= jobs.sent_at[has_source]
    )
    return fresh & ~repeats, repeats & ended, int(np.count_nonzero(repeats & ~ended))


def _rows(key: Numbers, order: Numbers, wanted: Numbers) -> tuple[Numbers, Mask]:
    """Return the rows with these keys, and which of the keys have one."""
    place = np.minimum(np.searchsorted(key[order], wanted), len(key) - 1)
    rows = order[place]
    return rows, key[rows] == wanted


def _compared(new_ms: Floats, repeat_ms: Floats, tail: float) -> RepeatTimes:
    new, repeat = float(np.median(new_ms)), float(np.median(repeat_ms))
    found = RepeatTimes(len(new_ms), len(repeat_ms), new, repeat)
    if min(len(new_ms), len(repeat_ms)) < _MIN_JOBS:
        return found
    return RepeatTimes(
        len(new_ms), len(repeat_ms), new, repeat, *_ratio(new_ms, repeat_ms, tail), *_share(new_ms, repeat_ms, tail)
    )


def _ratio(new_ms: Floats, repeat_ms: Floats, tail: float) -> tuple[float | None, tuple[float, float] | None]:
    """Return the median of repeats over that of new inputs, and its interval from those of both medians."""
    (new, new_low, new_high), (repeat, low, high) = (_log_median(each, tail) for each in (new_ms, repeat_ms))
    if not all(map(math.isfinite, (new_low, new_high, low, high))):
        return math.exp(repeat - new), None
    first = math.exp(repeat - new - math.hypot(repeat - low, new_high - new))
    last = math.exp(repeat - new + math.hypot(high - repeat, new - new_low))
    return math.exp(repeat - new), (first, last)


def _log_median(values_ms: Floats, tail: float) -> tuple[float, float, float]:
    """Return the logarithm of the median and both ends of its interval; infinite if it has none."""
    drawn = np.maximum(values_ms, 1.0)  # the server's resolution
    worth = effective(drawn)
    low = lower_rank(len(drawn), _MEDIAN, worth, tail)
    ends = -math.inf if low is None or low < 1 else math.log(np.sort(drawn)[low - 1])
    high = upper_bound(drawn, _MEDIAN, worth, tail)
    return math.log(np.median(drawn)), ends, math.log(high) if math.isfinite(high) else math.inf


def _share(new_ms: Floats, repeat_ms: Floats, tail: float) -> tuple[float, tuple[float, float]]:
    """Return the share of repeats that are faster than new inputs, beyond those that would be by chance.

    Faster means below the time that a twentieth of the new inputs do not exceed.
    """
    limit_ms = float(np.sort(new_ms)[max(0, math.ceil(_FAST * len(new_ms)) - 1)])
    (share, interval), (base, base_interval) = (_share_below(each, limit_ms, tail) for each in (repeat_ms, new_ms))
    return excess(share, interval, base, base_interval)


def _share_below(values_ms: Floats, limit_ms: float, tail: float) -> tuple[float, tuple[float, float]]:
    share, n = float(np.mean(values_ms < limit_ms)), effective(values_ms).n
    return share, share_interval(share * n, n, tail)
