"""Who carries out what: arrivals are dealt in order to whoever of their flow is free."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from loadtest.traffic.arrivals import Schedule
from loadtest.traffic.settings import ClosedLoad


class Arrival(NamedTuple):
    """A job that is due: its number in the schedule, its time in seconds from the start, and its stage."""

    seq: int
    at_s: float
    stage: int


class Deal:
    """The arrivals of a schedule, handed out one by one, each flow's in their order."""

    def __init__(self, schedule: Schedule) -> None:
        self._schedule = schedule
        self._seqs = {name: np.flatnonzero(schedule.flow == i) for i, name in enumerate(schedule.flows)}
        self._times = {name: schedule.at_s[seqs] for name, seqs in self._seqs.items()}
        self._next = dict.fromkeys(schedule.flows, 0)

    def take(self, flow: str) -> Arrival | None:
        """The flow's next arrival; None when all have been dealt."""
        place = self._next[flow]
        if place == len(self._seqs[flow]):
            return None
        self._next[flow] = place + 1
        seq = int(self._seqs[flow][place])
        return Arrival(seq, float(self._schedule.at_s[seq]), int(self._schedule.stage[seq]))

    def untaken_by(self, at_s: float) -> int:
        """How many arrivals that are meant to have come by this time nobody has taken."""
        taken = (min(self._next[flow], self._due_by(flow, at_s)) for flow in self._seqs)
        return self.due_by(at_s) - sum(taken)

    def _due_by(self, flow: str, at_s: float) -> int:
        return int(np.searchsorted(self._times[flow], at_s, side="right"))

    def due_between(self, flow: str, after_s: float, until_s: float) -> int:
        """How many of the flow's arrivals are meant to come after one time and not after another."""
        return self._due_by(flow, until_s) - self._due_by(flow, after_s)

    def due_by(self, at_s: float) -> int:
        """How many arrivals of all flows are meant to have come by this time."""
        return int(np.searchsorted(self._schedule.at_s, at_s, side="right"))


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
