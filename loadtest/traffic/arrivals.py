"""The schedule of jobs: when each is meant to arrive, drawn in advance from a seed.

Every arrival process is a process of unit rate, stretched by the inverse of the cumulative rate L(t) = integral of
the rate from 0 to t. So ramps are exact, and the gaps keep their distribution. (Cinlar, Introduction to Stochastic
Processes, 1975, section 4.7.)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from loadtest.arrays import Floats
from loadtest.traffic.settings import Gamma, OpenLoad, Trace


@dataclass(frozen=True)
class Schedule:
    """Arrivals in order: `at_s` in seconds from the start, `flow` as an index into `flows`, `stage` as an index."""

    at_s: Floats
    flow: NDArray[np.int8]
    stage: NDArray[np.int16]
    flows: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.at_s)

    def first(self, count: int | None) -> Schedule:
        """Return the first arrivals, this many of them; all of them if it is None."""
        return Schedule(self.at_s[:count], self.flow[:count], self.stage[:count], self.flows)

    def per_second(self, flow: str) -> list[int]:
        """Return how many jobs of a flow are meant to arrive in each second from the start."""
        seconds = self.at_s[self.flow == self.flows.index(flow)].astype(np.int64)
        return [int(count) for count in np.bincount(seconds)]


def draw_schedule(load: OpenLoad, shares: Mapping[str, float], seed: int) -> Schedule:
    """Draw the arrivals of a load, each with a flow by its share; the same seed gives the same schedule.

    The times do not depend on the shares, so that a change of the mix leaves them as they were.
    """
    gaps, marks = np.random.SeedSequence(seed).spawn(2)
    at_s = _times(load, np.random.default_rng(gaps))
    flows = tuple(shares)
    weights = np.array([shares[flow] for flow in flows])
    flow = np.random.default_rng(marks).choice(len(flows), size=len(at_s), p=weights / weights.sum())
    ends_s = np.cumsum([stage.duration for stage in load.stages])
    stage = np.minimum(np.searchsorted(ends_s, at_s, side="right"), len(ends_s) - 1)
    return Schedule(at_s, flow.astype(np.int8), stage.astype(np.int16), flows)


def _times(load: OpenLoad, random: np.random.Generator) -> Floats:
    if isinstance(load.arrivals, Trace):
        return _trace_times(load, load.arrivals)
    expected = float(_cumulative_rate(load)[-1])
    if load.arrivals == "constant":
        units = np.arange(np.ceil(expected - 1e-9), dtype=np.float64)
    else:
        cv = load.arrivals.gamma_cv if isinstance(load.arrivals, Gamma) else 1.0
        units = _unit_arrivals(expected, cv, random)
    return _invert_cumulative_rate(load, units)


def _trace_times(load: OpenLoad, trace: Trace) -> Floats:
    at_s = np.asarray(trace.times, dtype=np.float64) / trace.speed
    return at_s[at_s < load.duration_s]


def _unit_arrivals(until: float, cv: float, random: np.random.Generator) -> Floats:
    """Return the arrivals of a renewal process with mean gap 1 and gamma gaps of this coefficient of variation."""
    shape = 1 / cv**2
    drawn = np.empty(0)
    while not len(drawn) or drawn[-1] < until:
        block = int(until * 0.1 + 10 * cv * np.sqrt(until) + 10 if len(drawn) else until * 1.05 + 10)
        gaps = random.standard_gamma(shape, block) / shape
        drawn = np.concatenate([drawn, (drawn[-1] if len(drawn) else 0.0) + np.cumsum(gaps)])
    return drawn[drawn < until]


def _cumulative_rate(load: OpenLoad) -> Floats:
    """Return the expected arrivals from the start to the end of each stage."""
    return np.cumsum([(stage.rate.start + stage.rate.end) / 2 * stage.duration for stage in load.stages])


def _invert_cumulative_rate(load: OpenLoad, units: Floats) -> Floats:
    """Return when the cumulative rate reaches each of these values, in seconds from the start.

    Within a stage the rate is a + k x, so c = a x + k x^2 / 2 gives x = 2 c / (a + sqrt(a^2 + 2 k c)).
    """
    reached = _cumulative_rate(load)
    stage = np.minimum(np.searchsorted(reached, units, side="right"), len(reached) - 1)
    starts_s = np.concatenate([[0.0], np.cumsum([stage.duration for stage in load.stages])])[:-1]
    rate = np.array([stage.rate.start for stage in load.stages])
    slope = np.array([(stage.rate.end - stage.rate.start) / stage.duration for stage in load.stages])
    count = units - np.concatenate([[0.0], reached])[:-1][stage]
    root = np.sqrt(np.maximum(rate[stage] ** 2 + 2 * slope[stage] * count, 0.0))
    below = rate[stage] + root
    into_stage_s = np.divide(2 * count, below, out=np.zeros_like(count), where=below > 0)
    return np.maximum.accumulate(starts_s[stage] + into_stage_s)


def peak_rates(load: OpenLoad) -> list[float]:
    """Return the highest mean rate of each stage, in jobs per second; for a trace its mean rate in the stage."""
    if not isinstance(load.arrivals, Trace):
        return [max(stage.rate.start, stage.rate.end) for stage in load.stages]
    lengths_s = np.array([stage.duration for stage in load.stages])
    counts, _ = np.histogram(_trace_times(load, load.arrivals), np.concatenate([[0.0], np.cumsum(lengths_s)]))
    return [float(rate) for rate in counts / lengths_s]


def expected_jobs(load: OpenLoad) -> float:
    """Return the expected number of jobs, all stages together."""
    if isinstance(load.arrivals, Trace):
        return len(_trace_times(load, load.arrivals))
    return float(_cumulative_rate(load)[-1])


def max_in_window(at_s: Floats, span_s: float) -> int:
    """Return the most events in any half-open interval of this length, wherever it starts; `at_s` is in order."""
    if not len(at_s):
        return 0
    return int((np.searchsorted(at_s, at_s + span_s, side="left") - np.arange(len(at_s))).max())
