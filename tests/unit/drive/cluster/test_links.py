"""The lead's account of its hands where links break, in virtual time: no job is sent twice, and none is lost."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from loadtest.drive.cluster.membership import LEASE_S, LOST_AFTER_S, Membership
from loadtest.drive.cluster.messages import Assignment, Lease, StatusReport
from loadtest.traffic.arrivals import Schedule, draw_schedule
from loadtest.traffic.limit_shares import NO_SHARE, Share
from loadtest.traffic.partition import Arrival, SchedulePartition
from loadtest.traffic.settings import OpenLoad
from tests.unit.drive.cluster.test_membership import QUIET

WINDOW_S, LOAD_S, END_S = 2.0, 60, 150
STEPS_PER_S, HEARTBEAT = 4, 2
"""Time goes in steps; the lead and its hands beat at every second one."""
PLAN: Schedule = draw_schedule(
    OpenLoad.model_validate({"arrivals": "poisson", "stages": [{"rate": "8/s", "for": f"{LOAD_S}s"}]}),
    {"run": 1.0},
    5,
)


@dataclass
class Link:
    """A queue of messages each way; what waits while it is down comes in order when it is up."""

    to_generator: deque[msgspec.Struct] = field(default_factory=deque)
    to_master: deque[StatusReport | Share] = field(default_factory=deque)


@dataclass
class GeneratorModel:
    """What a hand does with what it hears; jobs that it took and may not send wait."""

    partition: SchedulePartition
    share: Share
    until: float
    waiting: list[Arrival] = field(default_factory=list)
    sent: list[int] = field(default_factory=list)

    def hear(self, message: msgspec.Struct, link: Link) -> None:
        match message:
            case Lease():
                self.until = message.until
            case Assignment():
                self.share = self.share if message.share is None else message.share
                if message.part is not None:
                    self.partition.reassign(message.from_at, message.part)
                link.to_master.append(self.share)

    def send_due(self, now: float) -> None:
        while self.partition.pending_by(now) and (arrival := self.partition.next()) is not None:
            self.waiting.append(arrival)
        if now < self.until and self.share != NO_SHARE:
            self.sent += [arrival.seq for arrival in self.waiting if self.partition.owns(arrival.seq)]
            self.waiting.clear()


def hear(membership: Membership, name: str, message: StatusReport | Share, now: float) -> None:
    if isinstance(message, StatusReport):
        membership.record_report(name, message, now)
    else:
        membership.confirm(name, message, now)


def heartbeat(membership: Membership, links: dict[str, Link], now: float) -> None:
    """As the lead does it: who is lost, who is told what, and who may go on."""
    membership.newly_lost(now)
    for name, assignment in membership.pending_assignments(now).items():
        links[name].to_generator.append(assignment)
    for name in membership.at_work():
        links[name].to_generator.append(Lease(membership.lease_expires_at(name)))


Outage = tuple[int, str, float, float]
OUTAGES = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.sampled_from(["to_hand", "to_lead", "both"]),
        st.integers(0, 4 * LOAD_S).map(lambda quarters: quarters / 4),
        st.integers(1, 100).map(lambda quarters: quarters / 4),
    ),
    max_size=6,
)
"""Which hand's link, which way, from when, for how long."""


def is_up(outages: list[Outage], generator: int, way: str, now: float) -> bool:
    return not any(
        generator == of and ways in (way, "both") and at <= now < at + for_s for of, ways, at, for_s in outages
    )


def run(outages: list[Outage]) -> list[GeneratorModel]:
    names = ["a", "b", "c"]
    membership = Membership(WINDOW_S, LOST_AFTER_S, LEASE_S)
    for name in names:
        membership.add(name, 0.0)
    shares = membership.start_all(names, 0.0)
    generators = [
        GeneratorModel(SchedulePartition(PLAN, shares[name]), shares[name], membership.lease_expires_at(name))
        for name in names
    ]
    links = {name: Link() for name in names}
    for step in range(END_S * STEPS_PER_S):
        now = step / STEPS_PER_S
        for number, (name, generator, link) in enumerate(zip(names, generators, links.values(), strict=True)):
            # A hand that was held up sends before it reads what waits for it: the worse order of the two.
            generator.send_due(now)
            while link.to_generator and is_up(outages, number, "to_hand", now):
                generator.hear(link.to_generator.popleft(), link)
            if step % HEARTBEAT == 0:
                link.to_master.append(QUIET)
            while link.to_master and is_up(outages, number, "to_lead", now):
                hear(membership, name, link.to_master.popleft(), now)
        if step % HEARTBEAT == 0:
            heartbeat(membership, links, now)
    return generators


@settings(max_examples=40, deadline=None)
@given(OUTAGES)
def test_whatever_links_break_and_mend_every_job_is_sent_once(outages: list[Outage]) -> None:
    generators = run(outages)
    sent = Counter(seq for generator in generators for seq in generator.sent)
    assert max(sent.values()) == 1
    assert len(sent) == len(PLAN)


def test_two_that_come_back_at_different_moments_do_not_send_the_same() -> None:
    generators = run([(0, "both", 10.0, 20.0), (1, "both", 10.0, 12.0), (2, "both", 10.0, 14.5)])
    sent = Counter(seq for generator in generators for seq in generator.sent)
    assert sent == dict.fromkeys(range(len(PLAN)), 1)
