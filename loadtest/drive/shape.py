"""The load shape: as many users as the stages of the scenario, and the jobs in flight, need."""

from __future__ import annotations

import math

from locust import LoadTestShape

from loadtest.drive.jobs import LOOK_AHEAD_S, SPARE_USERS
from loadtest.drive.lead import Lead
from loadtest.drive.options import Plan
from loadtest.drive.users import USER_CLASSES
from loadtest.record.run import Ending
from loadtest.scenario.model import Scenario
from loadtest.traffic.deal import closed_users
from loadtest.traffic.settings import ClosedLoad, OpenLoad


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
        """A run begins, or has ended."""
        self.lead = lead
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
            return sum(closed_users(load, self._plan.scenario.share(flow)) for flow in self._plan.scenario.flows)
        needed = lead.needed_users() if lead is not None else self._first(load)
        return min(needed, load.most_in_flight)

    def _first(self, load: OpenLoad) -> int:
        """Before the run is on: users for what is due at once, and some to spare in each process."""
        assert self._plan.schedule is not None
        at_once = int((self._plan.schedule.at_s <= LOOK_AHEAD_S).sum())
        least = min(self._plan.scenario.share(flow) for flow in self._plan.scenario.flows)
        return at_once + math.ceil(SPARE_USERS * self._plan.processes / least)


def prepare_user_classes(scenario: Scenario) -> list[type]:
    """The user classes of a scenario's flows, with their share of all users."""
    classes = []
    for flow in scenario.flows:
        user_class = USER_CLASSES[flow]
        user_class.weight = scenario.share(flow)
        if isinstance(scenario.load, ClosedLoad):
            user_class.fixed_count = closed_users(scenario.load, scenario.share(flow))
        classes.append(user_class)
    return classes
