"""Who carries out what: arrivals are dealt in order to whoever of their flow is free."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from loadtest.traffic.arrivals import Schedule
from loadtest.traffic.settings import ClosedLoad
from loadtest.traffic.shares import Place


class Arrival(NamedTuple):
    """A job that is due: its number in the schedule, its time in seconds from the start, and its stage."""

    seq: int
    at_s: float
    stage: int


class Deal:
    """A process's arrivals of a schedule, handed out one by one, each flow's in their order."""

    def __init__(self, schedule: Schedule, place: Place) -> None:
        self._schedule = schedule
        self._mine = _every(len(schedule), place)
        self._taken = np.zeros(len(schedule), dtype=bool)
        self._sort()

    def redeal(self, from_s: float, place: Place) -> None:
        """From a time on (seconds from the start) the process has another place."""
        later = self._schedule.at_s >= from_s
        self._mine[later] = _every(len(self._schedule), place)[later]
        self._sort()

    def _sort(self) -> None:
        open_ = self._mine & ~self._taken
        flows = enumerate(self._schedule.flows)
        self._seqs = {flow: np.flatnonzero(open_ & (self._schedule.flow == index)) for index, flow in flows}
        self._next = dict.fromkeys(self._schedule.flows, 0)
        self._times = self._schedule.at_s[self._mine]

    def take(self, flow: str) -> Arrival | None:
        """The flow's next arrival; None when all have been taken."""
        index = self._next[flow]
        if index == len(self._seqs[flow]):
            return None
        self._next[flow] = index + 1
        seq = int(self._seqs[flow][index])
        self._taken[seq] = True
        return Arrival(seq, float(self._schedule.at_s[seq]), int(self._schedule.stage[seq]))

    def still_mine(self, arrival: Arrival) -> bool:
        """Whether an arrival that was taken ahead of its time has not been dealt to another process since."""
        return bool(self._mine[arrival.seq])

    def waiting(self, flow: str, after_s: float, until_s: float) -> int:
        """How many of the flow's arrivals that nobody took are meant to come after one time and not after another."""
        waiting = self._schedule.at_s[self._seqs[flow][self._next[flow] :]]
        return int(np.searchsorted(waiting, until_s, side="right") - np.searchsorted(waiting, after_s, side="right"))

    def untaken_by(self, at_s: float) -> int:
        """How many arrivals that are meant to have come by this time nobody has taken."""
        return sum(self.waiting(flow, -math.inf, at_s) for flow in self._seqs)

    def due_by(self, at_s: float) -> int:
        """How many arrivals of all flows are meant to have come to this process by this time."""
        return int(np.searchsorted(self._times, at_s, side="right"))


def _every(count: int, place: Place) -> NDArray[np.bool_]:
    mine: NDArray[np.bool_] = np.arange(count) % max(1, place.of) == place.rank
    return mine if place.of else np.zeros(count, dtype=bool)


def closed_users(load: ClosedLoad, share: float) -> int:
    """How many users a flow with this share has when the load is at its most."""
    most = max(max(stage.users.start, stage.users.end) for stage in load.stages)
    return max(1, math.floor(most * share + 0.5))


def works_from(load: ClosedLoad, share: float, user: int, now_s: float) -> tuple[float, int] | None:
    """When a flow's n-th user (from 0) may next begin a job, not before `now_s`, and in which stage.

    The user works while the load's number of users is at least (n + 1/2) / share. None: never again.
    Times are seconds from the start.
    """
    needed = (user + 0.5) / share
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
