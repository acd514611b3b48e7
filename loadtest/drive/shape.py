"""The load shape: the number of users that the stages of the scenario and the jobs in flight need."""

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
"""How often Locust calls `tick`; it subtracts the time that the call takes."""
CHECKS_PER_TICK = 50


class StagesShape(LoadTestShape):
    """The number of users that Locust is to have. It never falls, since any user may be running a job.

    Open model: users for all jobs in flight and all arrivals of the next seconds. Closed model: the most users of any
    stage; each works when the stages say so.
    """

    abstract = True

    def __init__(self, config: RunConfig) -> None:
        super().__init__()
        self._config = config
        self._users = 0
        self._spawn_rate = 1.0
        self.master: Master | None = None

    def attach(self, master: Master | None) -> None:
        """Take the master of a run that begins; None once it has ended.

        Until the run has begun, `tick` must return the same as before: at any change Locust starts the users again,
        and kills the greenlet that starts the run, which may wait for its endpoint for seconds.
        """
        self.master = master
        if master is None:
            self._users = 0

    def tick(self) -> tuple[int, float] | None:
        """Return the number of users, and how many to start per second; None when the run is over."""
        master = self.master
        if master is not None and self._is_over_within_the_tick(master):
            master.stop(Ending.COMPLETE)
            return None
        if master is None or master.begun:
            needed = self._needed(master)
            if needed > self._users:
                self._spawn_rate = float(needed - self._users)
                self._users = needed
        return self._users, self._spawn_rate

    def _is_over_within_the_tick(self, master: Master) -> bool:
        """Return whether the run ends before the next tick, so that its end is seen at once."""
        for _ in range(CHECKS_PER_TICK):
            if master.is_over():
                return True
            gevent.sleep(TICK_S / CHECKS_PER_TICK)
        return master.is_over()

    def _needed(self, master: Master | None) -> int:
        load = self._config.scenario.load
        if isinstance(load, ClosedLoad):
            return max_users(load)
        if master is not None:
            return min(master.needed_users(), load.max_in_flight)
        # Users for the first arrivals, and some spare ones in each process.
        schedule = self._config.scenario.schedule()
        assert schedule is not None
        first = int((schedule.at_s <= LOOK_AHEAD_S).sum()) + SPARE_USERS * self._config.processes
        return min(first, load.max_in_flight)
