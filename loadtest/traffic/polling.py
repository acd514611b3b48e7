"""Polling policies: the time from one poll of a job to the next, and the polls that a job needs.

A new policy is its name in `settings.Polling` and its row in `POLICIES`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from loadtest.protocol.operations import STATUS_SYNC_WAIT
from loadtest.traffic.settings import Polling

LIMIT_HEADROOM = 0.9
"""The share of the limit that policies with `shares_limit` plan with; the rest is for polls that coincide."""
_MAX_POLLS = 1_000_000


@dataclass(frozen=True)
class PollingPolicy:
    """One policy: the planned interval in seconds after this many polls of a job, and how it behaves under load.

    With `shares_limit` the interval grows with the jobs in flight, so that all of them together keep to the limit.
    With `long_polls` a job is asked for by `/status-sync`, whose response the endpoint holds until the job ends.
    """

    interval_s: Callable[[Polling, int], float]
    shares_limit: bool = False
    long_polls: bool = False

    def expected_polls(self, polling: Polling, job_s: float) -> int:
        """Return how many polls see the end of a job of `job_s` seconds, above 0, if nothing queues."""
        if self.long_polls:
            return math.ceil(job_s / (STATUS_SYNC_WAIT.max_ms / 1000))
        polls, left_s = 1, job_s - self.interval_s(polling, 0)
        while left_s > 0 and polls < _MAX_POLLS:
            left_s -= self.interval_s(polling, polls)
            polls += 1
        return polls


def _constant(polling: Polling, polls: int) -> float:
    return polling.every


def _growing(polling: Polling, polls: int) -> float:
    return min(polling.max_interval, polling.every * polling.factor ** min(polls, 200))


POLICIES = {
    "fixed": PollingPolicy(_constant),
    "backoff": PollingPolicy(_growing),
    "shared": PollingPolicy(_constant, shares_limit=True),
    "long": PollingPolicy(_constant, shares_limit=True, long_polls=True),
}


@dataclass
class PollGroup:
    """The number of jobs in flight polled by one operation, which share its limit."""

    jobs: int = 0


@dataclass
class LongPolls:
    """The long polls of a process: how many are held open now, and how many may be at once.

    `unsupported` is set when the endpoint turns out to lack `/status-sync`.
    """

    held: int = 0
    max_held: float = math.inf
    unsupported: bool = False


class PollPacer:
    """Paces the polls of all jobs in flight together.

    If the policy shares the limit, each of n jobs in flight is polled at most every n / `polls_per_s` seconds, so
    that all of them together stay within the limit.
    """

    def __init__(self, polling: Polling, polls_per_s: float, group: PollGroup, long: LongPolls | None = None) -> None:
        self._polling = polling
        self._policy = POLICIES[polling.policy]
        self.polls_per_s = polls_per_s
        self.group = group
        self.long = (long or LongPolls()) if self._policy.long_polls else None

    @property
    def give_up_after_s(self) -> float:
        """Return how long all polls of a job may fail before it is given up."""
        return self._polling.give_up_after

    def interval_s(self, polls: int) -> float:
        """Return the time from one poll of a job to the next, after this many polls."""
        planned_s = self._policy.interval_s(self._polling, polls)
        return max(planned_s, self.fair_interval_s()) if self._policy.shares_limit else planned_s

    def long_poll_s(self, left_s: float) -> float:
        """Return how long the next response may be held, `left_s` before the job timeout; 0 for no long poll."""
        long = self.long
        if long is None or long.unsupported or long.held >= long.max_held or left_s * 1000 < STATUS_SYNC_WAIT.min_ms:
            return 0.0
        return min(left_s, STATUS_SYNC_WAIT.max_ms / 1000)

    def fair_interval_s(self) -> float:
        """Return the shortest interval between polls of a job that leaves room for all others under the limit."""
        return self.group.jobs / (self.polls_per_s * LIMIT_HEADROOM)
