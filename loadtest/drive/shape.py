"""The load shape: as many users as the stages of the scenario, and the jobs in flight, need."""

from __future__ import annotations

import gevent
from locust import LoadTestShape

from loadtest.drive.cluster.master import Master
from loadtest.drive.job_sources import LOOK_AHEAD_S, SPARE_USERS
from loadtest.drive.options import RunConfig
from loadtest.record.run import Ending
from loadtest.traffic.partition import max_users
from loadtest.traffic.settings import ClosedLoad

TICK_S = 1.0
"""Locust asks so often; what a tick takes itself is taken off its pause."""
CHECKS_PER_TICK = 10


class StagesShape(LoadTestShape):
    """Tells Locust how many users to have; it never takes one away, since a user may be carrying a job.

    Open model: users for all jobs in flight and all arrivals of the next seconds. Closed model: as many as
    the fullest stage wants, each of which works when the stages want it.
    """

    abstract = True

    def __init__(self, plan: RunConfig) -> None:
        super().__init__()
        self._plan = plan
        self._users = 0
        self._spawn_rate = 1.0
        self.master: Master | None = None

    def attach(self, master: Master | None) -> None:
        """A run begins, or has ended.

        Until a run that begins is on, `tick` must say what it said before: at anything else Locust starts anew, and
        kills the greenlet that starts the run, which on a busy machine waits longer than a second for its endpoint.
        """
        self.master = master
        if master is None:
            self._users = 0

    def tick(self) -> tuple[int, float] | None:
        """The number of users and how many to start a second; None when the run is over."""
        master = self.master
        if master is not None and self._is_over_within_the_tick(master):
            master.stop(Ending.COMPLETE)
            return None
        if master is None or master.begun:
            wanted = self._wanted(master)
            if wanted > self._users:
                self._spawn_rate = float(wanted - self._users)
                self._users = wanted
        return self._users, self._spawn_rate

    def _is_over_within_the_tick(self, master: Master) -> bool:
        """Look more often than Locust asks, so that nobody waits for a run that is over."""
        for _ in range(CHECKS_PER_TICK):
            if master.is_over():
                return True
            gevent.sleep(TICK_S / CHECKS_PER_TICK)
        return master.is_over()

    def _wanted(self, master: Master | None) -> int:
        load = self._plan.scenario.load
        if isinstance(load, ClosedLoad):
            return max_users(load)
        needed = master.needed_users() if master is not None else self._initial_users()
        return min(needed, load.max_in_flight)

    def _initial_users(self) -> int:
        """Before the run is on: users for what is due at once, and some to spare in each process."""
        assert self._plan.schedule is not None
        return int((self._plan.schedule.at_s <= LOOK_AHEAD_S).sum()) + SPARE_USERS * self._plan.processes
