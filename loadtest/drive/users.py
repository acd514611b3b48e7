"""The Locust users: one class per flow, and one for scenarios that mix flows."""

from __future__ import annotations

from typing import ClassVar

from gevent.event import Event
from locust import User, task
from locust.exception import StopUser
from locust.user.task import LOCUST_STATE_STOPPING

from loadtest.drive.dispatcher import JobDispatcher
from loadtest.scenario.flows import FlowName
from loadtest.scenario.model import Scenario


class AnyUser(User):
    """A user of a run: it works while there is one, and stops with it."""

    abstract = True
    jobs: ClassVar[JobDispatcher]
    """The jobs of the current run, the same for all users."""
    run_started: ClassVar[Event] = Event()
    """Set while there is a run."""

    def stop(self, force: bool = False) -> bool:
        """Stop once the current job has ended; if the run is over, once the last submissions have their responses."""
        running = self.run_started.is_set() and not self.jobs.finished.is_set()
        if force and hasattr(self, "jobs") and self.jobs.finished.is_set():
            self.jobs.wait_for_answers()
        return bool(super().stop(force=force and not running))

    def wait_time(self) -> float:
        """Return the think time of the closed model, in seconds."""
        return self.jobs.think_time_s()


class JobUser(AnyUser):
    """A user that runs one job after another."""

    abstract = True

    def on_start(self) -> None:
        """Wait until the run begins, as a process that has just connected must, and take a number."""
        self.run_started.wait()
        self._number = self.jobs.register_user()

    @task
    def run_jobs(self) -> None:
        """Run jobs; when none is left, wait for another share of them, or for the end of the run.

        Locust sees to the pause between two jobs, and to the stop of a user. Without either, the next job begins at
        once: through Locust it would begin later by about the cost of a request.
        """
        while self.jobs.run_next(self._number) or self.jobs.wait_for_change():
            if self.jobs.has_think_time or self._state == LOCUST_STATE_STOPPING:
                return
        raise StopUser


class RunUser(JobUser):
    """POST /run, then polls /status."""


class RunsyncUser(JobUser):
    """POST /runsync."""


class StreamUser(JobUser):
    """POST /run, then reads /stream."""


class WebhookUser(JobUser):
    """POST /run, then waits until its webhook is called."""


class OpenAIUser(JobUser):
    """POST /openai/v1/..., then reads its response as it comes."""


class MixedUser(JobUser):
    """Each job by the flow that the schedule, or the user's number, assigns to it."""


_CLASSES: dict[FlowName, type[JobUser]] = {
    "run": RunUser,
    "runsync": RunsyncUser,
    "stream": StreamUser,
    "webhook": WebhookUser,
    "openai": OpenAIUser,
}


def user_class(scenario: Scenario) -> type[JobUser]:
    """Return the class of a scenario's users."""
    flows = list(scenario.flows)
    return _CLASSES[flows[0]] if len(flows) == 1 else MixedUser
