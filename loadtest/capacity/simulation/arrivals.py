"""Arrivals at a rate of one, to be stretched to any: the same seed gives the same bursts at every rate."""

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
    """A day in equal parts, each of settled Poisson arrivals at its own rate: its share, of mean one, of the mean.

    The pointwise stationary approximation (Green and Kolesar 1991, Management Science 37, pp. 84–97): no part knows
    what the one before left in the queue.
    """

    shares: tuple[float, ...]

    @property
    def parts(self) -> list[tuple[float, float]]:
        """Each different share, and for how much of the day it holds."""
        return [(share, count / len(self.shares)) for share, count in Counter(self.shares).items()]


Process = Arrivals | Profile
"""Arrivals that are simulated: a scenario's kinds, or a daily profile."""


def profile(rates: Sequence[float]) -> Profile:
    """The day of these rates, of which only the proportions count; ValueError where nothing comes all day."""
    if not any(rates):
        raise ValueError("every rate is 0, so that no job comes; give a part of the day a rate")
    mean = sum(rates) / len(rates)
    return Profile(tuple(rate / mean for rate in rates))


def parts_of(process: Process) -> list[tuple[float, float]]:
    """Each part's rate over the mean, and its part of the time; what is no profile is one part."""
    return process.parts if isinstance(process, Profile) else [(1.0, 1.0)]


def peak(process: Process) -> float:
    """The highest rate over the mean; 1 for what is no profile."""
    return max(share for share, _ in parts_of(process))


def arrivals_at(arrivals: Arrivals, rate_per_s: float, jobs: int, seed: int) -> Floats:
    """When some `jobs` jobs arrive at this rate, in seconds from the start, in order."""
    at_s: Floats = _unit_arrivals(arrivals, jobs, seed) / rate_per_s
    return at_s


@lru_cache(maxsize=64)
def _unit_arrivals(arrivals: Arrivals, jobs: int, seed: int) -> Floats:
    if isinstance(arrivals, Trace):
        return _traced(arrivals, jobs, seed)
    # Built from numbers that are known to be right: a stage that is read has a length limit, which unit rate passes.
    stage = RateStage.model_construct(duration=float(jobs), name="", rate=Ramp(start=1.0, end=1.0))
    load = OpenLoad.model_construct(model="open", arrivals=arrivals, stages=(stage,))
    at_s = draw_schedule(load, {"run": 1.0}, seed).at_s
    at_s.setflags(write=False)
    return at_s


def _traced(trace: Trace, jobs: int, seed: int) -> Floats:
    """The trace over and over from a random place in it, its time scaled so that the mean rate is one."""
    gaps = np.diff(np.asarray(trace.times, dtype=np.float64))
    if len(gaps) == 0 or gaps.sum() == 0:
        raise ValueError("a trace of one moment has no rate; give one with two or more different times")
    gaps = np.concatenate([gaps, [gaps.mean()]])
    gaps = np.roll(gaps / gaps.mean(), -int(np.random.default_rng(seed).integers(len(gaps))))
    at_s: Floats = np.cumsum(np.resize(gaps, jobs))
    at_s.setflags(write=False)
    return at_s


def gap_variation(arrivals: Process) -> float:
    """The coefficient of variation of the gaps between jobs, of a profile that within each part."""
    if isinstance(arrivals, Trace):
        gaps = np.diff(np.asarray(arrivals.times, dtype=np.float64))
        return float(gaps.std() / gaps.mean()) if len(gaps) and gaps.sum() > 0 else 0.0
    if isinstance(arrivals, Gamma):
        return arrivals.gamma_cv
    return 0.0 if arrivals == "constant" else 1.0
