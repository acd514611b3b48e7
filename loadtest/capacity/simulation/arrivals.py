"""Arrivals at a rate of one, to be stretched to any rate: the same seed gives the same bursts at every rate."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from loadtest.arrays import Floats
from loadtest.traffic.arrivals import draw_schedule
from loadtest.traffic.settings import Arrivals, Gamma, OpenLoad, Ramp, RateStage, Trace


@dataclass(frozen=True)
class Profile:
    """A day in equal parts, each with settled Poisson arrivals at its own share of the mean rate.

    This is the pointwise stationary approximation (Green and Kolesar 1991, Management Science 37, pp. 84–97): no part
    knows the queue that the part before left behind.
    """

    shares: tuple[float, ...]

    @property
    def parts(self) -> list[tuple[float, float]]:
        """Return each different share, and the part of the day for which it holds."""
        return [(share, count / len(self.shares)) for share, count in Counter(self.shares).items()]


Process = Arrivals | Profile  # arrivals that can be simulated: a scenario's kinds, or a daily profile


def profile(rates: Sequence[float]) -> Profile:
    """Return the profile of these rates, of which only the proportions count; raises ValueError if all are 0."""
    if not any(rates):
        raise ValueError("every rate is 0, so no job arrives; give a part of the day a rate")
    mean = sum(rates) / len(rates)
    return Profile(tuple(rate / mean for rate in rates))


def parts_of(process: Process) -> list[tuple[float, float]]:
    """Return each part's rate over the mean, and its part of the time; other arrivals have one part."""
    return process.parts if isinstance(process, Profile) else [(1.0, 1.0)]


def peak(process: Process) -> float:
    """Return the highest rate over the mean; 1 for all but a profile."""
    return max(share for share, _ in parts_of(process))


def arrivals_at(arrivals: Arrivals, rate_per_s: float, jobs: int, seed: int) -> Floats:
    """Return when about `jobs` jobs arrive at this rate, in seconds from the start, in order."""
    at_s: Floats = _unit_arrivals(arrivals, jobs, seed) / rate_per_s
    return at_s


@lru_cache(maxsize=64)
def _unit_arrivals(arrivals: Arrivals, jobs: int, seed: int) -> Floats:
    if isinstance(arrivals, Trace):
        return _traced(arrivals, jobs, seed)
    # Not validated: a stage has a length limit, which unit rate exceeds.
    stage = RateStage.model_construct(duration=float(jobs), name="", rate=Ramp(start=1.0, end=1.0))
    load = OpenLoad.model_construct(model="open", arrivals=arrivals, stages=(stage,))
    at_s = draw_schedule(load, {"run": 1.0}, seed).at_s
    at_s.setflags(write=False)
    return at_s


def _traced(trace: Trace, jobs: int, seed: int) -> Floats:
    """Repeat the trace from a random position in it, its time scaled so that the mean rate is one."""
    gaps = np.diff(np.asarray(trace.times, dtype=np.float64))
    if len(gaps) == 0 or gaps.sum() == 0:
        raise ValueError("a trace of one moment has no rate; give one with two or more different times")
    gaps = np.concatenate([gaps, [gaps.mean()]])
    gaps = np.roll(gaps / gaps.mean(), -int(np.random.default_rng(seed).integers(len(gaps))))
    at_s: Floats = np.cumsum(np.resize(gaps, jobs))
    at_s.setflags(write=False)
    return at_s


def gap_variation(arrivals: Process) -> float:
    """Return the coefficient of variation of the gaps between jobs; of a profile, that within each part."""
    if isinstance(arrivals, Trace):
        gaps = np.diff(np.asarray(arrivals.times, dtype=np.float64))
        return float(gaps.std() / gaps.mean()) if len(gaps) and gaps.sum() > 0 else 0.0
    if isinstance(arrivals, Gamma):
        return arrivals.gamma_cv
    return 0.0 if arrivals == "constant" else 1.0
