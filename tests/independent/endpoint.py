"""An endpoint with a job queue, simulated from the vendor's rules alone; it shares no code with loadtest.

Times are seconds. The worker that rested last takes the job that waits longest, up to `concurrency` at once, each at
the speed that their number allows; a slot stays taken for `gap_s` after a job. A job may kill its worker, whose jobs
then go back to the head of the queue, three times at most. `ready_at` is when its starts were over.
"""

from __future__ import annotations

import heapq
import math
import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

Draw = Callable[[random.Random], float]


@dataclass(frozen=True)
class System:
    """`scaler` is ("queue delay", seconds) or ("request count", jobs); `revival` is (within, duration)."""

    service: Draw
    active: int = 0
    most: int = 1
    concurrency: int = 1
    slowdown: Callable[[int], float] = lambda _: 1.0
    gap_s: float = 0.0
    start: Draw = lambda _: 10.0
    revival: tuple[float, float] | None = None
    scaler: tuple[str, float] = ("queue delay", 4.0)
    idle_s: float = 5.0
    crashes: float = 0.0


@dataclass(eq=False)
class Job:
    number: int
    at: float
    work_s = dies_after_s = taken = ended = math.nan
    worker, tries, waits, failed = -1, 0, False, False


@dataclass(eq=False)
class Worker:
    number: int
    active: bool
    spans: list[list[float]]
    ready: bool = False
    ready_at: list[float] = field(default_factory=list)
    left_s: dict[Job, float] = field(default_factory=dict)
    dead, held, seen, plan, idle, rested = False, 0, 0.0, 0, 0, 0.0

    @property
    def up(self) -> bool:
        return math.isinf(self.spans[-1][1])


class Simulation:
    """After `run()`, all `jobs` have ended; `workers` hold when they were up, `given_back` when jobs were."""

    def __init__(self, system: System, arrivals: Sequence[float], seed: int) -> None:
        self.system, self.random, self.now, self.counter = system, random.Random(seed), 0.0, 0
        self.events: list[tuple[float, int, Callable[..., None], tuple[object, ...]]] = []
        self.queue: deque[Job] = deque()
        self.workers = [Worker(n, True, [[0.0, math.inf]], True, [0.0]) for n in range(system.active)]
        self.jobs = [Job(number, at) for number, at in enumerate(arrivals)]
        self.to_end, self.inside, self.given_back = len(self.jobs), 0, list[float]()
        for job in self.jobs:
            self.after(job.at, self.arrive, job)

    def run(self) -> Simulation:
        while self.to_end:
            self.now, _, what, about = heapq.heappop(self.events)
            what(*about)
        return self

    def after(self, seconds: float, what: Callable[..., None], *about: object) -> None:
        self.counter += 1
        heapq.heappush(self.events, (self.now + seconds, self.counter, what, about))

    def arrive(self, job: Job) -> None:
        self.inside += 1
        self.draw(job)
        self.queue.append(job)
        self.wait(job)

    def draw(self, job: Job) -> None:
        job.work_s, job.waits = self.system.service(self.random), True
        dies, share = self.random.random() < self.system.crashes, self.random.random()
        job.dies_after_s = share * job.work_s if dies else math.inf

    def wait(self, job: Job) -> None:
        self.take()
        kind, value = self.system.scaler
        if job.waits and kind == "request count":
            while sum(each.up for each in self.workers) < math.ceil(self.inside / value) and self.start():
                pass
        elif job.waits:
            self.after(value, self.overdue, job, job.tries)

    def overdue(self, job: Job, tries: int) -> None:
        if job.waits and job.tries == tries:
            past = sum(each.at <= job.at for each in self.queue)
            if sum(each.up and not each.ready for each in self.workers) < past:
                self.start()

    def start(self) -> bool:
        if sum(each.up for each in self.workers) >= self.system.most:
            return False
        stopped = [each for each in self.workers if not (each.up or each.active or each.dead)]
        last = max(stopped, key=lambda each: each.spans[-1][1], default=None)
        if self.system.revival and last and self.now <= last.spans[-1][1] + self.system.revival[0]:
            last.spans.append([self.now, math.inf])
            self.after(self.system.revival[1], self.make_ready, last)
        else:
            self.new_worker(active=False)
        return True

    def new_worker(self, active: bool) -> None:
        worker = Worker(len(self.workers), active, [[self.now, math.inf]])
        self.workers.append(worker)
        self.after(self.system.start(self.random), self.make_ready, worker)

    def make_ready(self, worker: Worker) -> None:
        worker.ready = True
        worker.ready_at.append(self.now)
        self.rest(worker)
        self.take()

    def rest(self, worker: Worker) -> None:
        worker.idle, worker.rested = worker.idle + 1, self.now
        if not worker.active:
            self.after(self.system.idle_s, self.stop, worker, worker.idle)

    def stop(self, worker: Worker, idle: int) -> None:
        if worker.up and worker.ready and not worker.left_s and worker.idle == idle:
            worker.spans[-1][1], worker.ready = self.now, False

    def take(self) -> None:
        most = self.system.concurrency
        while self.queue and (room := [w for w in self.workers if w.ready and len(w.left_s) + w.held < most]):
            worker = min(room, key=lambda w: (not w.active, len(w.left_s) + w.held, -w.rested))
            job = self.queue.popleft()
            self.progress(worker)
            job.taken, job.worker, job.waits = self.now, worker.number, False
            worker.left_s[job] = min(job.work_s, job.dies_after_s)
            self.plan_end(worker)

    def progress(self, worker: Worker) -> None:
        speed = 1 / self.system.slowdown(max(1, len(worker.left_s)))
        worker.left_s = {job: left - (self.now - worker.seen) * speed for job, left in worker.left_s.items()}
        worker.seen = self.now

    def plan_end(self, worker: Worker) -> None:
        worker.plan += 1
        if worker.left_s:
            left = max(0.0, min(worker.left_s.values())) * self.system.slowdown(len(worker.left_s))
            self.after(left, self.end, worker, worker.plan)

    def end(self, worker: Worker, plan: int) -> None:
        if plan == worker.plan:
            self.progress(worker)
            job = min(worker.left_s, key=worker.left_s.__getitem__)
            self.die(worker) if job.dies_after_s < job.work_s else self.leave(worker, job)
            self.take()

    def leave(self, worker: Worker, job: Job) -> None:
        del worker.left_s[job]
        self.finish(job)
        worker.held += 1
        self.after(self.system.gap_s, self.free, worker) if self.system.gap_s else self.free(worker)
        if not worker.left_s:
            self.rest(worker)
        self.plan_end(worker)

    def free(self, worker: Worker) -> None:
        worker.held -= 1
        self.take()

    def finish(self, job: Job) -> None:
        job.ended, job.failed = self.now, job.tries == 3
        self.to_end, self.inside = self.to_end - 1, self.inside - 1

    def die(self, worker: Worker) -> None:
        back = sorted(worker.left_s, key=lambda job: job.number)
        worker.left_s, worker.plan, worker.ready, worker.dead, worker.spans[-1][1] = {}, 0, False, True, self.now
        if worker.active:
            self.new_worker(active=True)
        for job in back:
            job.tries += 1
            self.draw(job) if job.tries < 3 else self.finish(job)
        again = [job for job in back if job.tries < 3]
        self.given_back += [self.now] * len(again)
        self.queue.extendleft(reversed(again))
        for job in again:
            self.wait(job)
        if self.queue and not any(each.up and not each.ready for each in self.workers):
            self.start()
