"""What the hostile endpoint has seen: the submissions and jobs, the requests of each operation, the faults met."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

from tests.hostile.replies import Learns


@dataclass
class TakenJob:
    """A job that the endpoint has taken; times in epoch seconds. `tag` is the input, which no other job has."""

    tag: str
    job_id: Any
    taken_at: float
    ends_at: float
    fails: bool = False
    cancelled_at: float = math.inf
    gone_at: float = math.inf
    """When it was first answered that there is no such job."""

    @property
    def execution_ms(self) -> int:
        """Return how long it is executed, in milliseconds."""
        return round((self.ends_at - self.taken_at) * 1000)

    def is_over(self, now: float) -> bool:
        """Return whether it has ended, was cancelled or is gone."""
        return now >= min(self.ends_at, self.cancelled_at, self.gone_at)

    def document(self, now: float) -> dict[str, Any]:
        """Return the job as a response shows it."""
        shown: dict[str, Any] = {"id": self.job_id, "delayTime": 0, "workerId": "t8tnuv6d4x7xm8"}
        if now >= self.cancelled_at:
            return shown | {"status": "CANCELLED"}
        if now < self.ends_at:
            return shown | {"status": "IN_PROGRESS"}
        shown |= {"executionTime": self.execution_ms}
        if self.fails:
            return shown | {"status": "FAILED", "error": f"out of memory in job {self.job_id}"}
        return shown | {"status": "COMPLETED", "output": {"text": "done", "input_tokens": 3, "output_tokens": 5}}


@dataclass
class Submission:
    """A submission that has arrived; `delivered` says whether its whole answer could be written.

    `status` is that of the answer, 0 if the answer has none.
    """

    at: float
    learns: Learns
    delivered: bool = False
    status: int = 0


@dataclass
class Ledger:
    """The endpoint's own account of a run; times in epoch seconds."""

    jobs: list[TakenJob] = field(default_factory=list)
    submissions: dict[str, list[Submission]] = field(default_factory=lambda: defaultdict(list))
    requests: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    """When the requests of each operation arrived."""
    closed: list[float] = field(default_factory=list)
    """When the endpoint closed connections: a request that was just going out on one is lost."""
    most_at_once: Counter[str] = field(default_factory=Counter)
    met: Counter[str] = field(default_factory=Counter)
    """How often each misbehaviour was met."""
    strange: list[str] = field(default_factory=list)
    """Requests that no client may send."""
    good_polls: dict[str, float] = field(default_factory=dict)
    """When a poll of each job was last answered as it should be, by tag."""
    seen_final: dict[str, float] = field(default_factory=dict)
    """When the end of each job was first answered, by tag."""
    _at_once: Counter[str] = field(default_factory=Counter)

    def begin(self, operation: str, at: float) -> None:
        """Count a request that has arrived."""
        self.requests[operation].append(at)
        self._at_once[operation] += 1
        self.most_at_once[operation] = max(self.most_at_once[operation], self._at_once[operation])

    def end(self, operation: str) -> None:
        """End the count of a request, answered or not."""
        self._at_once[operation] -= 1

    def show(self, job: TakenJob, now: float) -> None:
        """Note that a job is answered as it is."""
        self.good_polls[job.tag] = now
        if now >= min(job.ends_at, job.cancelled_at):
            self.seen_final.setdefault(job.tag, now)

    def by_tag(self) -> dict[str, list[TakenJob]]:
        """Return the jobs taken for each input."""
        found: dict[str, list[TakenJob]] = defaultdict(list)
        for job in self.jobs:
            found[job.tag].append(job)
        return found
