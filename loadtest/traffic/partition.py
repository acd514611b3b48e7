"""How the arrivals of a schedule, and the users of a closed load, are divided among processes and flows."""

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
    """A job that is due: its number in the schedule, seconds from the start, index of its flow and of its stage."""

    seq: int
    at_s: float
    flow: int
    stage: int


class SchedulePartition:
    """The arrivals of a schedule that one process sends, one by one, in order."""

    def __init__(self, schedule: Schedule, share: Share) -> None:
        self._schedule = schedule
        self._mine = _every(len(schedule), share)
        self._taken = np.zeros(len(schedule), dtype=bool)
        self._sort()

    def reassign(self, from_s: float, share: Share) -> None:
        """Give the process another share from a time on, in seconds from the start."""
        later = self._schedule.at_s >= from_s
        self._mine[later] = _every(len(self._schedule), share)[later]
        self._sort()

    def _sort(self) -> None:
        self._open = np.flatnonzero(self._mine & ~self._taken)
        self._open_s = self._schedule.at_s[self._open]
        self._next = 0
        self._mine_s = self._schedule.at_s[self._mine]

    def next(self) -> Arrival | None:
        """Take the next arrival; None if all have been taken."""
        if self._next == len(self._open):
            return None
        seq = int(self._open[self._next])
        self._next += 1
        self._taken[seq] = True
        drawn = self._schedule
        return Arrival(seq, float(drawn.at_s[seq]), int(drawn.flow[seq]), int(drawn.stage[seq]))

    def owns(self, seq: int) -> bool:
        """Return whether an arrival that was taken in advance has not been reassigned to another process since."""
        return bool(self._mine[seq])

    def pending_by(self, at_s: float) -> int:
        """Return how many arrivals of this process are due by this time and have not been taken."""
        return max(0, int(np.searchsorted(self._open_s, at_s, side="right")) - self._next)

    def due_by(self, at_s: float) -> int:
        """Return how many arrivals of this process are due by this time."""
        return int(np.searchsorted(self._mine_s, at_s, side="right"))


def _every(count: int, share: Share) -> NDArray[np.bool_]:
    mine: NDArray[np.bool_] = np.arange(count) % max(1, share.of) == share.rank
    return mine if share.of else np.zeros(count, dtype=bool)


def max_users(load: ClosedLoad) -> int:
    """Return the largest number of users of the load."""
    return math.ceil(max(max(stage.users.start, stage.users.end) for stage in load.stages))


def weighted_round_robin(shares: Sequence[float], count: int) -> list[int]:
    """Return indices into `shares`, `count` of them; after each, every index has had about its share of the turns."""
    turns_of = [0] * len(shares)
    turns = []
    for turn in range(1, count + 1):
        behind = max(range(len(shares)), key=lambda index: shares[index] * turn - turns_of[index])
        turns_of[behind] += 1
        turns.append(behind)
    return turns


def next_active_period(load: ClosedLoad, user: int, now_s: float) -> tuple[float, int] | None:
    """Return when the n-th user (from 0) may next begin a job, not before `now_s`, and in which stage.

    The user works while the load's number of users is at least n + 1/2. None if the user has no such time left. Times
    are seconds from the start.
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
