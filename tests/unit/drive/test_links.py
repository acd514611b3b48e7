"""The lead's account of its hands where links break, in virtual time: no job is sent twice, and none is lost."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from loadtest.drive.crew import LEASE_S, LOST_AFTER_S, Crew
from loadtest.drive.messages import Alive, Report, Turn
from loadtest.traffic.arrivals import Schedule, schedule
from loadtest.traffic.deal import Arrival, Deal
from loadtest.traffic.settings import OpenLoad
from loadtest.traffic.shares import NOWHERE, Place
from tests.unit.drive.test_crew import QUIET

WINDOW_S, LOAD_S, END_S = 2.0, 60, 150
STEPS_PER_S, BEAT = 4, 2
"""Time goes in steps; the lead and its hands beat at every second one."""
PLAN: Schedule = schedule(
    OpenLoad.model_validate({"arrivals": "poisson", "stages": [{"rate": "8/s", "for": f"{LOAD_S}s"}]}),
    {"run": 1.0},
    5,
)


@dataclass
class Link:
    """A queue of messages each way; what waits while it is down comes in order when it is up."""

    to_hand: deque[msgspec.Struct] = field(default_factory=deque)
    to_lead: deque[Report | Place] = field(default_factory=deque)


@dataclass
class HandModel:
    """What a hand does with what it hears; jobs that it took and may not send wait."""

    deal: Deal
    share: Place
    until: float
    waiting: list[Arrival] = field(default_factory=list)
    sent: list[int] = field(default_factory=list)

    def hear(self, message: msgspec.Struct, link: Link) -> None:
        match message:
            case Alive():
                self.until = message.until
            case Turn():
                self.share = self.share if message.share is None else message.share
                if message.part is not None:
                    self.deal.redeal(message.from_at, message.part)
                link.to_lead.append(self.share)

    def send_due(self, now: float) -> None:
        while self.deal.untaken_by(now) and (arrival := self.deal.take()) is not None:
            self.waiting.append(arrival)
        if now < self.until and self.share != NOWHERE:
            self.sent += [arrival.seq for arrival in self.waiting if self.deal.still_mine(arrival.seq)]
            self.waiting.clear()


def hear(crew: Crew, name: str, message: Report | Place, now: float) -> None:
    if isinstance(message, Report):
        crew.report(name, message, now)
    else:
        crew.confirm(name, message, now)


def beat(crew: Crew, links: dict[str, Link], now: float) -> None:
    """As the lead does it: who is lost, who is told what, and who may go on."""
    crew.newly_lost(now)
    for name, turn in crew.turns(now).items():
        links[name].to_hand.append(turn)
    for name in crew.at_work():
        links[name].to_hand.append(Alive(crew.may_send_until(name)))


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


def is_up(outages: list[Outage], hand: int, way: str, now: float) -> bool:
    return not any(hand == of and ways in (way, "both") and at <= now < at + for_s for of, ways, at, for_s in outages)


def run(outages: list[Outage]) -> list[HandModel]:
    names = ["a", "b", "c"]
    crew = Crew(WINDOW_S, LOST_AFTER_S, LEASE_S)
    for name in names:
        crew.join(name, 0.0)
    places = crew.begin(names, 0.0)
    hands = [HandModel(Deal(PLAN, places[name]), places[name], crew.may_send_until(name)) for name in names]
    links = {name: Link() for name in names}
    for step in range(END_S * STEPS_PER_S):
        now = step / STEPS_PER_S
        for number, (name, hand, link) in enumerate(zip(names, hands, links.values(), strict=True)):
            # A hand that was held up sends before it reads what waits for it: the worse order of the two.
            hand.send_due(now)
            while link.to_hand and is_up(outages, number, "to_hand", now):
                hand.hear(link.to_hand.popleft(), link)
            if step % BEAT == 0:
                link.to_lead.append(QUIET)
            while link.to_lead and is_up(outages, number, "to_lead", now):
                hear(crew, name, link.to_lead.popleft(), now)
        if step % BEAT == 0:
            beat(crew, links, now)
    return hands


@settings(max_examples=40, deadline=None)
@given(OUTAGES)
def test_whatever_links_break_and_mend_every_job_is_sent_once(outages: list[Outage]) -> None:
    hands = run(outages)
    sent = Counter(seq for hand in hands for seq in hand.sent)
    assert max(sent.values()) == 1
    assert len(sent) == len(PLAN)


def test_two_that_come_back_at_different_moments_do_not_send_the_same() -> None:
    hands = run([(0, "both", 10.0, 20.0), (1, "both", 10.0, 12.0), (2, "both", 10.0, 14.5)])
    sent = Counter(seq for hand in hands for seq in hand.sent)
    assert sent == dict.fromkeys(range(len(PLAN)), 1)
