"""The users of tasks in one process: the number of each, and the exceptions that ended their tasks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

MAX_ERRORS = 50
"""How many different exceptions of tasks are listed; later ones are counted together."""


class UserNumbers:
    """The numbers of one process's users, by which the stages say when each works.

    Locust starts users class by class. Those that have registered before the first number is asked for are mixed, so
    that a ramp has all classes from its start on, in the proportion of their weights.
    """

    def __init__(self, next_number: Callable[[], int]) -> None:
        self._next_number = next_number
        self._waiting: list[object] = []
        self._numbers: dict[object, int] | None = None

    def register(self, user: object) -> None:
        """Add a user."""
        if self._numbers is None:
            self._waiting.append(user)
        else:
            self._numbers[user] = self._next_number()

    def number_of(self, user: object) -> int:
        """Return the number of a user that has registered."""
        if self._numbers is None:
            users_of = Counter(type(each) for each in self._waiting)
            before: Counter[type[object]] = Counter()
            places = []
            for each in self._waiting:
                places.append((before[type(each)] + 0.5) / users_of[type(each)])
                before[type(each)] += 1
            mixed = sorted(zip(places, self._waiting, strict=True), key=lambda entry: entry[0])
            self._numbers = {each: self._next_number() for _, each in mixed}
        return self._numbers[user]


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
