"""The Locust users: slots that carry jobs out; a class a flow, and one for scenarios that mix them."""

from __future__ import annotations

from typing import ClassVar

from gevent.event import Event
from locust import User, task
from locust.exception import StopUser
from locust.user.task import LOCUST_STATE_STOPPING

from loadtest.drive.dispatcher import JobDispatcher
from loadtest.scenario.flows import FlowName
from loadtest.scenario.model import Scenario


class JobUser(User):
    """A slot: it takes the next job, drives it to its end, and takes the next."""

    abstract = True
    jobs: ClassVar[JobDispatcher]
    """The jobs of the run that is on; the same for all users."""
    run_started: ClassVar[Event] = Event()
    """Set while there is a run whose jobs can be carried out."""

    def on_start(self) -> None:
        """Come in, and be counted; in a process that has just joined, the run may still have to begin."""
        self.run_started.wait()
        self._number = self.jobs.register_user()

    def stop(self, force: bool = False) -> bool:
        """A user that Locust takes away ends its job first, unless the run is over."""
        under_way = self.run_started.is_set() and not self.jobs.finished.is_set()
        return bool(super().stop(force=force and not under_way))

    def wait_time(self) -> float:
        """Think, in the closed model; seconds."""
        return self.jobs.think_time_s()

    @task
    def run_jobs(self) -> None:
        """Carry out jobs; when none is left, wait for the end of the run.

        A pause between two jobs and the stopping of a user are left to Locust. Where there is neither, the
        next job begins at once: by way of Locust it would begin later by about what a request costs.
        """
        while self.jobs.run_next(self._number):
            if self.jobs.has_think_time or self._state == LOCUST_STATE_STOPPING:
                return
        self.jobs.finished.wait()
        raise StopUser


class RunUser(JobUser):
    """POST /run, then polls /status."""


class RunsyncUser(JobUser):
    """POST /runsync."""


class StreamUser(JobUser):
    """POST /run, then reads /stream."""


class WebhookUser(JobUser):
    """POST /run, then waits until its webhook is called."""


class MixedUser(JobUser):
    """Each job by the flow that the schedule, or its share of the users, gives it."""


_CLASSES: dict[FlowName, type[JobUser]] = {
    "run": RunUser,
    "runsync": RunsyncUser,
    "stream": StreamUser,
    "webhook": WebhookUser,
}


def user_class(scenario: Scenario) -> type[JobUser]:
    """The class of a scenario's users."""
    flows = list(scenario.flows)
    return _CLASSES[flows[0]] if len(flows) == 1 else MixedUser
