"""Users of a closed load: how many it wanted, how many were at work, and how many a limit held back.

A user is at work while its job is unfinished, and between the end of one job and the moment at which it is ready for
the next, which is its think time. It is held back from that moment until its next job may begin.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from loadtest.analyze.arrivals import LATE_S, RAMP_END_SHARE, stage_spans
from loadtest.analyze.run_data import RunData
from loadtest.analyze.summary import Users
from loadtest.arrays import Floats
from loadtest.record.sample import Outcome
from loadtest.traffic.settings import ClosedLoad

CELL_S = 0.1
"""Users are counted over cells of this length, or longer ones if there would be more than MAX_CELLS."""
MAX_CELLS = 20_000
_LONGEST_PAUSE = math.log(100)
"""The 99th percentile of an exponential distribution over its mean."""


@dataclass(frozen=True)
class UsersOverTime:
    """Users wanted and at work, as means over cells; `edges_s` bound the cells, in seconds from the load's start."""

    edges_s: Floats
    wanted: Floats
    at_work: Floats

    def mean_over(self, start_s: float, end_s: float) -> Users:
        """Return the means over a span."""
        wanted, at_work = self.means(np.array([start_s, end_s]))
        return Users(float(wanted[0]), float(at_work[0]), float(wanted[0] - at_work[0]), end_s - start_s)

    def means(self, edges_s: Floats) -> tuple[Floats, Floats]:
        """Return the mean users wanted and at work between each two of these edges."""
        lengths_s = np.maximum(np.diff(edges_s), np.finfo(np.float64).tiny)
        return self._integral(self.wanted, edges_s) / lengths_s, self._integral(self.at_work, edges_s) / lengths_s

    def _integral(self, counts: Floats, edges_s: Floats) -> Floats:
        sums = np.concatenate([[0.0], np.cumsum(counts * np.diff(self.edges_s))])
        return np.diff(np.interp(edges_s, self.edges_s, sums))


def users_over_time(data: RunData) -> UsersOverTime | None:
    """Return the users over the load; None if the load is open, or has no length, or the samples name no users."""
    load, jobs, duration_s = data.scenario.load, data.jobs, data.load.duration_s
    if not isinstance(load, ClosedLoad) or duration_s <= 0 or (len(jobs) and np.all(jobs.user < 0)):
        return None
    count = min(max(1, round(duration_s / CELL_S)), MAX_CELLS)
    edges_s = np.linspace(0.0, duration_s, count + 1)
    wanted = _wanted(load, (edges_s[:-1] + edges_s[1:]) / 2)
    working, held = _intervals(data, load)
    at_work, held_back = _mean_open(*working, edges_s), _mean_open(*held, edges_s)
    # Where fewer are wanted than before, the others end their jobs or wait for a later stage.
    return UsersOverTime(edges_s, wanted, np.minimum(at_work, np.maximum(0.0, wanted - held_back)))


def _wanted(load: ClosedLoad, at_s: Floats) -> Floats:
    """Return how many users work at each of these times: as many as n + 1/2 is below the load's number of users."""
    ends_s = np.cumsum([stage.duration for stage in load.stages])
    index = np.minimum(np.searchsorted(ends_s, at_s, side="right"), len(ends_s) - 1)
    durations_s = np.array([stage.duration for stage in load.stages])
    starts, ends = (np.array([getattr(stage.users, side) for stage in load.stages]) for side in ("start", "end"))
    into = (at_s - (ends_s - durations_s)[index]) / durations_s[index]
    users: Floats = np.floor(starts[index] + (ends - starts)[index] * into + 0.5)
    return users


def _intervals(data: RunData, load: ClosedLoad) -> tuple[tuple[Floats, Floats], tuple[Floats, Floats]]:
    """Return the spans in which users were at work, and those in which a limit held them back, from the load's start.

    What a user does after its last job is not recorded: it thinks for `load.think`, or for as long as 99 % of pauses
    last if they vary. The tasks of a locustfile pause as they like, also before their first job.
    """
    own_tasks = load.locustfile is not None
    last_think_s = load.think * (_LONGEST_PAUSE if load.think_distribution == "exponential" else 1.0)
    jobs, origin_at = data.jobs, data.load.start_at
    order = np.lexsort((jobs.intended_at, jobs.user, jobs.process))
    user, process = jobs.user[order], jobs.process[order]
    ready_s, begun_s, ended_s = (
        column[order] - origin_at for column in (jobs.ready_at, jobs.intended_at, _ended_at(data))
    )
    again = np.append((user[1:] == user[:-1]) & (process[1:] == process[:-1]), False)[: len(order)]
    next_ready_s = np.append(ready_s[1:], np.nan)[: len(order)]
    until_s = np.where(again, next_ready_s, data.load.duration_s if own_tasks else ended_s + last_think_s)
    if own_tasks:
        first = np.append(True, ~again[:-1])[: len(order)]
        return (np.where(first, 0.0, begun_s), np.maximum(until_s, begun_s)), (ready_s, begun_s)
    return (begun_s, np.maximum(until_s, begun_s)), (ready_s, begun_s)


def _ended_at(data: RunData) -> Floats:
    """Return when each job's user was free; a job that was not seen to end is followed until its timeout."""
    jobs = data.jobs
    ended_at: Floats = np.where(
        np.isnan(jobs.finished_at) | jobs.ended(Outcome.CENSORED), data.followed_until_at(), jobs.finished_at
    )
    return ended_at


def _mean_open(starts_s: Floats, ends_s: Floats, edges_s: Floats) -> Floats:
    """Return how many of these spans are open in each cell, on average."""
    open_s = _elapsed(starts_s, edges_s) - _elapsed(ends_s, edges_s)
    mean: Floats = np.diff(open_s) / np.diff(edges_s)
    return mean


def _elapsed(at_s: Floats, until_s: Floats) -> Floats:
    """Return the time since all of these moments together, at each of `until_s`; later moments count nothing."""
    at_s = np.sort(at_s)
    sums, before = np.concatenate([[0.0], np.cumsum(at_s)]), np.searchsorted(at_s, until_s)
    elapsed: Floats = before * until_s - sums[before]
    return elapsed


def users_by_part(data: RunData) -> dict[str, Users]:
    """Return the users of each stage, and of the last part of each ramp to more users that reached its end.

    Empty if the load is open, or the samples name no users.
    """
    load, users = data.scenario.load, users_over_time(data)
    if not isinstance(load, ClosedLoad) or users is None:
        return {}
    parts = {}
    for (name, start_s, end_s), stage in zip(_spans_s(data), load.stages, strict=False):
        parts[name] = users.mean_over(start_s, end_s)
        if stage.users.end > stage.users.start and end_s - start_s >= stage.duration - LATE_S:
            last_s = max(1.0, RAMP_END_SHARE * stage.duration)
            named = f"the end of {name}, a ramp to {stage.users.end:g} users"
            parts[named] = users.mean_over(max(start_s, end_s - last_s), end_s)
    return parts


def _spans_s(data: RunData) -> list[tuple[str, float, float]]:
    """Return each stage's name and its span, in seconds from the load's start, cut at the load's end."""
    start_at, end_at = data.load.start_at, data.load.end_at
    return [
        (name, span.start_at - start_at, min(span.end_at, end_at) - start_at)
        for name, span in stage_spans(data)
        if span.start_at < end_at
    ]
