"""Who carries out what: arrivals are dealt in order to whoever is free."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from loadtest.traffic.arrivals import Schedule
from loadtest.traffic.limit_shares import Share
from loadtest.traffic.settings import ClosedLoad


class Arrival(NamedTuple):
    """A job that is due: its number in the schedule, its time in seconds from the start, its flow and its stage.

    The flow is an index into the schedule's `flows`.
    """

    seq: int
    at_s: float
    flow: int
    stage: int


class SchedulePartition:
    """A process's arrivals of a schedule, handed out one by one, in their order."""

    def __init__(self, schedule: Schedule, share: Share) -> None:
        self._schedule = schedule
        self._mine = _every(len(schedule), share)
        self._taken = np.zeros(len(schedule), dtype=bool)
        self._sort()

    def reassign(self, from_s: float, share: Share) -> None:
        """From a time on (seconds from the start) the process has another place."""
        later = self._schedule.at_s >= from_s
        self._mine[later] = _every(len(self._schedule), share)[later]
        self._sort()

    def _sort(self) -> None:
        self._open = np.flatnonzero(self._mine & ~self._taken)
        self._open_s = self._schedule.at_s[self._open]
        self._next = 0
        self._mine_s = self._schedule.at_s[self._mine]

    def next(self) -> Arrival | None:
        """The next arrival; None when all have been taken."""
        if self._next == len(self._open):
            return None
        seq = int(self._open[self._next])
        self._next += 1
        self._taken[seq] = True
        plan = self._schedule
        return Arrival(seq, float(plan.at_s[seq]), int(plan.flow[seq]), int(plan.stage[seq]))

    def owns(self, seq: int) -> bool:
        """Whether an arrival that was taken ahead of its time has not been dealt to another process since."""
        return bool(self._mine[seq])

    def pending_by(self, at_s: float) -> int:
        """How many arrivals that are meant to have come by this time nobody has taken."""
        return max(0, int(np.searchsorted(self._open_s, at_s, side="right")) - self._next)

    def due_by(self, at_s: float) -> int:
        """How many arrivals are meant to have come to this process by this time."""
        return int(np.searchsorted(self._mine_s, at_s, side="right"))


def _every(count: int, share: Share) -> NDArray[np.bool_]:
    mine: NDArray[np.bool_] = np.arange(count) % max(1, share.of) == share.rank
    return mine if share.of else np.zeros(count, dtype=bool)


def max_users(load: ClosedLoad) -> int:
    """How many users there are when the load is at its most."""
    return math.ceil(max(max(stage.users.start, stage.users.end) for stage in load.stages))


def weighted_round_robin(shares: Sequence[float], count: int) -> list[int]:
    """So many turns, dealt so that after each of them everybody has had about its share; indices into `shares`."""
    had = [0] * len(shares)
    turns = []
    for turn in range(1, count + 1):
        behind = max(range(len(shares)), key=lambda index: shares[index] * turn - had[index])
        had[behind] += 1
        turns.append(behind)
    return turns


def next_active_period(load: ClosedLoad, user: int, now_s: float) -> tuple[float, int] | None:
    """When the n-th user (from 0) may next begin a job, not before `now_s`, and in which stage.

    The user works while the load's number of users is at least n + 1/2. None: never again. Times are seconds
    from the start.
    """
    needed = user + 0.5
    begins_s = 0.0
    for index, stage in enumerate(load.stages):
        ends_s = begins_s + stage.duration
        if now_s < ends_s:
            start, end = stage.users.start, stage.users.end
            into_s = max(0.0, now_s - begins_s)
            if start + (end - start) * into_s / stage.duration >= needed:
                return begins_s + into_s, index
            if end >= needed and end > start:
                return begins_s + (needed - start) / (end - start) * stage.duration, index
        begins_s = ends_s
    return None
