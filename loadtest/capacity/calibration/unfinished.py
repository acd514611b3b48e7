"""Executions that no response reports: of jobs cancelled, timed out, or given up while at work.

The longest executions end so most often. Without them the others are survivors, whose mean is too short.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import optimize, special

from loadtest.analyze.jobs import JobColumns, last_event_at
from loadtest.analyze.littles_law import arrival_times
from loadtest.analyze.start_waits import execution_at_least_ms
from loadtest.arrays import Floats, Mask
from loadtest.record.sample import Outcome

_STOPPED = (Outcome.CANCELLED, Outcome.TIMED_OUT, Outcome.CENSORED)
"""The outcomes of jobs that were at the endpoint until then, so that the time they spent there bounds their own."""
_OVERDUE = 1.001
"""What a job that timed out takes at least, in its timeout: longer, so that it times out in a simulation too."""
_LEAST_MS = 0.25
_TAIL_SHARES = (np.arange(200) + 0.5) / 200
_LEAST_SHARE = 1e-300  # beyond a bound that no execution can reach by the fit
_GOLDEN = (5**0.5 - 1) / 2
_STEPS = 200


def unfinished_ms(jobs: JobColumns, job_timeout_s: float, execution_timeout_s: Floats | float = np.inf) -> Floats:
    """Return how long jobs that did not end by themselves executed at least, in milliseconds.

    Jobs are taken in the order of their arrival. So a job whose take was not reported was taken before any that came
    later. The client gives up a job after the job timeout, or at the last event of the run. A job that failed at its
    execution timeout, which is one for all jobs or one for each, did not end by itself either.
    """
    stopped = np.any([jobs.ended(outcome) for outcome in _STOPPED], axis=0) & jobs.accepted
    entered = arrival_times(jobs)
    taken = entered + jobs.delay_ms / 1000
    order = np.argsort(entered, kind="stable")
    later = np.fmin.accumulate(taken[order][::-1])[::-1]
    taken_by = np.empty(len(jobs))
    taken_by[order] = np.append(later[1:], np.nan)[: len(jobs)]
    gave_up = np.minimum(jobs.intended_at + job_timeout_s, last_event_at(jobs, default=np.inf))
    reported_ms = execution_at_least_ms(jobs)
    least_ms = np.where(np.isnan(reported_ms), (gave_up - np.maximum(taken_by, entered)) * 1000, reported_ms)
    limited = _at_limit(jobs, execution_timeout_s)
    least_ms = np.where(least_ms >= np.multiply(execution_timeout_s, 1000) - 1, least_ms * _OVERDUE, least_ms)
    found: Floats = least_ms[(stopped & (least_ms > 0)) | limited]
    return found


def ended_by_itself(jobs: JobColumns, execution_timeout_s: Floats | float = np.inf) -> Mask:
    """Return the mask of jobs whose execution time is that of their work: they completed or failed by themselves."""
    done = (jobs.completed | jobs.ended(Outcome.WRONG) | jobs.ended(Outcome.FAILED)) & ~np.isnan(jobs.execution_ms)
    mask: Mask = done & ~_at_limit(jobs, execution_timeout_s)
    return mask


def _at_limit(jobs: JobColumns, execution_timeout_s: Floats | float) -> Mask:
    mask: Mask = jobs.ended(Outcome.FAILED) & (jobs.execution_ms >= np.multiply(execution_timeout_s, 1000))
    return mask


@dataclass(frozen=True)
class _Family:
    """A fitted distribution: its greatest logarithm of the likelihood, and the time beyond which a share lies."""

    log_likelihood: float
    beyond_ms: Callable[[Floats], Floats]
    share_beyond: Callable[[Floats], Floats]


def with_unfinished(ended_ms: Floats, least_ms: Floats) -> Floats:
    """Return execution times of all jobs: those that ended, and estimates of those that took these times at least.

    A log-normal and a Weibull distribution are fitted to both by maximum likelihood, an unfinished job counting with
    the probability of more than its bound (Klein and Moeschberger 2003, Survival Analysis, section 3.5). Each gets a
    time that the likelier one has beyond its bound; all of them together have its mean.
    """
    if len(least_ms) == 0 or len(ended_ms) == 0:
        return ended_ms
    ended, least = np.maximum(ended_ms, _LEAST_MS), np.sort(np.maximum(least_ms, _LEAST_MS))
    if ended.min() == ended.max():
        return np.concatenate([ended_ms, np.maximum(least, ended.max())])
    family = max(_log_normal(ended, least), _weibull(ended, least), key=lambda each: each.log_likelihood)
    beyond = family.share_beyond(least)

    def at(share: Floats | float) -> Floats:
        longer_ms: Floats = np.maximum(least, family.beyond_ms(np.maximum(share * beyond, _LEAST_SHARE)))
        return longer_ms

    times_ms = at(np.modf((np.arange(len(least)) + 1) * _GOLDEN)[0])
    means_ms = np.mean([at(share) for share in _TAIL_SHARES], axis=0)
    rest_ms = times_ms - least
    expected_ms = float((means_ms - least).sum())
    factor = expected_ms / float(rest_ms.sum()) if rest_ms.sum() > 0 else 1.0
    return np.concatenate([ended_ms, least + rest_ms * factor])


def _log_normal(ended: Floats, least: Floats) -> _Family:
    """Fit by the EM algorithm: unfinished logarithms are replaced by their mean and variance beyond the bound."""
    logs, bounds = np.log(ended), np.log(least)
    mean, deviation = float(logs.mean()), max(float(logs.std()), 1e-6)
    n = len(logs) + len(bounds)
    for _ in range(_STEPS):
        at = (bounds - mean) / deviation
        hazard = np.exp(-(at**2) / 2 - np.log(2 * np.pi) / 2 - special.log_ndtr(-at))
        expected = mean + deviation * hazard
        mean = float(logs.sum() + expected.sum()) / n
        squares = ((logs - mean) ** 2).sum() + ((expected - mean) ** 2).sum()
        squares += (deviation**2 * (1 + at * hazard - hazard**2)).sum()
        deviation = max(float(np.sqrt(squares / n)), 1e-6)
    scaled = (logs - mean) / deviation
    density = -(scaled**2) / 2 - np.log(deviation * np.sqrt(2 * np.pi)) - logs
    beyond = special.log_ndtr(-(bounds - mean) / deviation)
    return _Family(
        float(density.sum() + beyond.sum()),
        lambda share: np.exp(mean - deviation * special.ndtri(share)),
        lambda ms: special.ndtr(-(np.log(ms) - mean) / deviation),
    )


def _weibull(ended: Floats, least: Floats) -> _Family:
    logs, both = np.log(ended), np.log(np.concatenate([ended, least]))
    top = float(both.max())

    def log_scale(shape: float) -> float:
        return top + float(np.log(np.exp(shape * (both - top)).sum() / len(logs))) / shape

    def likelihood(log_shape: float) -> float:
        shape = float(np.exp(log_shape))
        scale = log_scale(shape)
        return len(logs) * (log_shape - shape * scale - 1) + (shape - 1) * float(logs.sum())

    found = optimize.minimize_scalar(lambda at: -likelihood(at), bounds=(-1.6, 5.0), method="bounded")
    shape = float(np.exp(found.x))
    scale = log_scale(shape)
    return _Family(
        -float(found.fun),
        lambda share: np.exp(scale + np.log(-np.log(share)) / shape),
        lambda ms: np.exp(-np.exp(shape * (np.log(ms) - scale))),
    )
