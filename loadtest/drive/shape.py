"""The load shape: as many users as the stages of the scenario, and the jobs in flight, need."""

from __future__ import annotations

from locust import LoadTestShape

from loadtest.drive.jobs import LOOK_AHEAD_S, SPARE_USERS
from loadtest.drive.lead import Lead
from loadtest.drive.options import Plan
from loadtest.record.run import Ending
from loadtest.traffic.deal import closed_users
from loadtest.traffic.settings import ClosedLoad


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

        While it begins the number of users stays what it was: another would have Locust break off its own start, and
        with it the run's, in the middle.
        """
        self.lead = lead
        if lead is None:
            self._users = 0

    def tick(self) -> tuple[int, float] | None:
        """The number of users and how many to start a second; None when the run is over."""
        lead = self.lead
        if lead is not None and lead.is_over():
            lead.stop(Ending.COMPLETE)
            return None
        if lead is None or lead.begun:
            wanted = self._wanted(lead)
            if wanted > self._users:
                self._spawn_rate = float(wanted - self._users)
                self._users = wanted
        return self._users, self._spawn_rate

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
