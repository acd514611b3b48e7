"""How often jobs lose their worker, from an endpoint's settings, or from the jobs that it gave back to its queue."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np

from loadtest.capacity.calibration.concurrency import JobShares
from loadtest.capacity.calibration.measurements import MeasuredRun


class Crashes(msgspec.Struct, frozen=True):
    """The share of tries that end in the death of their worker, and how often a job is tried.

    `seen` deaths ended some of `of` tries; 0 of 0 if the rate is a setting of the endpoint, or nothing shows it.
    """

    rate: float = 0.0
    tries: int = 3
    seen: float = 0.0
    of: float = 0.0

    @property
    def gives_up(self) -> float:
        """Return the share of jobs that fail because workers died of them, as often as they are tried."""
        return math.pow(self.rate, self.tries)


def estimate_crashes(runs: Sequence[MeasuredRun], shares: JobShares) -> Crashes:
    """Return how often jobs of these runs lose their worker; `shares` are those of the jobs that a worker did.

    A worker that dies gives back all jobs that it has, so each death counts for the mean number that a job shares
    its worker with, itself included. A simulated endpoint knows its rate. If health was not asked, workers that
    always run and are more than their number replaced others.
    """
    last = runs[-1].scenario
    if last.target == "embedded":
        return Crashes(last.endpoint.crash_rate, last.endpoint.tries)
    real = [run for run in runs if run.scenario.target != "embedded"]
    tries = last.endpoint.tries if last.starts_endpoint else Crashes().tries
    done = sum(int(np.count_nonzero(run.jobs.worker >= 0)) for run in real)
    together = _mean_together(shares)
    deaths = sum(_replaced(run) if run.retried is None else run.retried / together for run in real)
    if deaths == 0 or done == 0:
        return Crashes(0.0, tries)
    return Crashes(deaths / (done + deaths), tries, float(deaths), float(done + deaths))


def _replaced(run: MeasuredRun) -> int:
    """Return how many workers took the place of others, if it is known how many there were."""
    workers = run.scenario.endpoint.workers
    if not run.scenario.starts_endpoint or workers.active < workers.most:
        return 0
    return max(0, len(np.unique(run.jobs.worker[run.jobs.worker >= 0])) - workers.active)


def _mean_together(shares: JobShares) -> float:
    """Return how many jobs its worker has on average during a job, itself included."""
    by_number = shares.with_others_s.sum(axis=0)
    total_s = float(by_number.sum())
    return float(by_number @ np.arange(1, len(by_number) + 1)) / total_s if total_s > 0 else 1.0
