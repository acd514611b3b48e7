"""Locust's own statistics, updated in batches: request by request they would cost as much as the requests."""

from __future__ import annotations

import time
from array import array
from collections import defaultdict
from collections.abc import Callable
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
from gevent import get_hub
from locust.env import Environment
from locust.stats import RequestStats, StatsEntry
from numpy.typing import NDArray

from loadtest.flows.steps import Response
from loadtest.record.sample import Outcome, Sample

JOB = "JOB"
"""The method under which Locust's page lists the times of jobs, next to those of requests."""
BATCH = 500
"""The most requests that wait to be added."""
MAX_ERROR_TEXTS = 100
"""Locust keeps each distinct text of an error for ever; further ones are counted as OTHER_ERROR."""
OTHER_ERROR = "another error"

_STEP_EDGES_MS = np.array([100.0, 1000.0, 10_000.0])
_STEPS_MS = np.array([1.0, 10.0, 100.0, 1000.0])

Times: TypeAlias = "defaultdict[tuple[str, str], tuple[array[float], array[int]]]"
"""For each name and method: times in milliseconds, and bytes."""


def run_on_loop(work: Callable[[], None]) -> None:
    """Let the event loop do this next, on its own stack.

    Done by a user, it would leave that user's stack larger by some pages for the rest of the run; and there are
    thousands of users.
    """
    get_hub().loop.run_callback(work)


class RequestFailed(Exception):
    """The failure of a request, as Locust shows it."""


class BatchedLocustStats:
    """Fires Locust's event for each request, and adds requests and jobs to its statistics in batches.

    Its `log_request` replaces that of the environment's statistics. A batch is added when it is full, scheduled by
    `schedule`, or by `flush`. Jobs have entries of their own, and no events.
    """

    def __init__(
        self, environment: Environment, schedule: Callable[[Callable[[], None]], object] = run_on_loop
    ) -> None:
        self._schedule = schedule
        self._fire = environment.events.request.fire
        self._stats: RequestStats = environment.stats
        self._pending: Times = defaultdict(_columns)
        self._jobs: list[Sample] = []
        self._left = BATCH
        self._error_texts: set[str] = set()
        # Locust's runner calls this method from a closure that listens to the event: no other place is left to batch.
        self._stats.log_request = self.log_request  # type: ignore[method-assign]
        environment.events.test_stop.add_listener(self._stopped)

    def request_done(self, method: str, name: str, response: Response) -> None:
        """Fire Locust's event for a request."""
        status, failed = response.status, None
        if not 0 < status < 400:
            failed = self._failure(f"HTTP {status}" if status else f"{response.error}")
        self._fire(
            request_type=method,
            name=name,
            response_time=(response.answered_at - response.sent_at) * 1000,
            response_length=len(response.body),
            exception=failed,
            context={},
        )

    def log_request(self, method: str, name: str, response_time: float, content_length: int) -> None:
        """Count one more request of this method and name, with its time in milliseconds and its bytes."""
        times, sizes = self._pending[name, method]
        times.append(response_time)
        sizes.append(content_length)
        self._left -= 1
        if self._left == 0:
            self._schedule(self.flush)

    def add_job(self, sample: Sample, chunk_seen_at: list[float]) -> None:
        """Add a job that is over: its end-to-end time, delay, execution, first chunk, and the gaps of its chunks."""
        if sample.finished_at is not None:
            self._jobs.append(sample)
        for before, after in pairwise(chunk_seen_at):
            self.log_request(JOB, f"{sample.flow} chunk gap", (after - before) * 1000, 0)

    def flush(self) -> None:
        """Add the batch, each name and method as one entry, which Locust adds up like a worker's report."""
        self._add_jobs()
        pending, self._pending = self._pending, defaultdict(_columns)
        self._left, now = BATCH, time.time()
        for (name, method), (times, sizes) in pending.items():
            batch = _entry(self._stats, name, method, times, sizes, now)
            self._stats.entries[name, method].extend(batch)
            self._stats.total.extend(batch)

    def _add_jobs(self) -> None:
        ended, self._jobs = self._jobs, []
        for job in ended:
            assert job.finished_at is not None
            end_to_end = f"{job.flow} end-to-end"
            self._add_job_time(end_to_end, (job.finished_at - job.intended_at) * 1000)
            self._pending[end_to_end, JOB][1].append(job.response_bytes)
            self._add_job_time(f"{job.flow} delay", job.delay_ms)
            self._add_job_time(f"{job.flow} execution", job.execution_ms)
            if job.first_chunk_at is not None:
                self._add_job_time(f"{job.flow} first chunk", (job.first_chunk_at - job.intended_at) * 1000)
            if job.outcome != Outcome.COMPLETED:
                self._stats.log_error(JOB, end_to_end, self._failure(f"{job.outcome}: {job.error or ''}"))

    def _failure(self, text: str) -> RequestFailed:
        """Return the failure with this text, or with another's if there are too many texts already."""
        if text not in self._error_texts:
            if len(self._error_texts) >= MAX_ERROR_TEXTS:
                return RequestFailed(OTHER_ERROR)
            self._error_texts.add(text)
        return RequestFailed(text)

    def _add_job_time(self, name: str, time_ms: float | None) -> None:
        if time_ms is not None:
            self._pending[name, JOB][0].append(time_ms)

    def _stopped(self, **_: Any) -> None:
        self.flush()


def _columns() -> tuple[array[float], array[int]]:
    return array("d"), array("q")


def _entry(
    stats: RequestStats, name: str, method: str, times: array[float], sizes: array[int], now: float
) -> StatsEntry:
    entry = StatsEntry(stats, name, method)
    entry.num_requests = len(times)
    entry.num_reqs_per_sec = {int(now): len(times)}
    entry.last_request_timestamp = now
    entry.total_content_length = sum(sizes)
    times_ms = np.frombuffer(times)
    entry.response_times = _histogram(times_ms)
    # Locust's hints say whole milliseconds; it computes with any number.
    in_fractions: Any = entry
    in_fractions.total_response_time = float(times_ms.sum())
    in_fractions.min_response_time, in_fractions.max_response_time = float(times_ms.min()), float(times_ms.max())
    return entry


def _histogram(times_ms: NDArray[np.float64]) -> dict[int, int]:
    """Count times by Locust's rounding: two significant digits, whole milliseconds below 100."""
    steps_ms = _STEPS_MS[np.searchsorted(_STEP_EDGES_MS, times_ms, side="right")]
    marks, counts = np.unique(np.rint(times_ms / steps_ms) * steps_ms, return_counts=True)
    return dict(zip(marks.astype(np.int64).tolist(), counts.tolist(), strict=True))
