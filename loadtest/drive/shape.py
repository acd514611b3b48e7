"""The load shape: as many users as the stages of the scenario, and the jobs in flight, need."""

from __future__ import annotations

import gevent
from locust import LoadTestShape

from loadtest.drive.jobs import LOOK_AHEAD_S, SPARE_USERS
from loadtest.drive.lead import Lead
from loadtest.drive.options import Plan
from loadtest.record.run import Ending
from loadtest.traffic.deal import closed_users
from loadtest.traffic.settings import ClosedLoad

TICK_S = 1.0
"""Locust asks so often; what a tick takes itself is taken off its pause."""
LOOKS_A_TICK = 10


class StagesShape(LoadTestShape):
    """Tells Locust how many users to have; it never takes one away, since a user may be carrying a job.

    Open model: users for all jobs in flight and all arrivals of the next seconds. Closed model: as many as
    the fullest stage wants, each of which works when the stages want it.
    """

    abstract = True

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self._plan = plan
        self._users = 0
        self._spawn_rate = 1.0
        self.lead: Lead | None = None

    def lead_by(self, lead: Lead | None) -> None:
        """A run begins, or has ended.

        Until a run that begins is on, `tick` must say what it said before: at anything else Locust starts anew, and
        kills the greenlet that starts the run, which on a busy machine waits longer than a second for its endpoint.
        """
        self.lead = lead
        if lead is None:
            self._users = 0

    def tick(self) -> tuple[int, float] | None:
        """The number of users and how many to start a second; None when the run is over."""
        lead = self.lead
        if lead is not None and self._is_over_within_the_tick(lead):
            lead.stop(Ending.COMPLETE)
            return None
        if lead is None or lead.begun:
            wanted = self._wanted(lead)
            if wanted > self._users:
                self._spawn_rate = float(wanted - self._users)
                self._users = wanted
        return self._users, self._spawn_rate

    def _is_over_within_the_tick(self, lead: Lead) -> bool:
        """Look more often than Locust asks, so that nobody waits for a run that is over."""
        for _ in range(LOOKS_A_TICK):
            if lead.is_over():
                return True
            gevent.sleep(TICK_S / LOOKS_A_TICK)
        return lead.is_over()

    def _wanted(self, lead: Lead | None) -> int:
        load = self._plan.scenario.load
        if isinstance(load, ClosedLoad):
            return closed_users(load)
        needed = lead.needed_users() if lead is not None else self._first()
        return min(needed, load.most_in_flight)

    def _first(self) -> int:
        """Before the run is on: users for what is due at once, and some to spare in each process."""
        assert self._plan.schedule is not None
        return int((self._plan.schedule.at_s <= LOOK_AHEAD_S).sum()) + SPARE_USERS * self._plan.processes
