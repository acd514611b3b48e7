"""One simulated run of an endpoint: when jobs are taken, how long they take, and in which intervals workers are up.

The endpoint's own model runs under a virtual clock. It is the object that `serve` runs in real time, so that a
prediction and the embedded endpoint cannot disagree. The time that a job takes alone is drawn with the job, whichever
worker takes it. If nothing but its worker ends a job, a batch gives the same times twice as fast, and workers that
always run need only a queue, which gives them some twenty times as fast.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heapreplace

import numpy as np
from numpy.typing import NDArray

from loadtest.arrays import Floats, Mask
from loadtest.capacity.simulation.mortal_workers import MortalWorkers
from loadtest.capacity.simulation.workload import WorkerConfig, Workload, endpoint_settings, occupied_s
from loadtest.endpoint.batch import Batch, can_be_batch
from loadtest.endpoint.endpoint import Endpoint, drawn_failures, drawn_service_s
from loadtest.endpoint.fleet import Worker
from loadtest.endpoint.job import Job
from loadtest.endpoint.settings import EndpointSettings
from loadtest.protocol.operations import JobState, Op

WARM, REVIVED, COLD = 0, 1, 2
"""The state of the worker that a job met; as in `analyze.start_kinds`, but known and not inferred."""
COMPLETED, FAILED, TIMED_OUT, EXPIRED = 0, 1, 2, 3
"""The end of a job: FAILED by itself or as its workers died, TIMED_OUT at work, EXPIRED at work or waiting."""


@dataclass(frozen=True)
class UpIntervals:
    """The intervals in which workers were up, in seconds; `stopped_at` is infinite for those that did not stop.

    Until `ready_at`, or their stop, they were initializing.
    """

    started_at: Floats
    stopped_at: Floats
    ready_at: Floats

    @property
    def any_stop(self) -> bool:
        """Return whether any worker stopped."""
        return bool(np.isfinite(self.stopped_at).any())

    def up_and_billed_s(self, start_at: float, end_at: float) -> tuple[float, float]:
        """Return worker-seconds within these times, and the same with each stop rounded up to a whole second."""
        started_at, stopped_at = self.started_at, self.stopped_at
        up_s = _overlap_s(started_at, stopped_at, start_at, end_at)
        stops = (stopped_at >= start_at) & (stopped_at <= end_at)
        length_s = stopped_at[stops] - started_at[stops]
        # A length is a difference of floats: this much over a whole number is rounding error.
        return up_s, up_s + float((np.maximum(np.ceil(length_s - 1e-6), length_s) - length_s).sum())

    def initializing_s(self, start_at: float, end_at: float) -> float:
        """Return the worker-seconds within these times in which workers were starting."""
        return _overlap_s(self.started_at, np.minimum(self.ready_at, self.stopped_at), start_at, end_at)

    def count_at(self, at_s: Floats) -> Floats:
        """Return how many workers are up at each of these times."""
        started, stopped = np.sort(self.started_at), np.sort(self.stopped_at)
        up = np.searchsorted(started, at_s, side="right") - np.searchsorted(stopped, at_s, side="right")
        return up.astype(np.float64)


def _overlap_s(from_at: Floats, until_at: Floats, start_at: float, end_at: float) -> float:
    return float(np.maximum(0, np.minimum(until_at, end_at) - np.maximum(from_at, start_at)).sum())


@dataclass(frozen=True)
class SimulatedRun:
    """Jobs in the order of their arrival: when a worker took each for the last time, its execution, start and end.

    A job that expired in the queue counts as taken at that moment, for no time.
    """

    taken_at: Floats
    execution_s: Floats
    outcome: NDArray[np.int8]
    start: NDArray[np.int8]
    up: UpIntervals

    @property
    def completed(self) -> Mask:
        """Return the mask of the jobs that completed."""
        mask: Mask = self.outcome == COMPLETED
        return mask


def simulate_run(
    workload: Workload, setting: WorkerConfig, at_s: Floats, seed: int, until_s: float = 0.0
) -> SimulatedRun:
    """Submit jobs at these times and return them, all ended, and the workers until the last end, or `until_s`."""
    settings = endpoint_settings(workload, setting)
    if setting.fixed and not workload.slowdown and not workload.crash_rate:
        always = _always_running(workload, settings, at_s, seed)
        if always is not None:
            return always
    if setting.fixed and workload.crash_rate and workload.concurrency == 1 and can_be_batch(settings):
        mortal = _of_mortal_workers(settings, at_s, seed)
        if mortal is not None:
            return mortal
    if can_be_batch(settings):
        batch = Batch(settings, seed, at_s.tolist())
        batch.run(until_s)
        if batch.within_policy():
            return _run_of(batch.jobs, batch.fleet.all_workers)
    return _run_of(*_simulate_model(settings, at_s, seed, until_s))


def _simulate_model(
    settings: EndpointSettings, at_s: Floats, seed: int, until_s: float
) -> tuple[list[Job], list[Worker]]:
    model = Endpoint(settings, seed, 0.0)
    submit, op = model.submit, Op.RUN
    jobs = [submit(op, at) for at in at_s.tolist()]
    ended = len(model.drain_ended())
    while ended < len(jobs):
        next_at = model.next_due_at()
        if next_at == math.inf:
            raise AssertionError(f"{len(jobs) - ended} jobs wait and nothing will ever happen")
        model.advance(next_at)
        ended += len(model.drain_ended())
    model.advance(until_s)
    return jobs, model.workers


def _run_of(jobs: Sequence[Job], workers: Sequence[Worker]) -> SimulatedRun:
    finished_at = np.array([math.nan if job.finished_at is None else job.finished_at for job in jobs])
    taken_at = np.array([math.nan if job.taken_at is None else job.taken_at for job in jobs])
    taken_at = np.where(np.isnan(taken_at), finished_at, taken_at)
    outcome = np.fromiter(map(_outcome, jobs), np.int8, len(jobs))
    return SimulatedRun(taken_at, finished_at - taken_at, outcome, _starts(jobs, workers), up_intervals(workers))


def _outcome(job: Job) -> int:
    if job.state is JobState.COMPLETED:
        return COMPLETED
    if job.expired:
        return EXPIRED
    return TIMED_OUT if job.finished_at == job.times_out_at else FAILED


def _always_running(workload: Workload, settings: EndpointSettings, at_s: Floats, seed: int) -> SimulatedRun | None:
    """Return the run of workers that no job stops; None if a deadline makes it another one."""
    jobs, workers = len(at_s), settings.workers.active
    drawn_s, policy = drawn_service_s(settings.service_time, seed, jobs), settings.policy
    overdue = drawn_s > policy.execution_timeout
    if policy.timeout_stops_worker and overdue.any():
        return None
    execution_s = np.minimum(drawn_s, policy.execution_timeout)
    waits_s = _waits_s(at_s, occupied_s(workload.take_pause, execution_s), workers * workload.concurrency)
    if (waits_s + execution_s > policy.ttl).any():
        return None
    fails = drawn_failures(settings.failure_rate, seed, jobs)
    return SimulatedRun(
        at_s + waits_s,
        execution_s,
        np.where(overdue, TIMED_OUT, np.where(fails, FAILED, COMPLETED)).astype(np.int8),
        np.zeros(jobs, dtype=np.int8),
        UpIntervals(np.zeros(workers), np.full(workers, math.inf), np.zeros(workers)),
    )


def _of_mortal_workers(settings: EndpointSettings, at_s: Floats, seed: int) -> SimulatedRun | None:
    """Return the run of workers that only jobs of which they die stop; None if a deadline makes it another one."""
    run, policy = MortalWorkers(settings, seed, at_s), settings.policy
    run.run()
    execution_s = run.ended_at - run.taken_at
    longest_s = max(run.longest_lost_s, float(execution_s.max(initial=0.0)))
    if longest_s >= policy.execution_timeout or (run.ended_at - at_s >= policy.ttl).any():
        return None
    return SimulatedRun(
        run.taken_at,
        execution_s,
        np.where(run.failed, FAILED, COMPLETED).astype(np.int8),
        np.where(run.waited_for_start, COLD, WARM).astype(np.int8),
        UpIntervals(*(np.array(each) for each in (run.started_at, run.stopped_at, run.ready_at))),
    )


def _waits_s(at_s: Floats, occupied_s: Floats, slots: int) -> Floats:
    """Return how long each job waits, first come, first served, for one of `slots` that are free at the start.

    `at_s` are the arrivals in order, `occupied_s` for how long each job occupies its slot. The slot that is free
    first takes the next job (Kiefer and Wolfowitz 1955, Transactions of the AMS 78, p. 1).
    """
    free_at = [0.0] * slots
    taken_at = np.empty(len(at_s))
    for job, (at, occupied) in enumerate(zip(at_s.tolist(), occupied_s.tolist(), strict=True)):
        begins = free_at[0]
        if begins < at:
            begins = at
        heapreplace(free_at, begins + occupied)
        taken_at[job] = begins
    return taken_at - at_s


def up_intervals(workers: Sequence[Worker]) -> UpIntervals:
    """Return the intervals of these workers, from start to stop."""
    shifts = [
        [math.inf if at is None else at for at in (shift.started_at, shift.stopped_at, shift.ready_at)]
        for worker in workers
        for shift in worker.shifts
    ]
    return UpIntervals(*np.array(shifts, dtype=float).reshape(-1, 3).T)


def _starts(jobs: Sequence[Job], workers: Sequence[Worker]) -> NDArray[np.int8]:
    """Return for each job whether it waited for a worker to start: the first job of an interval did, if it waited.

    A worker that becomes ready takes a waiting job at once, so the first job of an interval that did not wait came
    later. An active worker starts if it replaces another.
    """
    kinds = np.zeros(len(jobs), dtype=np.int8)
    started: dict[str | None, list[int]] = {worker.id: [] for worker in workers if _started(worker)}
    if not started:
        return kinds
    for index, job in enumerate(jobs):
        if job.worker_id in started:
            started[job.worker_id].append(index)
    for worker in workers:
        indices = sorted(started.get(worker.id, []), key=lambda index: jobs[index].taken_at or 0.0)
        taken_at = [jobs[index].taken_at or 0.0 for index in indices]
        began = np.searchsorted(taken_at, [shift.started_at for shift in worker.shifts])
        for shift, first in enumerate(began.tolist()):
            last = began[shift + 1] if shift + 1 < len(began) else len(indices)
            if first < last and taken_at[first] > jobs[indices[first]].submitted_at:
                kinds[indices[first]] = COLD if shift == 0 else REVIVED
    return kinds


def _started(worker: Worker) -> bool:
    return worker.shifts[0].ready_at != worker.shifts[0].started_at
