"""The user class for locustfiles of one's own."""

from __future__ import annotations

from typing import ClassVar

from locust.exception import StopUser

from loadtest.drive.cluster.generator import GeneratorRun
from loadtest.drive.tasks.endpoint import Endpoint
from loadtest.drive.tasks.users import UserNumbers
from loadtest.drive.users import AnyUser


class EndpointUser(AnyUser):
    """A user whose tasks submit jobs: `self.endpoint.run(input)`, `.runsync`, `.stream`, `.openai`.

    Write your own class of it in a locustfile, with `@task`, `wait_time`, `weight`, `on_start` as in Locust.
    """

    abstract = True
    part: ClassVar[GeneratorRun]
    """This process's part of the current run."""
    numbers: ClassVar[UserNumbers]
    endpoint: Endpoint
    """The endpoint; there from `on_start` on."""

    # Locust calls it final; its own hook, on_start, belongs to the classes of a locustfile.
    def run(self) -> None:  # type: ignore[misc]
        """Wait until the run begins and the stages let this user work, then run its tasks."""
        self.run_started.wait()
        part, numbers = self.part, self.numbers
        numbers.register(self)
        part.clock.sleep_until(part.jobs.starts_at)
        number = numbers.number_of(self)
        while not part.jobs.closed_source.await_work(number):
            if not part.jobs.wait_for_change():
                return
        self.endpoint = Endpoint(part, number, StopUser)
        try:
            super().run()
        finally:
            self.endpoint.close()

    @classmethod
    def begin(cls, part: GeneratorRun) -> None:
        """Let the users of this process begin with its part of a run."""
        EndpointUser.part = part
        EndpointUser.numbers = UserNumbers(part.jobs.register_user)
