"""When a job's status is asked for next."""

from __future__ import annotations

import math
from dataclasses import dataclass

from loadtest.protocol.operations import STATUS_SYNC_WAIT
from loadtest.traffic.settings import Polling

LIMIT_HEADROOM = 0.9
"""How much of the limit the `shared` policy plans with; the rest is for polls that fall together."""


@dataclass
class PollGroup:
    """How many jobs in flight are asked for by the same operation, and so share its limit."""

    jobs: int = 0


@dataclass
class LongPolls:
    """The requests of a process whose answers are held until a job ends: how many there are, and may be at once.

    `lacking` says that the endpoint was found to have no `/status-sync`.
    """

    held: int = 0
    max_held: float = math.inf
    unsupported: bool = False


class PollPacer:
    """Paces the polls of all jobs in flight together.

    Under the `shared` policy n jobs in flight are each asked for at most every n / `polls_per_s` seconds, so
    that all of them together stay within the limit however many there are.
    """

    def __init__(self, polling: Polling, polls_per_s: float, crowd: PollGroup, long: LongPolls | None = None) -> None:
        self._polling = polling
        self.polls_per_s = polls_per_s
        self.crowd = crowd
        self.long = (long or LongPolls()) if polling.policy == "long" else None

    def interval_s(self, polls: int) -> float:
        """The time from one poll of a job to its next, when it has been polled this often."""
        polling = self._polling
        match polling.policy:
            case "fixed":
                return polling.every
            case "backoff":
                steps = min(polls, 200)
                return min(polling.max_interval, polling.every * polling.factor**steps)
            case "shared" | "long":
                return max(polling.every, self.fair_interval_s())

    def long_poll_s(self, left_s: float) -> float:
        """How long the next answer may be held, of a job whose client has patience for `left_s`; 0 for not at all."""
        long = self.long
        if long is None or long.unsupported or long.held >= long.max_held or left_s * 1000 < STATUS_SYNC_WAIT.min_ms:
            return 0.0
        return min(left_s, STATUS_SYNC_WAIT.max_ms / 1000)

    def fair_interval_s(self) -> float:
        """The least time between two polls of a job that leaves room for all others under the limit."""
        return self.crowd.jobs / (self.polls_per_s * LIMIT_HEADROOM)
