"""The jobs that one worker has at once, each at the speed that their number allows (generalised processor sharing).

All jobs of a worker progress alike, so one clock of attained work is enough: a job ends when the clock has moved on
by its work (Kleinrock 1976, Queueing Systems II, section 4.4). With n jobs the clock runs at 1 / slowdown(n).
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence

from loadtest.endpoint.job import Job


class ProcessorSharing:
    """The jobs of one worker; `slowdown[n]` is how many times as long each of n jobs takes as one alone."""

    __slots__ = ("_at", "_attained_s", "_heap", "_order", "_slowdown")

    def __init__(self, slowdown: Sequence[float]) -> None:
        self._slowdown = slowdown
        self._heap: list[
            tuple[float, int, float, Job]
        ] = []  # the clock at its end, its number, the clock at its start
        self._order = 0
        self._attained_s = 0.0
        self._at = 0.0

    def __repr__(self) -> str:
        return f"<ProcessorSharing {len(self._heap)} jobs, {self._attained_s:.3f} s attained at {self._at:.3f}>"

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, job: Job, work_s: float, now: float) -> None:
        """Begin a job that takes `work_s` seconds alone."""
        self._advance(now)
        self._order += 1
        attained_s = self._attained_s
        heapq.heappush(self._heap, (attained_s + work_s, self._order, attained_s, job))

    def next_end_at(self) -> float:
        """Return when the next job ends if the jobs stay the same; there must be one."""
        heap = self._heap
        left_s = heap[0][0] - self._attained_s
        return self._at + left_s * self._slowdown[len(heap)] if left_s > 0 else self._at

    def pop(self, now: float) -> Job:
        """Remove and return the job that ends now, as `next_end_at` said."""
        ends_s, _, _, job = heapq.heappop(self._heap)
        self._attained_s, self._at = ends_s, now
        return job

    def remove(self, job: Job, now: float) -> None:
        """Remove a job before its end."""
        self._advance(now)
        self._heap = [each for each in self._heap if each[3] is not job]
        heapq.heapify(self._heap)

    def update_chunks(self) -> None:
        """Set the times of all chunks that are still to come, for the present number of jobs."""
        slowdown = self._slowdown[len(self._heap)] if self._heap else 1.0
        for _, _, started_s, job in self._heap:
            if job.chunk_at is not None and job.chunk_offsets_s is not None:
                left_s = job.chunk_offsets_s - (self._attained_s - started_s)
                coming = left_s > 0
                job.chunk_at[coming] = self._at + left_s[coming] * slowdown

    def _advance(self, now: float) -> None:
        heap = self._heap
        if heap:
            self._attained_s += (now - self._at) / self._slowdown[len(heap)]
        else:
            self._attained_s = 0.0
        self._at = now
