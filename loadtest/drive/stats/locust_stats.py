"""Locust's own statistics, told in batches: one by one they would cost as much as the requests themselves."""

from __future__ import annotations

import time
from array import array
from collections import defaultdict
from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
from locust.env import Environment
from locust.stats import RequestStats, StatsEntry
from numpy.typing import NDArray

from loadtest.record.sample import Outcome, Sample

JOB = "JOB"
"""The kind under which Locust's page lists what belongs to a job and not to one request."""
BATCH = 500
"""So many requests are held back at the most."""

_STEP_EDGES_MS = np.array([100.0, 1000.0, 10_000.0])
_STEPS_MS = np.array([1.0, 10.0, 100.0, 1000.0])

Times: TypeAlias = "defaultdict[tuple[str, str], tuple[array[float], array[int]]]"
"""For each name and method: times in milliseconds, and bytes."""


class RequestFailed(Exception):
    """What Locust shows as the failure of a request."""


class BatchedLocustStats:
    """Takes the place of `log_request` of an environment's statistics, and tells them later what it was told.

    Every request is still an event. Only what Locust itself makes of it, on two of its entries, waits for
    its batch or for `tell`; so do the entries of jobs, which are no requests and no events. `soon` is how a full
    batch comes to be told.
    """

    def __init__(self, environment: Environment, soon: Callable[[Callable[[], None]], object]) -> None:
        self._run_on_loop = soon
        self._stats: RequestStats = environment.stats
        self._pending: Times = defaultdict(_columns)
        self._left = BATCH
        # Locust's runner calls this very method, and has no other place where one could stand between.
        self._stats.log_request = self.log_request  # type: ignore[method-assign]
        environment.events.test_stop.add_listener(self._stopped)

    def log_request(self, method: str, name: str, response_time: float, content_length: int) -> None:
        """As Locust's: one more request of this method and name, with its time in milliseconds and its bytes."""
        times, sizes = self._pending[name, method]
        times.append(response_time)
        sizes.append(content_length)
        self._left -= 1
        if self._left == 0:
            self._run_on_loop(self.flush)

    def add_jobs(self, samples: list[Sample]) -> None:
        """Jobs that are over: end-to-end, delay, execution and first chunk become entries beside their requests."""
        ended = [sample for sample in samples if sample.finished_at is not None]
        for flow in {sample.flow for sample in ended}:
            _add_jobs(self._pending, flow, [sample for sample in ended if sample.flow == flow])
        for sample in ended:
            if sample.outcome != Outcome.COMPLETED:
                error = RequestFailed(f"{sample.outcome}: {sample.error or ''}")
                self._stats.log_error(JOB, f"{sample.flow} end-to-end", error)

    def add_chunks(self, flow: str, seen_at: list[float]) -> None:
        """The gaps between the chunks of a streamed job become entries too."""
        for before, after in pairwise(seen_at):
            self.log_request(JOB, f"{flow} chunk gap", (after - before) * 1000, 0)

    def flush(self) -> None:
        """Hand over what is held, each name and method as one entry that Locust adds up like a worker's report."""
        held, self._pending = self._pending, defaultdict(_columns)
        self._left, now = BATCH, time.time()
        for (name, method), (times, sizes) in held.items():
            batch = _entry(self._stats, name, method, times, sizes, now)
            self._stats.entries[name, method].extend(batch)
            self._stats.total.extend(batch)

    def _stopped(self, **_: Any) -> None:
        self.flush()


def _columns() -> tuple[array[float], array[int]]:
    return array("d"), array("q")


def _add_jobs(held: Times, flow: str, jobs: list[Sample]) -> None:
    ended = [(each, each.finished_at) for each in jobs if each.finished_at is not None]
    _add(held, f"{flow} end-to-end", [(at - each.intended_at) * 1000 for each, at in ended])
    held[f"{flow} end-to-end", JOB][1].extend(each.response_bytes for each in jobs)
    _add(held, f"{flow} delay", [each.delay_ms for each in jobs])
    _add(held, f"{flow} execution", [each.execution_ms for each in jobs])
    first = [(each, each.first_chunk_at) for each in jobs if each.first_chunk_at is not None]
    _add(held, f"{flow} first chunk", [(at - each.intended_at) * 1000 for each, at in first])


def _add(held: Times, name: str, times_ms: Iterable[float | None]) -> None:
    there = [each for each in times_ms if each is not None]
    if there:
        held[name, JOB][0].extend(there)


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
    """How many times fall on each of Locust's marks: two significant digits, whole milliseconds below 100."""
    steps_ms = _STEPS_MS[np.searchsorted(_STEP_EDGES_MS, times_ms, side="right")]
    marks, counts = np.unique(np.rint(times_ms / steps_ms) * steps_ms, return_counts=True)
    return dict(zip(marks.astype(np.int64).tolist(), counts.tolist(), strict=True))
