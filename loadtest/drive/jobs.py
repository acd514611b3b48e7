"""What a user does: take the next job, wait until it is due, drive it to its end, and put it on record."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np
from gevent.event import Event

from loadtest.clock import Clock
from loadtest.drive.alarm import sleep_until
from loadtest.drive.paces import pacers, share_out
from loadtest.drive.pulse import Pulse
from loadtest.drive.sender import Sender
from loadtest.errors import ScenarioError
from loadtest.flows.job import Job
from loadtest.flows.run import run_and_poll
from loadtest.flows.steps import Send, Steps
from loadtest.flows.stream import stream
from loadtest.flows.submissions import drawn, fixed
from loadtest.flows.webhook import run_and_hear
from loadtest.protocol import Op
from loadtest.record.recorder import Recorder
from loadtest.record.sample import Outcome, Sample
from loadtest.scenario.flows import FlowName
from loadtest.scenario.functions import function_of
from loadtest.scenario.model import SUBMITS_BY, Scenario
from loadtest.scenario.stops import Stops
from loadtest.traffic.arrivals import Schedule
from loadtest.traffic.deal import Deal, closed_users, in_turn, works_from
from loadtest.traffic.settings import ClosedLoad
from loadtest.traffic.shares import ALONE, Place

LOOK_AHEAD_S = 3.0
"""Users are there for every arrival of the next seconds; Locust asks for their number once a second."""
SPARE_USERS = 5
MADE_AHEAD_S = 0.1
"""So long before its time a submission is made whose input is its own: early enough, and not many at once."""


class Turn(NamedTuple):
    """What a user of the closed model does in a stage: jobs of one flow, in seconds since the epoch."""

    flow: FlowName
    op: Op
    begins_at: float
    until: float
    stage: int


class Jobs:
    """The jobs of one run in one process; users call `carry_next` until it says that nothing is left."""

    def __init__(
        self,
        scenario: Scenario,
        schedule: Schedule | None,
        sender: Sender,
        recorder: Recorder,
        clock: Clock,
        place: Place = ALONE,
        webhook: str | None = None,
        process: int = 0,
    ) -> None:
        self._scenario = scenario
        self._place = place
        self._deal = Deal(schedule, place) if schedule is not None else None
        self._names: tuple[FlowName, ...] = tuple(scenario.flows)
        self._sender = sender
        self._recorder = recorder
        self._clock = clock
        # In the open model a job's number is its own among all processes; users number their jobs by themselves.
        stream = 0 if schedule is not None else process
        self._submissions = {name: fixed(scenario, name, webhook) for name in scenario.flows}
        self._drawn = {
            name: drawn(scenario, name, function_of, webhook, stream)
            for name, sent in self._submissions.items()
            if sent is None
        }
        self._pacers = pacers(scenario)
        self._patience_s = scenario.patience
        self._flows = _flows_of_users(scenario)
        self._stage_ends_s = list(itertools.accumulate(stage.duration for stage in scenario.load.stages))
        self._turns: dict[int, Turn] = {}
        self._seqs = itertools.count()
        self._users = itertools.count()
        self._think = np.random.default_rng([scenario.seed, place.rank])
        self.stops = Stops(scenario)
        self.pulse = Pulse()
        recorder.heeded_by(self.pulse.count)
        self._early = 0
        self.unfinished: list[Sample] = []
        self.starts_at = 0.0
        self.ends_at = 0.0
        self.over = Event()
        self._placed = Event()
        self.at_ceiling = False
        self.thinks = isinstance(scenario.load, ClosedLoad) and scenario.load.think > 0

    def start(self, at: float) -> None:
        """The first arrival may come at this time."""
        self.starts_at, self.ends_at = at, at + self._scenario.load.duration_s

    def redeal(self, from_at: float, place: Place) -> None:
        """From this time on, this process has another place in the schedule."""
        if self._deal is not None:
            self._deal.redeal(from_at - self.starts_at, place)

    def resize(self, place: Place) -> None:
        """From now on this process has another share of the limits, the ceilings and the users."""
        self._place = place
        self._turns.clear()
        self.stops.share(place)
        share_out(self._pacers, self._scenario, place)
        if place.of:
            self._placed.set()

    def join(self) -> int:
        """A user comes in; its number."""
        return next(self._users)

    def think_s(self) -> float:
        """How long a user thinks between two jobs."""
        load = self._scenario.load
        if not isinstance(load, ClosedLoad) or load.think == 0:
            return 0.0
        return float(self._think.exponential(load.think)) if load.think_spread == "exponential" else load.think

    def carry_next(self, user: int) -> bool:
        """Carry out the next job; False when there is none left for this user."""
        if self.over.is_set():
            return False
        return self._carry_due() if self._deal is not None else self._carry_own(user)

    def _carry_due(self) -> bool:
        """Open model: the job is due by the schedule, whenever a user is free for it."""
        assert self._deal is not None
        arrival = self._deal.take()
        if arrival is None:
            return False
        due_at = self.starts_at + arrival.at_s
        flow = self._names[arrival.flow]
        self._early += 1
        try:
            submission = self._submissions[flow]
            if submission is None:
                sleep_until(due_at - MADE_AHEAD_S, self._clock)
                submission = self._made(flow, arrival.seq)
            sleep_until(due_at, self._clock)
        finally:
            self._early -= 1
        if submission is None or not self._deal.still_mine(arrival.seq):
            return True
        if due_at > self.ends_at or not self._may_submit():
            return False
        self._carry(Sample(arrival.seq, flow, due_at, stage=arrival.stage), submission)
        return True

    def _made(self, flow: FlowName, seq: int) -> Send | None:
        """The submission of a job whose input is its own; None where it cannot be made, which ends the run."""
        try:
            return self._drawn[flow](seq)
        except ScenarioError as fault:
            self.stops.reason = self.stops.reason or str(fault)
            return None

    def _carry_own(self, user: int) -> bool:
        """Closed model: the job is due when the user is, and the budget gives way."""
        turn = self._turns.get(user)
        now = self._clock.now()
        if turn is None or now >= turn.until:
            turn = self._next_turn(user)
            if turn is None:
                return False
            sleep_until(turn.begins_at, self._clock)
        seq = next(self._seqs)
        submission = self._submissions[turn.flow] or self._made(turn.flow, seq)
        if submission is None:
            return False
        now = self._sender.enter(turn.op)
        if now > self.ends_at or not self._may_submit():
            self._sender.leave(turn.op)
            return False
        self._carry(Sample(seq, turn.flow, now, stage=turn.stage), submission, entered_at=now)
        return True

    def _next_turn(self, user: int) -> Turn | None:
        """What a user does from now on; kept until a stage ends through which the user works."""
        load = self._scenario.load
        assert isinstance(load, ClosedLoad)
        self._placed.wait()
        user_of_all = user * self._place.of + self._place.rank
        due = works_from(load, user_of_all, self._clock.now() - self.starts_at)
        if due is None:
            return None
        begins_s, stage = due
        works_on = load.stages[stage].users.end >= user_of_all + 0.5
        until_s = self._stage_ends_s[stage] if works_on else begins_s
        flow = self._flows[user_of_all % len(self._flows)]
        turn = Turn(flow, SUBMITS_BY[flow], self.starts_at + begins_s, self.starts_at + until_s, stage)
        self._turns[user] = turn
        return turn

    def _may_submit(self) -> bool:
        """At the jobs ceiling the load ends here and now; what is under way is waited for as ever."""
        if not self.stops.watching or self.stops.may_submit():
            return True
        self.at_ceiling = True
        self.ends_at = min(self.ends_at, self._clock.now())
        return False

    def _carry(self, sample: Sample, submission: Send, entered_at: float | None = None) -> None:
        chunk_seen_at: list[float] = []
        self.pulse.started()
        try:
            at = self._entered(sample) if entered_at is None else entered_at
            if at is not None:
                self._sender.carry_out(self._steps(sample, submission, chunk_seen_at), sample, at)
        finally:
            self.pulse.in_flight -= 1
            if sample.sent_at is not None:
                self._put_on_record(sample, chunk_seen_at)

    def _entered(self, sample: Sample) -> float | None:
        """Wait until the job may be submitted; None where it has been dealt to another process meanwhile."""
        op = SUBMITS_BY[sample.flow]
        at = self._sender.enter(op)
        if self._deal is None or self._deal.still_mine(sample.seq):
            return at
        self._sender.leave(op)
        return None

    def _steps(self, sample: Sample, submission: Send, chunk_seen_at: list[float]) -> Steps:
        flow = sample.flow
        job = Job(sample, submission, self._pacers[flow], self._patience_s)
        match flow:
            case "stream":
                return stream(job, chunk_seen_at)
            case "webhook":
                return run_and_hear(job)
            case _:
                return run_and_poll(job)

    def _put_on_record(self, sample: Sample, chunk_seen_at: list[float]) -> None:
        self._recorder.sample(sample, chunk_seen_at)
        if chunk_seen_at:
            self._sender.figures.add_chunks(sample.flow, chunk_seen_at)
        if sample.finished_at is None:
            self.unfinished.append(sample)
        elif self.stops.watching:
            self.stops.ended(sample.finished_at, sample.outcome == Outcome.COMPLETED, sample.execution_ms)
            if self.stops.watch is not None:
                self.stops.watch.ended(sample)

    def all_ended(self) -> bool:
        """Whether the load is over and no job of it is under way or waits for a user."""
        if self._clock.now() < self.ends_at or self.pulse.in_flight > 0:
            return False
        return self._deal is None or self._deal.untaken_by(self.ends_at - self.starts_at) == 0

    def offered_lately(self, span_s: float) -> int | None:
        """Arrivals that were meant to come in the last `span_s`; None in the closed model."""
        if self._deal is None:
            return None
        now_s = self._clock.now() - self.starts_at
        return self._deal.due_by(now_s) - self._deal.due_by(now_s - span_s)

    def needed_users(self) -> int:
        """Open model: users for all jobs in flight and for all that are due within LOOK_AHEAD_S; closed: 0."""
        if self._deal is None:
            return 0
        now_s = self._clock.now() - self.starts_at
        soon = self._deal.untaken_by(now_s + LOOK_AHEAD_S)
        return self.pulse.in_flight + self._early + soon + SPARE_USERS


def _flows_of_users(scenario: Scenario) -> list[FlowName]:
    """Closed model: the flow of each user, by its number."""
    load = scenario.load
    users = closed_users(load) if isinstance(load, ClosedLoad) else 1
    names: tuple[FlowName, ...] = tuple(scenario.flows)
    turns = in_turn([scenario.share(name) for name in names], users)
    # A process has every n-th user: a pattern that repeats after n would give it users of one flow alone.
    return [names[index] for index in np.random.default_rng(scenario.seed).permutation(turns)]
