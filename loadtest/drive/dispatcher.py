"""What a user does: take the next job, wait until it is due, drive it to its end, and put it on record."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np
from gevent.event import Event

from loadtest.clock import Clock
from loadtest.drive.executor import FlowExecutor
from loadtest.drive.limiter import apply_share, pacers
from loadtest.drive.stats.live import LiveCounters
from loadtest.drive.timer import sleep_until
from loadtest.errors import ScenarioError
from loadtest.flows.job_flow import JobFlow
from loadtest.flows.run import run_and_poll
from loadtest.flows.steps import Flow, Send
from loadtest.flows.stream import run_and_stream
from loadtest.flows.submissions import fixed_submission, submission_factory
from loadtest.flows.webhook import run_and_wait_for_webhook
from loadtest.protocol.operations import Op
from loadtest.record.recorder import Recorder
from loadtest.record.sample import Outcome, Sample
from loadtest.scenario.abort import StopRules
from loadtest.scenario.flows import SUBMIT_OPERATION, FlowName
from loadtest.scenario.loading.user_functions import load_input_function
from loadtest.scenario.model import Scenario
from loadtest.traffic.arrivals import Schedule
from loadtest.traffic.limit_shares import WHOLE, Share
from loadtest.traffic.partition import SchedulePartition, max_users, next_active_period, weighted_round_robin
from loadtest.traffic.settings import ClosedLoad

LOOK_AHEAD_S = 3.0
"""Users are there for every arrival of the next seconds; Locust asks for their number once a second."""
SPARE_USERS = 5
BUILD_AHEAD_S = 0.1
"""So long before its time a submission is made whose input is its own: early enough, and not many at once."""


class UserAssignment(NamedTuple):
    """What a user of the closed model does in a stage: jobs of one flow, in seconds since the epoch."""

    flow: FlowName
    op: Op
    begins_at: float
    until: float
    stage: int


class JobDispatcher:
    """The jobs of one run in one process; users call `carry_next` until it says that nothing is left."""

    def __init__(
        self,
        scenario: Scenario,
        schedule: Schedule | None,
        sender: FlowExecutor,
        recorder: Recorder,
        clock: Clock,
        share: Share = WHOLE,
        webhook: str | None = None,
        process: int = 0,
    ) -> None:
        self._scenario = scenario
        self._share = share
        self._partition = SchedulePartition(schedule, share) if schedule is not None else None
        self._names: tuple[FlowName, ...] = tuple(scenario.flows)
        self._sender = sender
        self._recorder = recorder
        self._clock = clock
        # In the open model a job's number is its own among all processes; users number their jobs by themselves.
        stream = 0 if schedule is not None else process
        self._submissions = {name: fixed_submission(scenario, name, webhook) for name in scenario.flows}
        self._drawn = {
            name: submission_factory(scenario, name, load_input_function, webhook, stream)
            for name, sent in self._submissions.items()
            if sent is None
        }
        self._pacers = pacers(scenario)
        self._job_timeout_s = scenario.job_timeout
        self._flows = _assign_flows(scenario)
        self._stage_ends_s = list(itertools.accumulate(stage.duration for stage in scenario.load.stages))
        self._assignments: dict[int, UserAssignment] = {}
        self._seqs = itertools.count()
        self._users = itertools.count()
        self._think = np.random.default_rng([scenario.seed, share.rank])
        self.stops = StopRules(scenario)
        self.counters = LiveCounters()
        recorder.add_listener(self.counters.count)
        self._waiting_for_start = 0
        self.unfinished: list[Sample] = []
        self.starts_at = 0.0
        self.ends_at = 0.0
        self.finished = Event()
        self._has_share = Event()
        self.ceiling_reached = False
        self.has_think_time = isinstance(scenario.load, ClosedLoad) and scenario.load.think > 0

    def start(self, at: float) -> None:
        """The first arrival may come at this time."""
        self.starts_at, self.ends_at = at, at + self._scenario.load.duration_s

    def reassign(self, from_at: float, share: Share) -> None:
        """From this time on, this process has another place in the schedule."""
        if self._partition is not None:
            self._partition.reassign(from_at - self.starts_at, share)

    def set_share(self, share: Share) -> None:
        """From now on this process has another share of the limits, the ceilings and the users."""
        self._share = share
        self._assignments.clear()
        self.stops.set_share(share)
        apply_share(self._pacers, self._scenario, share)
        if share.of:
            self._has_share.set()

    def register_user(self) -> int:
        """A user comes in; its number."""
        return next(self._users)

    def think_time_s(self) -> float:
        """How long a user thinks between two jobs."""
        load = self._scenario.load
        if not isinstance(load, ClosedLoad) or load.think == 0:
            return 0.0
        return float(self._think.exponential(load.think)) if load.think_distribution == "exponential" else load.think

    def run_next(self, user: int) -> bool:
        """Carry out the next job; False when there is none left for this user."""
        if self.finished.is_set():
            return False
        return self._run_open() if self._partition is not None else self._run_closed(user)

    def _run_open(self) -> bool:
        """Open model: the job is due by the schedule, whenever a user is free for it."""
        assert self._partition is not None
        arrival = self._partition.next()
        if arrival is None:
            return False
        due_at = self.starts_at + arrival.at_s
        flow = self._names[arrival.flow]
        self._waiting_for_start += 1
        try:
            submission = self._submissions[flow]
            if submission is None:
                sleep_until(due_at - BUILD_AHEAD_S, self._clock)
                submission = self._build_submission(flow, arrival.seq)
            sleep_until(due_at, self._clock)
        finally:
            self._waiting_for_start -= 1
        if submission is None or not self._partition.owns(arrival.seq):
            return True
        if due_at > self.ends_at or not self._may_submit():
            return False
        self._run(Sample(arrival.seq, flow, due_at, stage=arrival.stage), submission)
        return True

    def _build_submission(self, flow: FlowName, seq: int) -> Send | None:
        """The submission of a job whose input is its own; None where it cannot be made, which ends the run."""
        try:
            return self._drawn[flow](seq)
        except ScenarioError as error:
            self.stops.reason = self.stops.reason or str(error)
            return None

    def _run_closed(self, user: int) -> bool:
        """Closed model: the job is due when the user is, and the budget gives way."""
        assignment = self._assignments.get(user)
        now = self._clock.now()
        if assignment is None or now >= assignment.until:
            assignment = self._next_assignment(user)
            if assignment is None:
                return False
            sleep_until(assignment.begins_at, self._clock)
        seq = next(self._seqs)
        submission = self._submissions[assignment.flow] or self._build_submission(assignment.flow, seq)
        if submission is None:
            return False
        now = self._sender.acquire(assignment.op)
        if now > self.ends_at or not self._may_submit():
            self._sender.release(assignment.op)
            return False
        self._run(Sample(seq, assignment.flow, now, stage=assignment.stage), submission, entered_at=now)
        return True

    def _next_assignment(self, user: int) -> UserAssignment | None:
        """What a user does from now on; kept until a stage ends through which the user works."""
        load = self._scenario.load
        assert isinstance(load, ClosedLoad)
        self._has_share.wait()
        user_of_all = user * self._share.of + self._share.rank
        due = next_active_period(load, user_of_all, self._clock.now() - self.starts_at)
        if due is None:
            return None
        begins_s, stage = due
        works_on = load.stages[stage].users.end >= user_of_all + 0.5
        until_s = self._stage_ends_s[stage] if works_on else begins_s
        flow = self._flows[user_of_all % len(self._flows)]
        assignment = UserAssignment(
            flow, SUBMIT_OPERATION[flow], self.starts_at + begins_s, self.starts_at + until_s, stage
        )
        self._assignments[user] = assignment
        return assignment

    def _may_submit(self) -> bool:
        """At the jobs ceiling the load ends here and now; what is under way is waited for as ever."""
        if not self.stops.enabled or self.stops.may_submit():
            return True
        self.ceiling_reached = True
        self.ends_at = min(self.ends_at, self._clock.now())
        return False

    def _run(self, sample: Sample, submission: Send, entered_at: float | None = None) -> None:
        chunk_seen_at: list[float] = []
        self.counters.started()
        try:
            at = self._acquire(sample) if entered_at is None else entered_at
            if at is not None:
                self._sender.run(self._steps(sample, submission, chunk_seen_at), sample, at)
        finally:
            self.counters.in_flight -= 1
            if sample.sent_at is not None:
                self._record(sample, chunk_seen_at)

    def _acquire(self, sample: Sample) -> float | None:
        """Wait until the job may be submitted; None where it has been dealt to another process meanwhile."""
        op = SUBMIT_OPERATION[sample.flow]
        at = self._sender.acquire(op)
        if self._partition is None or self._partition.owns(sample.seq):
            return at
        self._sender.release(op)
        return None

    def _steps(self, sample: Sample, submission: Send, chunk_seen_at: list[float]) -> Flow:
        flow = sample.flow
        job = JobFlow(sample, submission, self._pacers[flow], self._job_timeout_s)
        match flow:
            case "stream":
                return run_and_stream(job, chunk_seen_at)
            case "webhook":
                return run_and_wait_for_webhook(job)
            case _:
                return run_and_poll(job)

    def _record(self, sample: Sample, chunk_seen_at: list[float]) -> None:
        self._recorder.sample(sample, chunk_seen_at)
        if chunk_seen_at:
            self._sender.figures.add_chunks(sample.flow, chunk_seen_at)
        if sample.finished_at is None:
            self.unfinished.append(sample)
        elif self.stops.enabled:
            self.stops.ended(sample.finished_at, sample.outcome == Outcome.COMPLETED, sample.execution_ms)
            if self.stops.watch is not None:
                self.stops.watch.ended(sample)

    def all_done(self) -> bool:
        """Whether the load is over and no job of it is under way or waits for a user."""
        if self._clock.now() < self.ends_at or self.counters.in_flight > 0:
            return False
        return self._partition is None or self._partition.pending_by(self.ends_at - self.starts_at) == 0

    def recent_offered(self, span_s: float) -> int | None:
        """Arrivals that were meant to come in the last `span_s`; None in the closed model."""
        if self._partition is None:
            return None
        now_s = self._clock.now() - self.starts_at
        return self._partition.due_by(now_s) - self._partition.due_by(now_s - span_s)

    def needed_users(self) -> int:
        """Open model: users for all jobs in flight and for all that are due within LOOK_AHEAD_S; closed: 0."""
        if self._partition is None:
            return 0
        now_s = self._clock.now() - self.starts_at
        soon = self._partition.pending_by(now_s + LOOK_AHEAD_S)
        return self.counters.in_flight + self._waiting_for_start + soon + SPARE_USERS


def _assign_flows(scenario: Scenario) -> list[FlowName]:
    """Closed model: the flow of each user, by its number."""
    load = scenario.load
    users = max_users(load) if isinstance(load, ClosedLoad) else 1
    names: tuple[FlowName, ...] = tuple(scenario.flows)
    order = weighted_round_robin([scenario.share(name) for name in names], users)
    # A process has every n-th user: a pattern that repeats after n would give it users of one flow alone.
    return [names[index] for index in np.random.default_rng(scenario.seed).permutation(order)]
