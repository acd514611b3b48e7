"""Locust's own statistics, updated in batches: request by request they would cost as much as the requests."""

from __future__ import annotations

import time
from array import array
from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
from locust.env import Environment
from locust.runners import Runner
from locust.stats import RequestStats, StatsEntry, StatsError
from numpy.typing import NDArray

from loadtest.flows.steps import Response
from loadtest.record.recorder import EndedJob
from loadtest.record.sample import Outcome, Sample

JOB = "JOB"
"""The method under which Locust's page lists the times of jobs, next to those of requests."""
MAX_ERRORS = 200
"""How many different errors are listed; an error's text may hold what differs from job to job."""

_STEP_EDGES_MS = np.array([100.0, 1000.0, 10_000.0])
_STEPS_MS = np.array([1.0, 10.0, 100.0, 1000.0])

Times: TypeAlias = "defaultdict[tuple[str, str], tuple[array[float], array[int]]]"
"""For each name and method: times in milliseconds, and bytes."""


class RequestFailed(Exception):
    """The failure of a request, as Locust shows it."""


class BatchedLocustStats:
    """Locust's statistics of the requests and jobs of a process, which `flush` adds in one batch.

    If only Locust's own listener listens to the event of a request, the request is counted here, as that listener
    would: firing the event costs several times as much. Jobs have entries of their own, and no events.
    """

    def __init__(self, environment: Environment) -> None:
        self._event = environment.events.request
        self._of_locust = [
            each for each in self._event._handlers if getattr(each, "__module__", None) == Runner.__module__
        ]
        self._stats: RequestStats = environment.stats
        self._errors: set[str] = set()
        self._pending: Times = defaultdict(_columns)
        # Locust's listener calls these two.
        self._stats.log_request = self.log_request  # type: ignore[method-assign]
        self._stats.log_error = self.log_error  # type: ignore[method-assign]

    def request_done(self, method: str, name: str, response: Response) -> None:
        """Count a request, and fire Locust's event for it if anyone else listens."""
        status, body = response.status, response.body
        time_ms = (response.answered_at - response.sent_at) * 1000
        error = None
        if not 0 < status < 400:
            error = RequestFailed(f"HTTP {status}" if status else response.error)
        if self._event._handlers == self._of_locust:
            self.log_request(method, name, time_ms, len(body))
            if error is not None:
                self.log_error(method, name, error)
        else:
            self._event.fire(
                request_type=method,
                name=name,
                response_time=time_ms,
                response_length=len(body),
                exception=error,
                context={},
            )

    def log_request(self, method: str, name: str, response_time: float, content_length: int) -> None:
        """Count one more request of this method and name, with its time in milliseconds and its bytes."""
        times, sizes = self._pending[name, method]
        times.append(response_time)
        sizes.append(content_length)

    def log_error(self, method: str, name: str, error: Exception | str | None) -> None:
        """Count a failed request; after MAX_ERRORS different errors, new ones are listed as one."""
        RequestStats.log_error(self._stats, method, name, self._listed(error))

    def _log_job_error(self, name: str, error: Exception) -> None:
        """Count a failed job, without adding it to the failed requests."""
        listed = self._listed(error)
        self._stats.entries[name, JOB].log_error(listed)
        key = StatsError.create_key(JOB, name, listed)
        self._stats.errors.setdefault(key, StatsError(JOB, name, listed)).occurred()

    def _listed(self, error: Exception | str | None) -> Exception | str | None:
        """Return the error under which an error is listed."""
        text = str(error)
        if text not in self._errors:
            if len(self._errors) >= MAX_ERRORS:
                return RequestFailed("other errors")
            self._errors.add(text)
        return error

    def add_jobs(self, ended: Sequence[EndedJob]) -> None:
        """Add jobs that are over: end-to-end time, delay, execution, first chunk, and the gaps between chunks."""
        for flow in {job.flow for job, _ in ended}:
            jobs = [job for job, _ in ended if job.flow == flow]
            self._add_flow(flow, [job for job in jobs if job.finished_at is not None])
        completed = Outcome.COMPLETED
        for job, chunks_seen in ended:
            if job.finished_at is not None and job.outcome != completed:
                self._log_job_error(f"{job.flow} end-to-end", RequestFailed(f"{job.outcome}: {job.error or ''}"))
            if chunks_seen:
                self._add(
                    f"{job.flow} chunk gap", [(after.at - seen.at) * 1000 for seen, after in pairwise(chunks_seen)]
                )

    def _add_flow(self, flow: str, jobs: list[Sample]) -> None:
        end_to_end = f"{flow} end-to-end"
        self._add(end_to_end, [(at - job.intended_at) * 1000 for job in jobs if (at := job.finished_at) is not None])
        self._add(f"{flow} delay", [ms for job in jobs if (ms := job.delay_ms) is not None])
        self._add(f"{flow} execution", [ms for job in jobs if (ms := job.execution_ms) is not None])
        first_ms = [(at - job.intended_at) * 1000 for job in jobs if (at := job.first_chunk_at) is not None]
        self._add(f"{flow} first chunk", first_ms)
        if jobs:
            self._pending[end_to_end, JOB][1].extend([job.response_bytes for job in jobs])

    def _add(self, name: str, times_ms: Sequence[float]) -> None:
        if times_ms:
            self._pending[name, JOB][0].extend(times_ms)

    def flush(self) -> None:
        """Add the batch, each name and method as one entry, which Locust adds up like a worker's report.

        Locust shows the total as requests, and their rate, so jobs do not enter it.
        """
        pending, self._pending = self._pending, defaultdict(_columns)
        now = time.time()
        for (name, method), (times, sizes) in pending.items():
            batch = _entry(self._stats, name, method, times, sizes, now)
            self._stats.entries[name, method].extend(batch)
            if method != JOB:
                self._stats.total.extend(batch)


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
