"""Workers that always run and die of some jobs: a queue in which a replaced worker is away for its start.

It gives the times of `endpoint.batch` with a fraction of the work: a worker has one job at once, and none stops idle.
"""

from __future__ import annotations

import math
from heapq import heappop, heappush

import numpy as np

from loadtest.arrays import Floats
from loadtest.endpoint.distributions import sample_stream
from loadtest.endpoint.endpoint import drawn_failures, drawn_service_s, job_seeds, worker_seeds
from loadtest.endpoint.job import Job
from loadtest.endpoint.job_sampler import JobSampler, crashes
from loadtest.endpoint.settings import EndpointSettings
from loadtest.protocol.operations import Op


class MortalWorkers:
    """Jobs submitted at given times, in order; after `run` all have ended.

    Of each job `taken_at` and `ended_at` are those of its last try; `failed`, and `waited_for_start` of a worker. Of
    each worker `started_at`, `stopped_at` and `ready_at`. `longest_lost_s` is the longest try that a death ended.
    """

    def __init__(self, settings: EndpointSettings, seed: int, at_s: Floats) -> None:
        n, workers = len(at_s), settings.workers.active
        _, _, _, crash_seeds, retry_seeds = job_seeds(seed)
        _, cold_seeds, _ = worker_seeds(seed)
        service_s = drawn_service_s(settings.service_time, seed, n)
        shares = crashes(settings.crash_rate, np.random.default_rng(crash_seeds))
        self._at_s = at_s.tolist()
        self._work_s = service_s.tolist()
        self._dies_after_s = (np.array([next(shares) for _ in range(n)]) * service_s).tolist()
        self._retries, self._retry = JobSampler(settings, *retry_seeds.spawn(3)), Job("", Op.RUN, 0.0)
        self._cold_start_s = sample_stream(settings.cold_start, np.random.default_rng(cold_seeds))
        self._pause = settings.take_pause if settings.take_pause.pauses else None
        self._most_tries = settings.tries
        self._tries: dict[int, int] = {}
        self._fresh = [False] * workers
        self._idle = list(range(workers))
        self._busy: list[tuple[float, int]] = []
        self._deaths: list[tuple[float, int, int]] = []
        self._returned: list[tuple[int, float]] = []
        self.taken_at, self.ended_at = np.empty(n), np.empty(n)
        self.failed = drawn_failures(settings.failure_rate, seed, n)
        self.waited_for_start = np.zeros(n, dtype=bool)
        self.started_at, self.ready_at, self.stopped_at = [0.0] * workers, [0.0] * workers, [math.inf] * workers
        self.longest_lost_s = 0.0

    def __repr__(self) -> str:
        return f"<MortalWorkers {len(self._idle)} idle, {len(self._busy)} busy, {len(self._deaths)} dying>"

    def run(self) -> None:
        """Let the worker that was free last, or else will be first, take the job at the front of the queue.

        Jobs that a dead worker gives back go to the front. Deaths are carried out in their order, before any job that
        is taken later.
        """
        index, now, at_s, n = 0, 0.0, self._at_s, len(self._at_s)
        idle, busy, deaths, returned = self._idle, self._busy, self._deaths, self._returned
        while index < n or returned or deaths:
            queued_at = returned[-1][1] if returned else at_s[index] if index < n else math.inf
            free_at = now if idle else busy[0][0] if busy else math.inf
            begins = queued_at if queued_at > free_at else free_at
            if deaths and deaths[0][0] <= begins:
                now = self._die(*heappop(deaths))
                continue
            while busy and busy[0][0] <= begins:
                idle.append(heappop(busy)[1])
            if returned:
                job, _ = returned.pop()
            else:
                job = index
                index += 1
            now = begins
            self._take(idle.pop(), job, now)

    def _take(self, worker: int, job: int, now: float) -> None:
        self.taken_at[job] = now
        self.waited_for_start[job] = self._fresh[worker] and now > self._at_s[job]
        self._fresh[worker] = False
        work_s = self._work_s[job]
        if self._dies_after_s[job] < work_s:
            heappush(self._deaths, (now + self._dies_after_s[job], job, worker))
            return
        self.ended_at[job] = now + work_s
        occupied_s = work_s if self._pause is None else self._pause.occupancy_s(work_s)
        heappush(self._busy, (now + occupied_s, worker))

    def _die(self, now: float, job: int, worker: int) -> float:
        """Replace a worker that dies of a job, which returns to the queue or has failed; return this time."""
        self.longest_lost_s = max(self.longest_lost_s, now - self.taken_at[job])
        self.stopped_at[worker] = now
        self.started_at.append(now)
        self.ready_at.append(now + next(self._cold_start_s))
        self.stopped_at.append(math.inf)
        self._fresh.append(self.ready_at[-1] > now)
        heappush(self._busy, (self.ready_at[-1], len(self._fresh) - 1))
        self._tries[job] = self._tries.get(job, 0) + 1
        if self._tries[job] >= self._most_tries:
            self.failed[job], self.ended_at[job] = True, now
            return now
        self._retries.draw(self._retry)
        self._work_s[job], self._dies_after_s[job] = self._retry.service_s, self._retry.crashes_after_s
        self.failed[job] = self._retry.fails
        self._returned.append((job, now))
        return now
