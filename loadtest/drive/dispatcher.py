"""The jobs of one process: users take them one by one, and each finished one is published to all sinks."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TypeAlias

import gevent
from gevent.event import Event

from loadtest.clock import SleepingClock
from loadtest.drive.executor import FlowExecutor
from loadtest.drive.job_sources import ClosedSource, Job, OpenSource, Workload
from loadtest.drive.limiter import apply_share, pacers
from loadtest.drive.stats.live import LiveCounters
from loadtest.errors import ScenarioError
from loadtest.flows.job_flow import JobFlow, run_and_poll
from loadtest.flows.steps import Flow, Send
from loadtest.flows.stream import run_and_stream
from loadtest.flows.submissions import submission_factory
from loadtest.flows.webhook import run_and_wait_for_webhook
from loadtest.record.sample import Outcome, Sample
from loadtest.scenario.abort import StopKind, StopRules
from loadtest.scenario.flows import FlowName
from loadtest.scenario.loading.user_functions import load_input_function
from loadtest.traffic.limit_shares import Share
from loadtest.traffic.settings import ClosedLoad

SampleSink: TypeAlias = Callable[[Sample, list[float]], object]
"""Called once with each job that was sent, when it is over, and with the times at which its chunks were seen."""


class JobDispatcher:
    """The jobs of one run in one process; users call `run_next` until it returns False, then `wait_for_change`.

    Times are seconds since the epoch. `stops` says whether the run must end, `unfinished` holds the rows of jobs that
    were given up, and `finished` is set from outside when no more job may begin.
    """

    def __init__(
        self, work: Workload, executor: FlowExecutor, clock: SleepingClock, sinks: Sequence[SampleSink] = ()
    ) -> None:
        scenario = work.scenario
        self._scenario = scenario
        self._executor = executor
        self._clock = clock
        self._pacers = pacers(scenario)
        self.stops = StopRules(scenario)
        self.counters = LiveCounters()
        self._sinks = (*sinks, self.counters.count, self._watch)
        # In the open model all processes number their jobs together; users of the closed model number their own.
        stream = 0 if work.schedule is not None else work.process
        self._submissions = {
            name: submission_factory(scenario, name, load_input_function, work.webhook, stream)
            for name in scenario.flows
        }
        self.starts_at = work.starts_at
        self.ends_at = work.starts_at + scenario.load.duration_s
        schedule, ceiling = work.schedule, scenario.ceilings.jobs
        if schedule is not None and ceiling is not None and len(schedule) > ceiling:
            self.ends_at = work.starts_at + float(schedule.at_s[ceiling])
            schedule = schedule.first(ceiling)
        self._open = OpenSource(work, schedule, self._build, clock) if schedule is not None else None
        self._source = self._open or ClosedSource(work, self._build, executor.acquire, clock)
        self._users = 0
        self.unfinished: list[Sample] = []
        self.finished = Event()
        self._changed = Event()
        self._load_ended = False
        self._begun = 0
        self._allowance: float = 0 if schedule is None and ceiling is not None else math.inf
        self.has_think_time = isinstance(scenario.load, ClosedLoad) and scenario.load.think > 0
        self.set_share(work.share)

    def __repr__(self) -> str:
        counters = self.counters
        return f"<JobDispatcher {self._scenario.name}: {counters.in_flight} in flight, {counters.ended} ended>"

    def _build(self, flow: FlowName, seq: int) -> Send | None:
        """Return the submission of the job with this number; None if it cannot be built, which ends the run."""
        try:
            return self._submissions[flow](seq)
        except ScenarioError as error:
            self.stops.stop(StopKind.INPUTS, str(error))
            return None

    def reassign(self, from_at: float, share: Share) -> None:
        """Take another share of the schedule, for arrivals from this time on."""
        if self._open is not None:
            self._open.reassign(from_at, share)
            self._wake_users()

    def set_share(self, share: Share) -> None:
        """Take another share of the limits and of the users."""
        self.stops.set_share(share)
        apply_share(self._pacers, self._scenario, share)
        if isinstance(self._source, ClosedSource):
            self._source.set_share(share)
            self._wake_users()

    def _wake_users(self) -> None:
        changed, self._changed = self._changed, Event()
        changed.set()

    def wait_for_change(self) -> bool:
        """Wait until another share may hold jobs for an idle user; return False if no more job may begin."""
        gevent.wait([self.finished, self._changed], count=1)
        return not self.finished.is_set()

    def register_user(self) -> int:
        """Count one more user; return its number, from 0."""
        self._users += 1
        return self._users - 1

    def think_time_s(self) -> float:
        """Return how long a user pauses between two jobs."""
        return self._source.think_time_s() if isinstance(self._source, ClosedSource) else 0.0

    def run_next(self, user: int) -> bool:
        """Run the next job of this user, from its due time to its end; return False if none is left."""
        if not self._may_begin() or self._begun >= self._allowance:
            return False
        self._begun += 1
        job = self._source.take(user)
        if job is None or job.sample.intended_at > self.ends_at or not self._may_begin():
            self._begun -= 1
            if job is not None and job.acquired_at is not None:
                self._executor.release(job.submission.op)
            return False
        self._run(job)
        return True

    def _may_begin(self) -> bool:
        return not (self._load_ended or self.stops.reason is not None or self.finished.is_set())

    def allow(self, jobs: int | None, load_ended: bool) -> None:
        """Take how many jobs may begin in all, None if any number, and whether the load has ended."""
        if jobs is not None and jobs > self._allowance:
            self._allowance = jobs
            self._wake_users()
        if load_ended and not self._load_ended:
            self._load_ended = True
            self.ends_at = min(self.ends_at, self._clock.now())

    def _run(self, job: Job) -> None:
        sample, chunk_seen_at = job.sample, list[float]()
        self.counters.started()
        try:
            acquired_at = job.acquired_at
            if acquired_at is None:
                acquired_at = self._executor.acquire(job.submission.op)
                if not self._may_begin() or (self._open is not None and not self._open.owns(sample.seq)):
                    self._executor.release(job.submission.op)
                    return
            self._executor.run(self._steps(job, chunk_seen_at), sample, acquired_at)
        finally:
            self.counters.in_flight -= 1
            if sample.sent_at is not None:
                for sink in self._sinks:
                    sink(sample, chunk_seen_at)

    def _steps(self, job: Job, chunk_seen_at: list[float]) -> Flow:
        flow = job.sample.flow
        driven = JobFlow(job.sample, job.submission, self._pacers[flow], self._scenario.job_timeout)
        match flow:
            case "stream":
                return run_and_stream(driven, chunk_seen_at)
            case "webhook":
                return run_and_wait_for_webhook(driven)
            case _:
                return run_and_poll(driven)

    def _watch(self, sample: Sample, chunk_seen_at: list[float]) -> None:
        """Keep an unfinished job to be cancelled; count a finished one for the rules that stop the run."""
        if sample.finished_at is None:
            self.unfinished.append(sample)
        elif self.stops.enabled:
            self.stops.ended(sample.finished_at, sample.outcome == Outcome.COMPLETED)
            if self.stops.watch is not None:
                self.stops.watch.ended(sample)

    def all_done(self) -> bool:
        """Return whether the load is over and none of its jobs is in flight or waits for a user."""
        if self._clock.now() < self.ends_at or self.counters.in_flight > 0:
            return False
        return self._load_ended or self._open is None or self._open.pending_by(self.ends_at) == 0

    def recent_offered(self, span_s: float) -> int | None:
        """Return how many arrivals were due in the last `span_s`; None in the closed model."""
        return None if self._open is None else self._open.recent_offered(self._clock.now(), span_s)

    def needed_users(self) -> int:
        """Return how many users this process needs in the open model; 0 in the closed model."""
        return 0 if self._open is None else self._open.needed_users(self._clock.now(), self.counters.in_flight)
