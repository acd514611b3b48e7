"""Arrivals at a rate of one, to be stretched to any: the same seed gives the same bursts at every rate."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from loadtest.traffic.arrivals import schedule
from loadtest.traffic.settings import Arrivals, Gamma, OpenLoad, Ramp, RateStage, Trace

Floats = NDArray[np.float64]


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
    at_s = schedule(load, {"run": 1.0}, seed).at_s
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


def gap_variation(arrivals: Arrivals) -> float:
    """The coefficient of variation of the gaps between jobs."""
    if isinstance(arrivals, Trace):
        gaps = np.diff(np.asarray(arrivals.times, dtype=np.float64))
        return float(gaps.std() / gaps.mean()) if len(gaps) and gaps.sum() > 0 else 0.0
    if isinstance(arrivals, Gamma):
        return arrivals.gamma_cv
    return 0.0 if arrivals == "constant" else 1.0
