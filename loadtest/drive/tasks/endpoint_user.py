"""The user class for locustfiles of one's own, and the numbers of its users."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from locust import User

from loadtest.drive.cluster.generator import GeneratorRun
from loadtest.drive.tasks.endpoint import Endpoint
from loadtest.drive.users import AnyUser

MAX_ERRORS = 50
"""How many different exceptions of tasks are listed; later ones are counted together."""


class UserNumbers:
    """The numbers of one process's users, by which the stages say when each works.

    Locust starts users class by class. Those that have registered before the first number is asked for are mixed, so
    that a ramp has all classes from its start on, in the proportion of their weights.
    """

    def __init__(self, next_number: Callable[[], int]) -> None:
        self._next_number = next_number
        self._waiting: list[User] = []
        self._numbers: dict[User, int] | None = None

    def register(self, user: User) -> None:
        """Add a user."""
        if self._numbers is None:
            self._waiting.append(user)
        else:
            self._numbers[user] = self._next_number()

    def number_of(self, user: User) -> int:
        """Return the number of a user that has registered."""
        if self._numbers is None:
            users_of = Counter(type(each) for each in self._waiting)
            before: Counter[type[User]] = Counter()
            places = []
            for each in self._waiting:
                places.append((before[type(each)] + 0.5) / users_of[type(each)])
                before[type(each)] += 1
            mixed = sorted(zip(places, self._waiting, strict=True), key=lambda entry: entry[0])
            self._numbers = {each: self._next_number() for _, each in mixed}
        return self._numbers[user]


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
        self.endpoint = Endpoint(part, number)
        try:
            super().run()
        finally:
            self.endpoint.close()

    @classmethod
    def begin(cls, part: GeneratorRun) -> None:
        """Let the users of this process begin with its part of a run."""
        EndpointUser.part = part
        EndpointUser.numbers = UserNumbers(part.jobs.register_user)


def count_task_error(errors: Counter[str], exception: BaseException, locustfiles: list[str]) -> None:
    """Count an exception by its class and its place in the locustfiles, without its text, which may hold a key."""
    places = []
    trace = exception.__traceback__
    while trace is not None:
        places.append((Path(trace.tb_frame.f_code.co_filename), trace.tb_lineno))
        trace = trace.tb_next
    own = {Path(file).resolve() for file in locustfiles}
    place = next((each for each in reversed(places) if each[0].resolve() in own), places[-1] if places else None)
    text = type(exception).__name__ + ("" if place is None else f" at {place[0].name}:{place[1]}")
    errors[text if text in errors or len(errors) < MAX_ERRORS else "other exceptions"] += 1
