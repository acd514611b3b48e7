"""The next job of a user: by the schedule in the open model, when the user is free in the closed model."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import msgspec
import numpy as np
from gevent.event import Event

from loadtest.clock import SleepingClock
from loadtest.errors import ScenarioError
from loadtest.flows.steps import Send
from loadtest.flows.submissions import submission_factory
from loadtest.protocol.operations import Op
from loadtest.record.sample import Sample
from loadtest.scenario.flows import FlowName
from loadtest.scenario.loading.user_functions import load_input_function
from loadtest.scenario.model import Scenario
from loadtest.traffic.arrivals import Schedule
from loadtest.traffic.limit_shares import WHOLE, Share
from loadtest.traffic.partition import SchedulePartition, max_users, next_active_period, weighted_round_robin
from loadtest.traffic.settings import ClosedLoad

LOOK_AHEAD_S = 3.0
"""There is a user for each arrival of the next seconds; Locust asks for the number of users once a second."""
SPARE_USERS = 5
BUILD_AHEAD_S = 0.1
"""A submission with an input of its own is built this long before it is due: early enough, and few at once."""


@dataclass(frozen=True)
class Workload:
    """The part of a run that one process carries out; the closed model has no schedule.

    `starts_at` is when the load starts, in seconds since the epoch; `webhook` the URL that the endpoint notifies.
    """

    scenario: Scenario
    schedule: Schedule | None
    starts_at: float
    share: Share = WHOLE
    process: int = 0
    webhook: str | None = None


BuildSubmission: TypeAlias = Callable[[int], Send | None]
"""Returns the submission of the job with a number; None if it cannot be built, which ends the run."""
Submissions: TypeAlias = Mapping[FlowName, Send | BuildSubmission]
"""The submission of all jobs of a flow, or a function that builds that of each."""


def submission_source(
    work: Workload, flow: FlowName, stream: int, refuse: Callable[[str], object]
) -> Send | BuildSubmission:
    """Return the submission of all jobs of a flow, or a function that builds that of each.

    `refuse` is called with the reason if one cannot be built.
    """
    repeats = work.scenario.repeat_plan(flow, work.schedule)
    build_or_raise = submission_factory(work.scenario, flow, load_input_function, work.webhook, stream, repeats)
    if work.scenario.flows[flow].inputs is None:
        return build_or_raise(0)

    def build(seq: int) -> Send | None:
        try:
            return build_or_raise(seq)
        except ScenarioError as error:
            refuse(str(error))
            return None

    return build


class Job(msgspec.Struct, frozen=True, gc=False):
    """A job to run: its row, its submission, and when the submission acquired its limiter, if it has."""

    sample: Sample
    submission: Send
    acquired_at: float | None = None


class OpenSource:
    """The open model: jobs are due by the schedule, whether or not a user is free."""

    def __init__(self, work: Workload, schedule: Schedule, submissions: Submissions, clock: SleepingClock) -> None:
        self._partition = SchedulePartition(schedule, work.share)
        self._flows = [(name, submissions[name]) for name in work.scenario.flows]
        self._starts_at = work.starts_at
        self._clock = clock
        self._waiting: dict[int, float] = {}
        """When the arrivals that users have taken and wait for are due, in seconds since the epoch."""

    def take(self, user: int) -> Job | None:
        """Wait until the next arrival is due and return its job; None if none is left."""
        while (arrival := self._partition.next()) is not None:
            due_at = self._starts_at + arrival.at_s
            flow, source = self._flows[arrival.flow]
            self._waiting[arrival.seq] = due_at
            try:
                if not isinstance(source, Send):
                    self._clock.sleep_until(due_at - BUILD_AHEAD_S)
                submission = source if isinstance(source, Send) else source(arrival.seq)
                self._clock.sleep_until(due_at)
            finally:
                del self._waiting[arrival.seq]
            if submission is not None and self._partition.owns(arrival.seq):
                return Job(Sample(arrival.seq, flow, due_at, stage=arrival.stage), submission)
        return None

    def owns(self, seq: int) -> bool:
        """Return whether an arrival that was taken has not been reassigned to another process."""
        return self._partition.owns(seq)

    def reassign(self, from_at: float, share: Share) -> None:
        """Take another share of the schedule, for arrivals from this time on."""
        self._partition.reassign(from_at - self._starts_at, share)

    def pending_by(self, at: float) -> int:
        """Return how many arrivals due by this time have not begun, whether or not a user has taken them."""
        waiting = sum(due_at <= at for due_at in self._waiting.values())
        return waiting + self._partition.pending_by(at - self._starts_at)

    def recent_offered(self, now: float, span_s: float) -> int | None:
        """Return the arrivals due in the last `span_s`."""
        now_s = now - self._starts_at
        return self._partition.due_by(now_s) - self._partition.due_by(now_s - span_s)

    def needed_users(self, now: float, in_flight: int) -> int:
        """Return the users for all jobs in flight and for all that are due within LOOK_AHEAD_S, and some spare."""
        soon = self._partition.pending_by(now + LOOK_AHEAD_S - self._starts_at)
        return in_flight + len(self._waiting) + soon + SPARE_USERS


class UserAssignment(NamedTuple):
    """The work of a user in a stage: jobs of one flow, between two times in seconds since the epoch."""

    flow: FlowName
    begins_at: float
    until: float
    stage: int


class ClosedSource:
    """The closed model: a job is due when its user is free and the limit of its submission allows it."""

    def __init__(
        self, work: Workload, submissions: Submissions, acquire: Callable[[Op], float], clock: SleepingClock
    ) -> None:
        assert isinstance(work.scenario.load, ClosedLoad)
        self._load = work.scenario.load
        self._starts_at = work.starts_at
        self._share = work.share
        self._flows = _assign_flows(work.scenario, max_users(self._load))
        self._stage_ends_s = list(itertools.accumulate(stage.duration for stage in self._load.stages))
        self._submissions = submissions
        self._acquire = acquire
        self._clock = clock
        self._assignments: dict[int, UserAssignment] = {}
        self._seqs = itertools.count()
        self._think = np.random.default_rng([work.scenario.seed, work.share.rank])
        self._has_share = Event()

    def take(self, user: int, given: tuple[FlowName, Send] | None = None) -> Job | None:
        """Wait until this user works and its submission is within the limit, and return its job, due then.

        The submission is that of the user's flow unless one is given. Return None if the user works no more, or its
        submission cannot be built.
        """
        assignment = self._assignments.get(user)
        if assignment is None or self._clock.now() >= assignment.until:
            assignment = self._await_assignment(user)
            if assignment is None:
                return None
        seq = next(self._seqs)
        if given is None:
            flow = assignment.flow
            source = self._submissions[flow]
            submission = source if isinstance(source, Send) else source(seq)
            if submission is None:
                return None
        else:
            flow, submission = given
        ready_at = self._clock.now()
        now = self._acquire(submission.op)
        sample = Sample(seq, flow, now, stage=assignment.stage, user=user, ready_at=ready_at)
        return Job(sample, submission, now)

    def await_work(self, user: int) -> bool:
        """Wait until this user works; return False if it works no more."""
        return self._await_assignment(user) is not None

    def _await_assignment(self, user: int) -> UserAssignment | None:
        assignment = self._next_assignment(user)
        if assignment is not None:
            self._clock.sleep_until(assignment.begins_at)
        return assignment

    def _next_assignment(self, user: int) -> UserAssignment | None:
        """Return what a user does from now on, until a stage ends through which it does not work; None if nothing."""
        self._clock.wait(self._has_share, math.inf)
        load, number = self._load, user * self._share.of + self._share.rank
        period = next_active_period(load, number, self._clock.now() - self._starts_at)
        if period is None:
            return None
        begins_s, stage = period
        works_on = load.stages[stage].users.end >= number + 0.5
        until_s = self._stage_ends_s[stage] if works_on else begins_s
        flow = self._flows[number % len(self._flows)]
        begins_at, until = self._starts_at + begins_s, self._starts_at + until_s
        assignment = UserAssignment(flow, begins_at, until, stage)
        self._assignments[user] = assignment
        return assignment

    def think_time_s(self) -> float:
        """Return how long a user thinks between two jobs."""
        think_s = self._load.think
        return float(self._think.exponential(think_s)) if self._load.think_distribution == "exponential" else think_s

    def set_share(self, share: Share) -> None:
        """Take another share of the users; with none, they wait for one."""
        self._share = share
        self._assignments.clear()
        if share.of:
            self._has_share.set()


def _assign_flows(scenario: Scenario, users: int) -> list[FlowName]:
    """Return the flow of each user of the closed model, by its number."""
    names: tuple[FlowName, ...] = tuple(scenario.flows)
    order = weighted_round_robin([scenario.share(name) for name in names], users)
    # A process has every n-th user: a pattern that repeats after n would give it users of one flow alone.
    return [names[index] for index in np.random.default_rng(scenario.seed).permutation(order)]
