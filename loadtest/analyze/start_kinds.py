"""The kind of start of each job: its worker was warm, revived, or cold.

No response reports it; it shows in the delay. If a job waited although its worker had nothing to do for as long as
the job waited, it did not wait in a queue but for the worker to start. A running worker takes a waiting job at once,
or, with the vendor's SDK, within a second of its last job.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from loadtest.analyze.jobs import JobColumns, LoadWindow
from loadtest.analyze.start_waits import WorkerWait, execution_at_least_ms, own_starts, worker_waits
from loadtest.analyze.stats.quantiles import quantiles
from loadtest.analyze.stats.two_groups import MIN_VALUES, division
from loadtest.analyze.summary import StartKindSummary, Starts
from loadtest.arrays import Floats, Mask
from loadtest.scenario.metrics import Metric
from loadtest.scenario.model import Scenario

CLASSES = ("warm", "revived", "cold")
WARM, REVIVED, COLD = range(3)
UNKNOWN = -1
WARM_MS = (100.0, 250.0)
"""The bounds of the longest delay of a job on a running worker; FlashBoot needs some 500 ms."""
WARM_TIMES = 5.0
"""Within these bounds, the multiple of the median delay of jobs whose worker had just been busy."""
RECENT_S = 1.0
PAUSE_S = 1.1
"""A worker of the vendor's SDK asks again a second after a take; a shorter wait is not a wait for a start."""
FEW_RATIO = 10.0
"""Of too few starts to test, the ratio of the shortest first start of a worker to a revival, at least."""
MIN_IN_WAVE = 5
LONG_MS = 8000.0
"""No revival takes as long as this: FlashBoot needs some 500 ms."""
NEW_HOST_MS = 60_000.0
"""A start on a host that has to download the image takes minutes; other cold starts take seconds to one minute."""
NEW_HOST_RATIO = 3.0


@dataclass(frozen=True)
class StartClassification:
    """`kind` of each job as an index of CLASSES, or UNKNOWN; and the delays that divide them.

    `cold_from_ms` is null if the delay divides nothing: revived and cold are then `by_worker`, or all starts are of
    one kind. Cold starts of `new_host_from_ms` or more were on a host that had not had the image.
    """

    kind: NDArray[np.int8]
    warm_below_ms: float
    cold_from_ms: float | None
    by_worker: bool = False
    new_host_from_ms: float | None = None

    def on_new_host(self, jobs: JobColumns) -> Mask:
        """Return the mask of jobs whose worker started on a new host."""
        from_ms = np.inf if self.new_host_from_ms is None else self.new_host_from_ms
        mask: Mask = (self.kind == COLD) & (jobs.delay_ms >= from_ms)
        return mask


def revives(scenario: Scenario) -> bool | None:
    """Return whether workers that stopped come back, as `start_kinds` takes it."""
    return scenario.endpoint.revival is not None if scenario.starts_endpoint else None


def start_kinds(jobs: JobColumns, revives: bool | None = None) -> StartClassification:
    """Return the kind of start of each completed job.

    A job waited for a start if its worker was idle, or not seen before, for as long as the job waited, took the job
    after more than the SDK's pause since its last job, and the delay is longer than a running worker explains: 5
    times the median delay of jobs whose worker had ended another within the second before, but at least 100 and at
    most 250 ms.

    A worker's first start is cold. `revives` is whether workers that stopped come back, if the run started the
    endpoint itself and so knows: then each later start is a revival, or none is. If it is not known, later starts
    are tested on jobs that waited for a start of their own: revivals are the shorter of two groups
    (`stats.two_groups`), if its median is below 8 s. If there is one group, all starts are of one kind. If fewer than
    five jobs waited so, later starts are revivals unless starts take 8 s or more.
    """
    served = (jobs.worker >= 0) & ~np.isnan(jobs.delay_ms + execution_at_least_ms(jobs) + jobs.sent_at)
    wait = worker_waits(jobs, served)
    warm_below_ms = _warm_below_ms(jobs.delay_ms[served], wait)
    started, first = np.zeros(len(jobs), dtype=bool), np.zeros(len(jobs), dtype=bool)
    started[served] = wait.idled & (jobs.delay_ms[served] >= warm_below_ms) & (wait.gap_s > PAUSE_S)
    first[served] = wait.first
    own = np.zeros(len(jobs), dtype=bool)
    own[own_starts(jobs, started, warm_below_ms).index] = True
    known_ms = {None: None, True: np.inf, False: 0.0}[revives]
    cold_from_ms = _cold_from_ms(jobs.delay_ms, started, own, first) if known_ms is None else known_ms
    cold = started & (first | (jobs.delay_ms >= cold_from_ms))
    kind = np.full(len(jobs), UNKNOWN, dtype=np.int8)
    kind[served] = np.where(started, np.where(cold, COLD, REVIVED), WARM)[served]
    kind[~jobs.completed] = UNKNOWN
    tested = own if np.count_nonzero(own) >= MIN_VALUES else started
    return StartClassification(
        kind,
        warm_below_ms,
        cold_from_ms if 0 < cold_from_ms < np.inf else None,
        by_worker=cold_from_ms == np.inf,
        new_host_from_ms=_new_host_from_ms(jobs.delay_ms, tested & cold, first),
    )


def _warm_below_ms(delay_ms: Floats, wait: WorkerWait) -> float:
    at_once = delay_ms[wait.idled & (wait.gap_s < RECENT_S)]
    typical_ms = float(np.median(at_once)) if len(at_once) else 0.0
    return float(np.clip(WARM_TIMES * typical_ms, *WARM_MS))


def _cold_from_ms(delay_ms: Floats, started: Mask, own: Mask, first: Mask) -> float:
    """Return the delay from which starts are cold: 0 if all are, infinite if all but workers' first are revivals."""
    own_ms = delay_ms[own]
    if len(own_ms) < MIN_VALUES:
        return _cold_from_ms_of_few(delay_ms[started], delay_ms[started & first])
    found, lowest = division(own_ms), None
    while found is not None:
        lowest, found = found, division(own_ms[own_ms < found])
    shorter_ms = own_ms if lowest is None else own_ms[own_ms < lowest]
    if float(np.median(shorter_ms)) >= LONG_MS:
        return 0.0
    if lowest is not None:
        return lowest
    return 0.0 if np.any(own & first) else np.inf


def _cold_from_ms_of_few(delay_ms: Floats, first_ms: Floats) -> float:
    """Return the same if too few jobs waited for a start of their own to test for two groups."""
    shorter_ms = delay_ms[delay_ms < first_ms.min(initial=np.inf) / FEW_RATIO]
    if len(first_ms) and len(delay_ms) < MIN_VALUES and len(shorter_ms):
        return float(np.sqrt(shorter_ms.max() * first_ms.min()))
    return np.inf if len(delay_ms) and float(np.median(delay_ms)) < LONG_MS else 0.0


def _new_host_from_ms(delay_ms: Floats, cold: Mask, first: Mask) -> float | None:
    """Return the delay from which cold starts are on a new host: the longest group, all of workers' first starts."""
    cold_ms = delay_ms[cold]
    found = division(cold_ms)
    while found is not None and found < NEW_HOST_MS:
        cold_ms = cold_ms[cold_ms >= found]
        found = division(cold_ms)
    if 1 < len(cold_ms) < MIN_VALUES and cold_ms.max() > FEW_RATIO * np.median(cold_ms):
        found = float(cold_ms.max())
    if found is None or found < NEW_HOST_MS:
        return None
    ratio = float(np.median(cold_ms[cold_ms >= found]) / np.median(cold_ms[cold_ms < found]))
    return found if ratio >= NEW_HOST_RATIO and np.all(first[cold & (delay_ms >= found)]) else None


def start_summary(jobs: JobColumns, classed: StartClassification, price: float | None) -> Starts | None:
    """Return the jobs and times of each kind of start; None if no completed job names its worker."""
    known = int(np.count_nonzero(classed.kind != UNKNOWN))
    if known == 0:
        return None
    billed_s = _billed_s(jobs, classed)
    total_s = float(billed_s.sum())
    classes = {}
    for index, name in enumerate(CLASSES):
        mine = classed.kind == index
        count = int(np.count_nonzero(mine))
        classes[name] = StartKindSummary(
            jobs=count,
            share=count / known,
            delay_ms=quantiles(jobs.delay_ms[mine]),
            execution_ms=quantiles(jobs.execution_ms[mine]),
            end_to_end_ms=quantiles(jobs.times_ms(Metric.END_TO_END)[mine]),
            cost_share=None if price is None or total_s == 0 else float(billed_s[mine].sum()) / total_s,
        )
    unknown = int(np.count_nonzero(jobs.completed)) - known
    new_host = int(np.count_nonzero(classed.on_new_host(jobs)))
    return Starts(
        classes, classed.warm_below_ms, classed.cold_from_ms, unknown, _explain(classes, classed, new_host), new_host
    )


def _billed_s(jobs: JobColumns, classed: StartClassification) -> Floats:
    """Return the execution time, plus the delay of jobs that waited for a start: their worker is billed already."""
    waited_ms = np.where(classed.kind > 0, jobs.delay_ms, 0.0)
    billed_s: Floats = np.where(classed.kind == UNKNOWN, 0.0, jobs.execution_ms + waited_ms) / 1000
    return billed_s


def _explain(classes: dict[str, StartKindSummary], classed: StartClassification, new_host: int) -> str:
    waited = classes["revived"].jobs + classes["cold"].jobs
    if waited == 0:
        return f"No job waited {classed.warm_below_ms:.0f} ms or more for a worker to start."
    if classed.cold_from_ms is not None:
        rule = f"revived and cold are divided at a delay of {classed.cold_from_ms:.0f} ms"
    elif classed.by_worker:
        rule = "revived and cold are divided by whether their worker was new"
    else:
        rule = "nothing divides revived from cold, so all are cold"
    found = f"{waited} jobs waited for a worker to start; {rule}."
    if new_host and classed.new_host_from_ms is not None:
        found += (
            f" {new_host} of them waited {classed.new_host_from_ms / 1000:.0f} s or more for a worker not seen "
            "before: a first start on a new host, which downloads the image."
        )
    return found


def cold_start_wave(jobs: JobColumns, classed: StartClassification, window: LoadWindow) -> float | None:
    """Return the excess of start waits in the worst tenth of a window over the median tenth, as a share of its jobs.

    Jobs count by their intended start. None if no tenth has MIN_IN_WAVE such jobs: small waves occur by chance.
    """
    mine = (classed.kind != UNKNOWN) & window.contains(jobs.intended_at)
    tenth = np.clip((jobs.intended_at[mine] - window.start_at) / window.duration_s * 10, 0, 9).astype(np.int64)
    waited = np.bincount(tenth[classed.kind[mine] > 0], minlength=10)
    if waited.max() < MIN_IN_WAVE:
        return None
    shares = waited / np.maximum(1, np.bincount(tenth, minlength=10))
    return float(shares.max() - np.median(shares))
