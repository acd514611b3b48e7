"""The endpoint's own model under a virtual clock: what so many workers would have done with such work.

It is the object that `serve` runs in real time, so that a prediction and the embedded endpoint cannot disagree.
Jobs wait in one queue and workers take one at a time. A job is drawn with its time, whoever takes it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loadtest.arrays import Floats, Mask
from loadtest.capacity.simulation.arrivals import Profile, arrivals_at, gap_variation, parts_of
from loadtest.capacity.simulation.workload import (
    WorkerConfig,
    Workload,
    endpoint_settings,
    longest_s,
    mean_s,
    occupied_s,
    variation,
)
from loadtest.endpoint.distributions import sample
from loadtest.endpoint.endpoint import Endpoint
from loadtest.endpoint.fleet import Worker
from loadtest.endpoint.job import Job
from loadtest.endpoint.settings import EndpointSettings
from loadtest.protocol.operations import Op

WARM, REVIVED, COLD = 0, 1, 2
"""In what state the worker was that a job met; as in `analyze.starts`, but known and not inferred."""
WARM_UP = 0.25
"""The first part of each replication's time is left out: it begins with an empty queue and no flex worker."""
_SETTLING = 4
"""So many times as long as a flex worker's start, idle time and threshold together; the first time is the warm-up."""
_RELAXATIONS = 16
"""So many times as long as the queue takes to forget how it began; the warm-up is four of them."""
_MAX_JOBS = 100_000
_SEED_OF_MODEL, _SEED_OF_OVERHEAD = 1 << 40, 1 << 41
"""Apart from the arrivals' seeds, so that gaps and execution times never come from one stream."""


@dataclass(frozen=True)
class Replication:
    """One simulated stretch, after its warm-up. Columns: its jobs in the order of arrival, times in seconds.

    `busy_s`, `up_s` and `billed_s` are worker-seconds within `window_s`: at work or in the pause after a take, from
    start to stop, and paid for. `stops` tells whether any worker stopped, in the warm-up or later.
    """

    wait_s: Floats
    dispatch_s: Floats
    service_s: Floats
    overhead_s: Floats
    start: NDArray[np.int8]
    window_s: float
    busy_s: float
    up_s: float
    billed_s: float
    stops: bool = False

    def __len__(self) -> int:
        return len(self.wait_s)

    @property
    def delay_s(self) -> Floats:
        """The wait for a worker, and what even an idle one takes to begin."""
        return self.wait_s + self.dispatch_s

    @property
    def end_to_end_s(self) -> Floats:
        """From the intended start to the end as a client sees it."""
        return self.delay_s + self.service_s + self.overhead_s

    @property
    def cold(self) -> Mask:
        """Return the mask of jobs with a cold start."""
        mask: Mask = self.start == COLD
        return mask


def replication(workload: Workload, setting: WorkerConfig, rate_per_s: float, jobs: int, seed: int) -> Replication:
    """Simulates some `jobs` jobs at this rate; what is drawn depends on the seed and not on setting or rate.

    Of a profile each different share is one stretch, as long as all its parts together, and the day is all of them.
    """
    jobs = jobs_for_steady_state(workload, setting, rate_per_s, jobs)
    if isinstance(workload.arrivals, Profile):
        return _day(workload, workload.arrivals, setting, rate_per_s, jobs, seed)
    at_s = arrivals_at(workload.arrivals, rate_per_s, jobs, seed)
    return _simulate_interval(workload, setting, at_s, float(at_s[-1]), seed)


def _day(
    workload: Workload, profile: Profile, setting: WorkerConfig, rate_per_s: float, jobs: int, seed: int
) -> Replication:
    stretches = []
    for place, (share, weight) in enumerate(profile.parts):
        drawn = int(np.random.SeedSequence([seed, place]).generate_state(1)[0])
        length_s = jobs / rate_per_s * weight
        at_s = np.empty(0)
        if share > 0:
            at_s = arrivals_at("poisson", rate_per_s * share, math.ceil(jobs * share * weight), drawn)
        stretches.append(_simulate_interval(workload, setting, at_s[at_s <= length_s], length_s, drawn))

    def joined(name: str) -> NDArray[Any]:
        return np.concatenate([getattr(each, name) for each in stretches])

    return Replication(
        **{name: joined(name) for name in ("wait_s", "dispatch_s", "service_s", "overhead_s", "start")},
        window_s=sum(each.window_s for each in stretches),
        busy_s=sum(each.busy_s for each in stretches),
        up_s=sum(each.up_s for each in stretches),
        billed_s=sum(each.billed_s for each in stretches),
        stops=any(each.stops for each in stretches),
    )


def _simulate_interval(
    workload: Workload, setting: WorkerConfig, at_s: Floats, end_at: float, seed: int
) -> Replication:
    """What becomes of jobs that arrive at these times, none later than `end_at`, where the window ends."""
    done, workers = simulate_jobs(endpoint_settings(workload, setting), at_s, _SEED_OF_MODEL + seed, end_at)
    n = len(done)
    taken_at = np.array([math.nan if job.taken_at is None else job.taken_at for job in done])
    service_s = np.array([job.service_s for job in done])
    start_at = WARM_UP * end_at
    occupied = occupied_s(workload.take_pause, service_s)
    busy_s = np.clip(taken_at + occupied, start_at, end_at) - np.clip(taken_at, start_at, end_at)
    up_s, billed_s = uptime_and_billed_s(workers, start_at, end_at)
    inside = at_s >= start_at
    extra = np.random.default_rng(_SEED_OF_OVERHEAD + seed)
    dispatch_s, overhead_s = sample(workload.dispatch, n, extra), sample(workload.overhead, n, extra)
    return Replication(
        wait_s=(taken_at - at_s)[inside],
        dispatch_s=dispatch_s[inside],
        service_s=service_s[inside],
        overhead_s=overhead_s[inside],
        start=starts(done, workers)[inside],
        window_s=end_at - start_at,
        busy_s=float(busy_s.sum()),
        up_s=up_s,
        billed_s=billed_s,
        stops=any(shift.stopped_at is not None for worker in workers for shift in worker.shifts),
    )


def jobs_for_steady_state(workload: Workload, setting: WorkerConfig, rate_per_s: float, jobs: int) -> int:
    """At least so many jobs; more where the queue or flex workers would otherwise hardly have come and gone.

    Never more than 100,000: see `can_settle`.
    """
    return max(jobs, min(_MAX_JOBS, math.ceil(_needed(workload, setting, rate_per_s))))


def can_reach_steady_state(workload: Workload, setting: WorkerConfig, rate_per_s: float) -> bool:
    """Whether a replication is long enough to tell what the queue settles to; it is not from about 98 % busy on.

    Before it has settled the queue is shorter than it will be, so that a figure from there is too good.
    """
    return _relaxation_jobs(workload, setting, rate_per_s) * _RELAXATIONS <= _MAX_JOBS


def _needed(workload: Workload, setting: WorkerConfig, rate_per_s: float) -> float:
    of_queue = _relaxation_jobs(workload, setting, rate_per_s) * _RELAXATIONS
    if setting.fixed or workload.cold_start is None:
        return of_queue
    cycle_s = longest_s(workload.cold_start) + setting.idle_timeout_s + setting.scaling.queue_delay_s
    least = min(weight for _, weight in parts_of(workload.arrivals))
    return max(of_queue, _SETTLING * cycle_s * rate_per_s / least)


def _relaxation_jobs(workload: Workload, setting: WorkerConfig, rate_per_s: float) -> float:
    """How many jobs arrive while a queue forgets where it began: ρ / (1 − √ρ)², times (Ca² + Cs²) / 2.

    The first factor is λ times the relaxation time of M/M/c, 1 / (cμ (1 − √ρ)²) (Odoni and Roth 1983, Operations
    Research 31, p. 432, who give the second for other queues); infinite where it never settles. Of a profile as many
    as come in the whole day while each of its parts is that long.
    """
    mean_busy = rate_per_s * mean_s(workload.occupancy) / setting.max_workers
    longest = 0.0
    for share, weight in parts_of(workload.arrivals):
        if mean_busy * share >= 1:
            return math.inf
        longest = max(longest, mean_busy / (1 - math.sqrt(mean_busy * share)) ** 2 / weight)
    spread = (gap_variation(workload.arrivals) ** 2 + variation(workload.occupancy) ** 2) / 2
    return longest * max(0.5, spread)


def simulate_jobs(
    settings: EndpointSettings, at_s: Floats, seed: int, until_s: float = 0.0
) -> tuple[list[Job], list[Worker]]:
    """Jobs submitted at these times, in order, all of them taken by now; and the workers there have been by then.

    What happens until `until_s` has happened, whether or not the last job was taken before.
    """
    model = Endpoint(settings, seed, 0.0)
    submit, op = model.submit, Op.RUN
    jobs = [submit(op, at) for at in at_s.tolist()]
    while jobs and jobs[-1].taken_at is None:  # first come, first served: then all are
        next_at = model.next_event_at()
        if next_at is None:
            raise AssertionError("a job waits and nothing will ever happen")
        model.advance(next_at)
    model.advance(until_s)
    return jobs, model.workers


def uptime_and_billed_s(workers: Sequence[Worker], start_at: float, end_at: float) -> tuple[float, float]:
    """Worker-seconds from start to stop within these times; and the same with each stop rounded up to a whole second.

    What rounding adds counts where the stop lies within, so that it is neither lost nor counted twice.
    """
    shifts = [
        (shift.started_at, math.inf if shift.stopped_at is None else shift.stopped_at)
        for worker in workers
        for shift in worker.shifts
    ]
    started_at, stopped_at = np.array(shifts, dtype=float).reshape(-1, 2).T
    up_s = float(np.maximum(0, np.minimum(stopped_at, end_at) - np.maximum(started_at, start_at)).sum())
    stops = (stopped_at >= start_at) & (stopped_at <= end_at)
    length_s = stopped_at[stops] - started_at[stops]
    # A length is a difference of floats: what is a whole number but for their error stays one.
    return up_s, up_s + float((np.maximum(np.ceil(length_s - 1e-6), length_s) - length_s).sum())


def workers_up_at(workers: Sequence[Worker], at_s: Floats) -> Floats:
    """How many workers are up, from start to stop, at each of these times."""
    shifts = [shift for worker in workers for shift in worker.shifts]
    started_at = np.sort([shift.started_at for shift in shifts])
    stopped_at = np.sort([shift.stopped_at for shift in shifts if shift.stopped_at is not None])
    up = np.searchsorted(started_at, at_s, side="right") - np.searchsorted(stopped_at, at_s, side="right")
    return up.astype(np.float64)


def starts(jobs: Sequence[Job], workers: Sequence[Worker]) -> NDArray[np.int8]:
    """For each job whether it waited for a worker to start: the first of a shift, if it waited, did.

    A worker takes at once what waits when it gets ready; so the first job of a shift that did not wait came later.
    """
    kinds = np.zeros(len(jobs), dtype=np.int8)
    flex: dict[str | None, list[int]] = {worker.id: [] for worker in workers if not worker.active}
    if not flex:
        return kinds
    for place, job in enumerate(jobs):
        if job.worker_id in flex:
            flex[job.worker_id].append(place)
    for worker in workers:
        indices = flex.get(worker.id, [])
        taken_at = [jobs[place].taken_at or 0.0 for place in indices]
        began = np.searchsorted(taken_at, [shift.started_at for shift in worker.shifts])
        for shift, first in enumerate(began.tolist()):
            last = began[shift + 1] if shift + 1 < len(began) else len(indices)
            if first < last and taken_at[first] > jobs[indices[first]].submitted_at:
                kinds[indices[first]] = COLD if shift == 0 else REVIVED
    return kinds
