"""The times of a job that has just ended, as the gates of an abort rule judge them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from loadtest.scenario.gates import Gate
from loadtest.scenario.job_limits import JobLimit
from loadtest.units import nearest_rank


def gaps_s(chunks: Sequence[Any]) -> list[float]:
    """Return the times between neighbouring arrivals of content among `record.sample.ChunkSeen`, in seconds."""
    arrivals = sorted({chunk.at for chunk in chunks if chunk.pieces})
    return [later - earlier for earlier, later in itertools.pairwise(arrivals)]


def time_s(gate: Gate, job: Any, at: float, completed: bool) -> float | None:
    """Return the time of a job by which a gate judges it; None if it has none that decides.

    A job that did not complete lasted at least until it ended or was given up, which decides if it is over the limit.
    """
    spec = gate.metric.spec
    if completed:
        return spec.time_s(job)
    least_s = spec.at_least_s(job, at) if spec.until_completed else None
    return least_s if least_s is not None and least_s >= gate.limit else None


def judged_gaps_s(gate: Gate, job: Any, at: float, completed: bool, gaps: Sequence[float]) -> Sequence[float]:
    """Return the gaps between a job's tokens; that to the token which never came if it is over the limit."""
    if completed or job.last_content_at is None or at - job.last_content_at < gate.limit:
        return gaps
    return [*gaps, at - job.last_content_at]


def missed_limit(gate: Gate, job: Any, at: float, completed: bool, gaps: Sequence[float]) -> bool | None:
    """Return whether a job missed a limit of a goodput gate; None if that is not known, or it is none of its jobs."""
    if job.flow not in gate.flows:
        return None
    if not completed:
        return None if job.outcome == "censored" and not _lasted_past(gate, job, at) else True
    found = [_missed(limit, job, gaps) for limit in gate.where]
    if True in found:
        return True
    return None if None in found else False


def _lasted_past(gate: Gate, job: Any, at: float) -> bool:
    """Return whether an unfinished job has lasted longer than a limit of a time that ends with it."""
    for limit in gate.where:
        spec = limit.metric.spec
        if spec.until_completed and not limit.metric.is_pooled:
            least_s = spec.at_least_s(job, at)
            if least_s is not None and least_s >= limit.limit:
                return True
    return False


def _missed(limit: JobLimit, job: Any, gaps: Sequence[float]) -> bool | None:
    spec = limit.metric.spec
    if (spec.per_token or limit.metric.is_pooled) and job.output_tokens is not None and job.output_tokens <= 1:
        return False
    if not limit.metric.is_pooled:
        value_s = spec.time_s(job)
        return None if value_s is None else value_s >= limit.limit
    if job.first_content_at is None:
        return None
    return bool(gaps) and _statistic(limit, gaps) >= limit.limit


def _statistic(limit: JobLimit, gaps: Sequence[float]) -> float:
    if not limit.statistic:
        return sum(gaps) / len(gaps)
    per_mille = limit.per_mille
    return max(gaps) if per_mille is None else sorted(gaps)[nearest_rank(len(gaps), per_mille) - 1]
