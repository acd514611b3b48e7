"""When a job's status is asked for next."""

from __future__ import annotations

from dataclasses import dataclass

from loadtest.traffic.settings import Polling

KEPT_SHARE = 0.9
"""How much of the limit the `shared` policy plans with; the rest is for polls that fall together."""


@dataclass
class Crowd:
    """How many jobs in flight are asked for by the same operation, and so share its limit."""

    jobs: int = 0


class PollPacer:
    """Paces the polls of all jobs in flight together.

    Under the `shared` policy n jobs in flight are each asked for at most every n / `polls_per_s` seconds, so
    that all of them together stay within the limit however many there are.
    """

    def __init__(self, polling: Polling, polls_per_s: float, crowd: Crowd) -> None:
        self._polling = polling
        self.polls_per_s = polls_per_s
        self.crowd = crowd

    def gap_s(self, polls: int) -> float:
        """The time from one poll of a job to its next, when it has been polled this often."""
        polling = self._polling
        match polling.policy:
            case "fixed":
                return polling.every
            case "backoff":
                steps = min(polls, 200)
                return min(polling.at_most, polling.every * polling.factor**steps)
            case "shared":
                return max(polling.every, self.fair_gap_s())

    def fair_gap_s(self) -> float:
        """The least time between two polls of a job that leaves room for all others under the limit."""
        return self.crowd.jobs / (self.polls_per_s * KEPT_SHARE)
