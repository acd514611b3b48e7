"""The jobs of one process: users take them one by one, and those that have ended are published in batches."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from math import floor
from typing import TypeAlias

import gevent
from gevent.event import Event

from loadtest.clock import SleepingClock
from loadtest.drive.canceller import Canceller, CancelSink
from loadtest.drive.executor import FlowExecutor
from loadtest.drive.job_sources import ClosedSource, Job, OpenSource, Workload, submission_source
from loadtest.drive.limiter import apply_share, pacers
from loadtest.drive.stats.live import LiveCounters
from loadtest.flows.expectations import AnswerCheck, answer_check
from loadtest.flows.job_flow import JobFlow, run_and_poll
from loadtest.flows.openai import ReadingTurns, run_openai
from loadtest.flows.steps import Flow, Send
from loadtest.flows.stream import run_and_stream
from loadtest.flows.submissions import shorten_hold
from loadtest.flows.webhook import run_and_wait_for_webhook
from loadtest.protocol.operations import Op
from loadtest.record.recorder import EndedJob
from loadtest.record.sample import ChunkSeen, Outcome, Sample
from loadtest.scenario.abort import StopKind, StopRules
from loadtest.scenario.flows import FlowName
from loadtest.scenario.loading.user_functions import load_output_function
from loadtest.traffic.limit_shares import Share
from loadtest.traffic.settings import ClosedLoad

HOLD_MARGIN_S = 2.0
"""How long before the end of the drain the last response to a submission should be there."""
ANSWER_GRACE_S = 5.0
"""How long the last responses to submissions are waited for if a run ends early: their jobs can be cancelled then."""
ANSWER_CHECK_S = 0.05
_NO_SUBMISSION = Send(Op.RUNSYNC, "")
JobSink: TypeAlias = Callable[[Sequence[EndedJob]], object]
"""Called with jobs that were sent and are over, once with each."""
BATCH = 500
"""The jobs published at once, which takes about a millisecond; publishing all that ended since the last
heartbeat could delay jobs that are due."""
BATCH_CHUNKS = 2_000
"""The chunks published at once, if the jobs have many."""


class JobDispatcher:
    """The jobs of one run in one process; users call `run_next` until it returns False, then `wait_for_change`.

    Times are seconds since the epoch. `stops` says whether the run must end, `canceller` has the jobs that were given
    up, and `finished` is set from outside when no more job may begin. `schedule` is called to publish a full batch of
    jobs; unless given, it is published at once.
    """

    def __init__(
        self,
        work: Workload,
        executor: FlowExecutor,
        clock: SleepingClock,
        sinks: Sequence[JobSink] = (),
        schedule: Callable[[Callable[[], None]], object] = lambda work: work(),
        on_cancelled: CancelSink = lambda sample, at: None,
    ) -> None:
        scenario = work.scenario
        self._scenario = scenario
        self._executor = executor
        self._clock = clock
        self._pacers = pacers(scenario)
        self._turns = ReadingTurns()
        self._checks = {
            name: None if flow.expect is None else answer_check(flow.expect, load_output_function)
            for name, flow in scenario.flows.items()
        }
        self.stops = StopRules(scenario)
        self.counters = LiveCounters()
        self._sinks = (*sinks, self.counters.count)
        self._schedule = schedule
        self._ended: list[EndedJob] = []
        self._ended_chunks = 0
        within_s = scenario.drain.within
        self._hold_in_drain_s = within_s - min(HOLD_MARGIN_S, within_s / 2)
        self._shortened = _NO_SUBMISSION, 0, _NO_SUBMISSION
        self.canceller = Canceller(executor, clock, on_cancelled)
        self.perhaps_accepted = 0
        # In the open model all processes number their jobs together; users of the closed model number their own.
        stream = 0 if work.schedule is not None else work.process
        self.starts_at = work.starts_at
        self.ends_at = work.starts_at + scenario.load.duration_s
        arrivals, ceiling = work.schedule, scenario.ceilings.jobs
        if arrivals is not None and ceiling is not None and len(arrivals) > ceiling:
            self.ends_at = work.starts_at + float(arrivals.at_s[ceiling])
            arrivals = arrivals.first(ceiling)
        tasks = isinstance(scenario.load, ClosedLoad) and scenario.load.locustfile is not None
        names = () if tasks else scenario.flows
        refuse = partial(self.stops.stop, StopKind.INPUTS)
        submissions = {name: submission_source(work, name, stream, refuse) for name in names}
        self._open = OpenSource(work, arrivals, submissions, clock) if arrivals is not None else None
        self._source = self._open or ClosedSource(work, submissions, executor.acquire, clock)
        self._users = 0
        self.finished = Event()
        self._answered = Event()
        self._changed = Event()
        self._load_ended = False
        self._begun = 0
        self._allowance: float = 0 if arrivals is None and ceiling is not None else math.inf
        self.has_think_time = isinstance(scenario.load, ClosedLoad) and scenario.load.think > 0
        self.set_share(work.share)

    def __repr__(self) -> str:
        ended = self.counters.ended + len(self._ended)
        return f"<JobDispatcher {self._scenario.name}: {self.counters.in_flight} in flight, {ended} ended>"

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
        job = self.admit(user)
        if job is None:
            return False
        chunks_seen: list[ChunkSeen] = []
        try:
            self.follow(job, chunks_seen)
        finally:
            self.close(job.sample, chunks_seen)
        return True

    def admit(self, user: int, given: tuple[FlowName, Send] | None = None) -> Job | None:
        """Take a job that may begin now, of this submission if one is given; return None if none may begin.

        It counts as in flight until `close`.
        """
        if not self._may_begin() or self._begun >= self._allowance:
            return None
        self._begun += 1
        job = self._source.take(user) if given is None else self.closed_source.take(user, given)
        if job is None or job.sample.intended_at > self.ends_at or not self._may_begin():
            self._begun -= 1
            if job is not None and job.acquired_at is not None:
                self._executor.release(job.submission.op)
            return None
        self.counters.started()
        return job

    @property
    def closed_source(self) -> ClosedSource:
        """Return the source of a closed load's jobs."""
        assert isinstance(self._source, ClosedSource)
        return self._source

    @property
    def load_is_over(self) -> bool:
        """Return whether no further job may begin, whatever the others do."""
        return not self._may_begin() or self._clock.now() > self.ends_at

    def _may_begin(self) -> bool:
        return not (self._load_ended or self.stops.reason is not None or self.finished.is_set())

    def end(self) -> None:
        """Let no further job begin, and none be submitted again."""
        self.finished.set()
        self._executor.end_submissions()
        gevent.spawn(self._await_answers)

    def _await_answers(self) -> None:
        now = self._clock.now()
        until = min(now + ANSWER_GRACE_S, self.ends_at + self._scenario.drain.within)
        while self._executor.submitting() and self._clock.now() < until:
            self._clock.sleep(ANSWER_CHECK_S)
        self._answered.set()

    def wait_for_answers(self) -> None:
        """Wait, after `end`, until users may be stopped: no submission is under way, or the grace is over."""
        self._answered.wait()

    def allow(self, jobs: int | None, load_ended: bool) -> None:
        """Take how many jobs may begin in all, None if any number, and whether the load has ended."""
        if jobs is not None and jobs > self._allowance:
            self._allowance = jobs
            self._wake_users()
        if load_ended and not self._load_ended:
            self._load_ended = True
            self.ends_at = min(self.ends_at, self._clock.now())

    def follow(self, job: Job, chunks_seen: list[ChunkSeen], steps: Callable[[float], Flow] | None = None) -> None:
        """Submit an admitted job and drive its flow; `steps` may make that, for when the limit gave way."""
        acquired_at, gone_out = job.acquired_at, False
        while not gone_out:
            if acquired_at is None:
                acquired_at = self._executor.acquire(job.submission.op)
                if not self._may_begin() or (self._open is not None and not self._open.owns(job.sample.seq)):
                    self._executor.release(job.submission.op)
                    return
            flow = self.steps(job, chunks_seen, acquired_at) if steps is None else steps(acquired_at)
            gone_out = self._executor.run(flow, job.sample, acquired_at)
            acquired_at = None

    def close(self, sample: Sample, chunks_seen: list[ChunkSeen]) -> None:
        """Count an admitted job as over, and record it if it was sent."""
        self.counters.in_flight -= 1
        if sample.sent_at is not None:
            self._end(sample, chunks_seen)

    def driven(self, job: Job, acquired_at: float, check: AnswerCheck | None) -> JobFlow:
        """Return a job as its flow drives it, held for no longer than the drain waits."""
        submission = job.submission
        hold_until = self.ends_at + self._hold_in_drain_s
        if submission.long_poll_s > hold_until - acquired_at:
            submission = self._shorten_hold(submission, floor(hold_until - acquired_at))
        pacer = self._pacers[job.sample.flow]
        return JobFlow(job.sample, submission, pacer, self._scenario.job_timeout, hold_until, check)

    def check_of(self, flow: FlowName) -> AnswerCheck | None:
        """Return what judges the answers of a flow; None if any will do."""
        return self._checks[flow]

    def steps(
        self, job: Job, chunks_seen: list[ChunkSeen], acquired_at: float, check: AnswerCheck | None = None
    ) -> Flow:
        """Return the flow of a job, which fills in its row and the chunks; `check` replaces that of the scenario."""
        flow = job.sample.flow
        driven = self.driven(job, acquired_at, self._checks[flow] if check is None else check)
        match flow:
            case "stream":
                return run_and_stream(driven, chunks_seen)
            case "webhook":
                return run_and_wait_for_webhook(driven)
            case "openai":
                return run_openai(driven, chunks_seen, max(0.0, driven.deadline - acquired_at), self._turns)
            case _:
                return run_and_poll(driven)

    def _shorten_hold(self, asked: Send, left_s: int) -> Send:
        """Return a submission held for less time; the last one again if nothing has changed, as for most jobs."""
        known, known_s, shortened = self._shortened
        if asked is not known or left_s != known_s:
            shortened = shorten_hold(asked, left_s)
            self._shortened = asked, left_s, shortened
        return shortened

    def _end(self, sample: Sample, chunks_seen: list[ChunkSeen]) -> None:
        """Cancel a job that was given up, and count each job for the rules that stop the run."""
        self._ended.append((sample, chunks_seen))
        if chunks_seen:
            self._ended_chunks += len(chunks_seen)
        if len(self._ended) == BATCH or self._ended_chunks >= BATCH_CHUNKS:
            self._ended_chunks = 0
            self._schedule(self.publish)
        if sample.outcome is not Outcome.COMPLETED:
            self.perhaps_accepted += sample.perhaps_accepted
            if sample.given_up:
                self.canceller.add(sample)
        # Jobs that the end of the run cuts off say nothing of the endpoint.
        if self.stops.enabled and (sample.finished_at is not None or not self.finished.is_set()):
            ended_at = self._clock.now() if sample.finished_at is None else sample.finished_at
            self.stops.ended(sample, ended_at, chunks_seen)

    def publish(self) -> None:
        """Pass the jobs that ended since the last call to all sinks; to be called before what they hold is read."""
        ended, self._ended, self._ended_chunks = self._ended, [], 0
        for sink in self._sinks:
            sink(ended)

    def all_done(self) -> bool:
        """Return whether the load is over and each of its jobs has begun and ended."""
        if self._clock.now() < self.ends_at or self.counters.in_flight > 0:
            return False
        return self._load_ended or self._open is None or self._open.pending_by(self.ends_at) == 0

    def recent_offered(self, span_s: float) -> int | None:
        """Return how many arrivals were due in the last `span_s`; None in the closed model."""
        return None if self._open is None else self._open.recent_offered(self._clock.now(), span_s)

    def needed_users(self) -> int:
        """Return how many users this process needs in the open model; 0 in the closed model."""
        return 0 if self._open is None else self._open.needed_users(self._clock.now(), self.counters.in_flight)
