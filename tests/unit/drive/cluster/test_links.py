"""Membership and leases while links break, in virtual time: no job is sent twice, and none is left out."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from loadtest.drive.cluster.generator import GeneratorLease
from loadtest.drive.cluster.membership import LEASE_S, LOST_AFTER_S, Membership
from loadtest.drive.cluster.messages import Assignment, Lease, ShareConfirmed, StatusReport
from loadtest.traffic.arrivals import Schedule, draw_schedule
from loadtest.traffic.limit_shares import NO_SHARE, Share
from loadtest.traffic.partition import Arrival, SchedulePartition
from loadtest.traffic.settings import OpenLoad
from tests.unit.drive.cluster.test_membership import QUIET

WINDOW_S, LOAD_S, END_S = 2.0, 60, 150
STEPS_PER_S, HEARTBEAT = 4, 2
"""Time passes in steps; the master and its generators have a heartbeat at every second step."""
PLAN: Schedule = draw_schedule(
    OpenLoad.model_validate({"arrivals": "poisson", "stages": [{"rate": "8/s", "for": f"{LOAD_S}s"}]}),
    {"run": 1.0},
    5,
)


@dataclass
class Connection:
    """A queue of messages each way; messages sent while it is broken arrive in order once it works again."""

    to_generator: deque[Lease | Assignment] = field(default_factory=deque)
    to_master: deque[msgspec.Struct] = field(default_factory=deque)


class ScheduledJobs:
    """The jobs of one generator; those that are due while it may not send wait."""

    def __init__(self, share: Share, until: float) -> None:
        self._partition = SchedulePartition(PLAN, share)
        self.lease = GeneratorLease(until, share, [], [], self._partition.reassign)
        self._waiting: list[Arrival] = []
        self.sent: list[int] = []

    def send_due(self, now: float) -> None:
        while self._partition.pending_by(now) and (arrival := self._partition.next()) is not None:
            self._waiting.append(arrival)
        if may_send(self.lease, now):
            self.sent += [arrival.seq for arrival in self._waiting if self._partition.owns(arrival.seq)]
            self._waiting.clear()


def may_send(lease: GeneratorLease, now: float) -> bool:
    """Return whether limiters that follow this lease let a request out."""
    return now < lease.until and lease.share != NO_SHARE


def deliver(membership: Membership, name: str, message: msgspec.Struct, now: float) -> None:
    match message:
        case StatusReport():
            membership.record_report(name, message, now)
        case ShareConfirmed():
            membership.confirm(name, message.share, now)


def heartbeat(membership: Membership, connections: dict[str, Connection], now: float) -> None:
    """Send what the master's heartbeat sends: assignments and leases."""
    membership.newly_lost(now)
    for name, assignment in membership.pending_assignments(now).items():
        connections[name].to_generator.append(assignment)
    for name in membership.running():
        connections[name].to_generator.append(Lease(membership.lease_expires_at(name)))


Outage = tuple[int, str, float, float]
OUTAGES = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.sampled_from(["to_generator", "to_master", "both"]),
        st.integers(0, 4 * LOAD_S).map(lambda quarters: quarters / 4),
        st.integers(1, 100).map(lambda quarters: quarters / 4),
    ),
    max_size=6,
)
"""The generator whose link breaks, in which direction, from when, for how long."""


def is_up(outages: list[Outage], generator: int, direction: str, now: float) -> bool:
    return not any(
        generator == broken and directions in (direction, "both") and at <= now < at + for_s
        for broken, directions, at, for_s in outages
    )


def run(outages: list[Outage]) -> list[ScheduledJobs]:
    names = ["a", "b", "c"]
    membership = Membership(WINDOW_S, LOST_AFTER_S, LEASE_S)
    for name in names:
        membership.add(name, 0.0)
    shares = membership.start_all(names, 0.0)
    generators = [ScheduledJobs(shares[name], membership.lease_expires_at(name)) for name in names]
    connections = {name: Connection() for name in names}
    for step in range(END_S * STEPS_PER_S):
        now = step / STEPS_PER_S
        for number, (name, jobs, link) in enumerate(zip(names, generators, connections.values(), strict=True)):
            # A generator that was suspended sends before it reads its messages: the worse order of the two.
            jobs.send_due(now)
            while link.to_generator and is_up(outages, number, "to_generator", now):
                if (answer := jobs.lease.apply(link.to_generator.popleft())) is not None:
                    link.to_master.append(answer)
            if step % HEARTBEAT == 0:
                link.to_master.append(QUIET)
            while link.to_master and is_up(outages, number, "to_master", now):
                deliver(membership, name, link.to_master.popleft(), now)
        if step % HEARTBEAT == 0:
            heartbeat(membership, connections, now)
    return generators


@settings(max_examples=40, deadline=None)
@given(OUTAGES)
def test_every_job_is_sent_once_whichever_links_break_and_recover(outages: list[Outage]) -> None:
    sent = Counter(seq for jobs in run(outages) for seq in jobs.sent)
    assert max(sent.values()) == 1
    assert len(sent) == len(PLAN)


def test_two_generators_that_return_at_different_moments_do_not_send_the_same() -> None:
    generators = run([(0, "both", 10.0, 20.0), (1, "both", 10.0, 12.0), (2, "both", 10.0, 14.5)])
    sent = Counter(seq for jobs in generators for seq in jobs.sent)
    assert sent == dict.fromkeys(range(len(PLAN)), 1)


def test_a_lease_ends_at_its_time_and_a_generator_without_a_share_sends_nothing() -> None:
    lease = ScheduledJobs(Share(0, 2), 4.0).lease
    assert (may_send(lease, 3.9), may_send(lease, 4.0)) == (True, False)
    assert lease.apply(Lease(6.5)) is None
    assert repr(lease) == "<GeneratorLease: share 0 of 2, until 6.500>"
    assert lease.apply(Assignment(share=NO_SHARE)) == ShareConfirmed(NO_SHARE)
    assert not may_send(lease, 4.0)
    assert lease.apply(Assignment(part=Share(0, 1), from_at=9.0)) == ShareConfirmed(NO_SHARE)
