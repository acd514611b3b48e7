"""How long a worker's start takes, from the jobs that waited for one, and how sure that is.

A job may wait for the rest of a start that began for another, or for the shortest of several. So its delay is the
time of a start only if its own was the only one. If there are too few such jobs, the time follows from the number of
workers that /health reported as initializing, or is that with which the simulated run has the delays of the real one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy import special

from loadtest.analyze.jobs import JobColumns
from loadtest.analyze.start_kinds import COLD, REVIVED, StartClassification, revives, start_kinds
from loadtest.analyze.start_waits import own_starts
from loadtest.arrays import Floats, Mask
from loadtest.capacity.estimates import Estimate
from loadtest.endpoint.settings import EndpointSettings
from loadtest.scenario.model import Scenario

MIN_STARTS = 5  # the number of starts of a kind below which a note says that few were observed
_MAX_UNSEEN = 0.1  # of starts, the largest share that may last longer than any that was seen to end
_QUANTILES = 200
_CHI_SQUARED = (0.0253, 3.689)  # 2.5 and 97.5 % of the distribution with two degrees of freedom, halved


class StartSource(StrEnum):
    """What a start time was estimated from."""

    OWN = "jobs that waited for a start of their own"
    SCENARIO = "the scenario, with which the run's delays agree"
    FITTED = "the delays of the run, with which its simulation agrees"
    HEALTH = "the workers that /health reported as initializing"
    ALL = "all jobs that waited for a start, also for one that began for another"
    NONE = "nothing"


class StartTime(msgspec.Struct, frozen=True):
    """The mean time of a start in milliseconds, from `n` starts; null if it is not known, for the reason `why`."""

    mean_ms: Estimate | None = None
    source: StartSource = StartSource.NONE
    n: int = 0
    why: str = ""

    @property
    def relative_error(self) -> float:
        """Return half of the interval over the mean; infinite if the time is not known."""
        mean_ms = self.mean_ms
        return np.inf if mean_ms is None or mean_ms.value <= 0 else (mean_ms.high - mean_ms.value) / mean_ms.value


@dataclass(frozen=True)
class WorkerCounts:
    """What each look at /health showed: workers starting, and workers up."""

    at: Floats
    initializing: Floats
    running: Floats


@dataclass(frozen=True)
class StartWaits:
    """Jobs of one kind that waited for a start of their own, less the scaler's threshold; or shorter, if not `ended`.

    `all_ms` are the waits of all jobs for a start of this kind without the shortest tenth, and `new_host_ms` those
    for a start on a new host.
    """

    wait_ms: Floats
    ended: Mask
    all_ms: Floats
    new_host_ms: Floats


def cold_waits(jobs: JobColumns, scenario: Scenario, settings: EndpointSettings) -> StartWaits:
    """Return the waits for cold starts.

    A worker that started and took no job before it stopped is new when it is revived. So first starts that are as
    short as revivals do not count, if workers may be revived.
    """
    classed = start_kinds(jobs, revives(scenario))
    cold = classed.kind == COLD
    if revives(scenario) is not False:
        divided_ms = start_kinds(jobs).cold_from_ms
        cold &= jobs.delay_ms >= (0.0 if divided_ms is None else divided_ms)
    return _waits(jobs, classed, cold, settings)


def revival_waits(jobs: JobColumns, scenario: Scenario, settings: EndpointSettings) -> StartWaits:
    """Return the waits for revivals."""
    classed = start_kinds(jobs, revives(scenario))
    return _waits(jobs, classed, classed.kind == REVIVED, settings)


def _waits(jobs: JobColumns, classed: StartClassification, kind: Mask, settings: EndpointSettings) -> StartWaits:
    new_host = classed.on_new_host(jobs)
    threshold_s = settings.scaler.threshold_s or 0.0
    own = own_starts(jobs, classed.kind > 0, classed.warm_below_ms, threshold_s)
    of_kind = kind & ~new_host
    all_ms = np.sort(jobs.delay_ms[of_kind])
    all_ms = all_ms[len(all_ms) // 10 :]
    # If most waits are shorter than the threshold, the scaler is another one.
    less_ms = threshold_s * 1000 if len(all_ms) and float(np.median(all_ms)) >= threshold_s * 1000 else 0.0
    mine = of_kind[own.index]
    return StartWaits(
        np.maximum(own.wait_s[mine] * 1000 - less_ms, 0.0),
        own.ended[mine],
        np.maximum(all_ms - less_ms, 0.0),
        jobs.delay_ms[kind & new_host],
    )


def waits_together(waits: Sequence[StartWaits]) -> StartWaits:
    """Return the waits of several runs as those of one."""
    return StartWaits(
        np.concatenate([each.wait_ms for each in waits]),
        np.concatenate([each.ended for each in waits]),
        np.concatenate([each.all_ms for each in waits]),
        np.concatenate([each.new_host_ms for each in waits]),
    )


def own_start_times(waits: StartWaits, at_least: int = MIN_STARTS) -> tuple[Floats, StartTime]:
    """Return start times in milliseconds that represent those of these waits, and their mean with its 95 % interval.

    The distribution is Kaplan and Meier's (1958, JASA 53, p. 457): a wait that another job's arrival cut off bounds
    the start from below. Its rest lies at the longest wait. It is empty if fewer than `at_least` starts ended, or if
    more than a tenth may last longer than those that did.
    """
    n = int(np.count_nonzero(waits.ended))
    order = np.lexsort((~waits.ended, waits.wait_ms))
    ended = waits.ended[order]
    at_risk = np.arange(len(order), 0, -1)[ended]
    surviving = np.cumprod(1 - 1 / at_risk).astype(np.float64)
    if n < max(at_least, 1) or surviving[-1] > _MAX_UNSEEN:
        return np.empty(0), StartTime()
    times_ms = waits.wait_ms[order][ended]
    found = StartTime(_interval(times_ms, surviving, at_risk), StartSource.OWN, n)
    if n == len(order):
        return times_ms, found
    ranks = (np.arange(_QUANTILES) + 0.5) / _QUANTILES
    return times_ms[np.minimum(np.searchsorted(1 - surviving, ranks), n - 1)], found


def _interval(times_ms: Floats, surviving: Floats, at_risk: NDArray[np.int64]) -> Estimate:
    """Return the mean, the area under the surviving share, and its interval by Student's t.

    The variance is that of Klein and Moeschberger (2003, Survival Analysis, section 4.5): the sum over starts of the
    squared area beyond each, over r (r - 1) with r starts still at risk. Of one time, the interval is that of the
    mean of an exponential one.
    """
    n, areas = len(times_ms), surviving[:-1] * np.diff(times_ms)
    beyond = np.append(np.cumsum(areas[::-1])[::-1], 0.0)
    mean = float(times_ms[0] + areas.sum())
    if n == 1:
        return Estimate(mean, mean / _CHI_SQUARED[1], mean / _CHI_SQUARED[0])
    variance = float((beyond**2 / np.maximum(at_risk * (at_risk - 1), 1)).sum()) * n / (n - 1)
    reach = float(special.stdtrit(n - 1, 0.975)) * math.sqrt(variance)
    return Estimate(mean, max(0.0, mean - reach), mean + reach)


def start_time_by_health(counts: WorkerCounts | None) -> StartTime:
    """Return the mean time of a start by Little's law: workers starting on average, over starts per second.

    A start between two looks is seen as one more worker starting, or as one more up that was not starting before. The
    time is not known of fewer than five starts, or if fewer than two looks fall into each on average.
    """
    if counts is None:
        return StartTime()
    known = ~np.isnan(counts.initializing + counts.running)
    at, initializing, running = counts.at[known], counts.initializing[known], counts.running[known]
    if len(at) < 2:
        return StartTime()
    started = np.maximum(0, np.diff(initializing) + np.maximum(0, np.diff(running)))
    n = int(started.sum())
    if n < MIN_STARTS:
        return StartTime()
    mean = float(np.trapezoid(initializing, at)) / n * 1000
    apart_ms = float(np.median(np.diff(at))) * 1000
    if mean < 2 * apart_ms:  # too few looks at each start
        return StartTime()
    # Each start's time varies by at most as much as an exponential one's, and its ends lie between two looks.
    reach = (1.96 * mean + apart_ms) / n**0.5
    return StartTime(Estimate(mean, max(0.0, mean - reach), mean + reach), StartSource.HEALTH, n)
