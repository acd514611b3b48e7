"""The hands of a run as their lead sees them: whose clock is how far off, who has which share, who is lost."""

from __future__ import annotations

from dataclasses import dataclass, field

from loadtest.drive.messages import Done, Pong, Report, Turn
from loadtest.protocol import Op
from loadtest.scenario.model import Scenario
from loadtest.traffic.shares import NOWHERE, Place, Shares

GIVEN_UP_AFTER_S = 45.0
"""A lost hand may be behind a link that is cut; after so long its return is no longer waited for."""
LOST_AFTER_S = 3.0
SILENT_S = 1.0
"""One that reports twice a second and has not for so long may have died."""
LEASE_S = 4.0
DEALT_AHEAD_S = LEASE_S + 0.25
"""The schedule is dealt anew from a time at which no hand may send that has not heard of it."""


@dataclass
class Member:
    """One hand. `round_trip_s` is that of the exchange from which `clock_offset_s` was taken: the shortest.

    One that is `gone` is known to have died. `dealt_away_at`: what it was to send from this time on has been dealt
    to others, and nothing to it since.
    """

    process: int
    heard_at: float
    clock_offset_s: float = 0.0
    round_trip_s: float = float("inf")
    pongs: int = 0
    pid: int = 0
    host: str = ""
    begun: bool = False
    lost: bool = False
    gone: bool = False
    dealt_away_at: float = float("inf")
    done: Done | None = None
    report: Report | None = None

    @property
    def met(self) -> bool:
        """Whether it has told its time."""
        return self.pongs > 0

    @property
    def at_work(self) -> bool:
        """Whether it carries out a part of the run, as far as can be known."""
        return self.begun and not self.lost and self.done is None


@dataclass
class Crew:
    """Keeps account of the hands; times are in the lead's clock, in seconds.

    A hand may send for `lease_s` after it was last heard of. One that has not reported for `lost_after_s`, or is
    known to have died, is lost until it reports.
    """

    window_s: float
    lost_after_s: float
    lease_s: float
    members: dict[str, Member] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._shares = Shares(self.window_s)
        self._dealt: list[str] = []
        self._returned: list[str] = []

    def join(self, name: str, now: float) -> Member:
        """A hand has come in."""
        return self.members.setdefault(name, Member(len(self.members), now))

    def tell_time(self, name: str, pong: Pong, now: float) -> None:
        """A hand's answer to a ping: half way through the round trip, its clock stood at `pong.at`."""
        member = self.join(name, now)
        member.pongs += 1
        member.pid, member.host = pong.pid, pong.host
        round_trip_s = now - pong.sent_at
        if round_trip_s < member.round_trip_s:
            member.round_trip_s = round_trip_s
            member.clock_offset_s = pong.at - (pong.sent_at + now) / 2

    def begin(self, names: list[str], now: float) -> dict[str, Place]:
        """These hands begin together; the place of each, for its share and for its part alike."""
        for name in names:
            self._begin(name, now)
        self._dealt = list(names)
        return self._shares.due(now)

    def begin_late(self, name: str, now: float) -> Place:
        """A hand begins while others are at work: with nothing, until they have given way."""
        self._begin(name, now)
        return NOWHERE

    def _begin(self, name: str, now: float) -> None:
        self.members[name].begun, self.members[name].heard_at = True, now
        self._shares.join(name)

    def report(self, name: str, report: Report, now: float) -> None:
        """A hand is there; one that was lost comes back as a late one would."""
        member = self.members[name]
        member.report, member.heard_at = report, now
        if member.lost:
            member.lost = member.gone = False
            self._shares.rejoin(name)
            self._returned.append(name)

    def confirm(self, name: str, share: Place, now: float) -> None:
        """A share that a hand was told of is in force."""
        self._shares.confirmed(name, share, now)

    def may_send_until(self, name: str) -> float:
        """Until when a hand may send, as long as nothing more is heard of it."""
        return self.members[name].heard_at + self.lease_s

    def newly_lost(self, now: float) -> list[str]:
        """Hands that have fallen silent since last asked."""
        lost = [
            name
            for name, member in self.members.items()
            if member.at_work and (member.gone or now - member.heard_at > self.lost_after_s)
        ]
        for name in lost:
            self.members[name].lost = True
            self._shares.lost(name, self.may_send_until(name))
        return lost

    def silent(self, now: float) -> list[str]:
        """Hands that may have died: begun, not done, and not heard of for a while."""
        return [name for name in self.awaited(now) if now - self.members[name].heard_at > SILENT_S]

    def turns(self, now: float) -> dict[str, Turn]:
        """What hands are to be told now: new shares, and new parts of the schedule when others are to carry it."""
        turns = {name: Turn(NOWHERE, *self._given_back(name)) for name in self._returned}
        self._returned.clear()
        turns |= {name: Turn(share=share) for name, share in self._shares.due(now).items()}
        able = [
            name for name, member in self.members.items() if member.at_work and self._shares.held[name] != NOWHERE
        ]
        if able != self._dealt and able:
            self._dealt = able
            from_at = now + DEALT_AHEAD_S
            for rank, name in enumerate(able):
                share = turns[name].share if name in turns else None
                turns[name] = Turn(share, Place(rank, len(able)), from_at)
                self.members[name].dealt_away_at = float("inf")
            for name in self.members.keys() - set(able):
                self.members[name].dealt_away_at = min(self.members[name].dealt_away_at, from_at)
        return turns

    def _given_back(self, name: str) -> tuple[Place, float] | tuple[()]:
        """What a hand that comes back no longer has: all that others were dealt while it was away."""
        from_at = self.members[name].dealt_away_at
        return (NOWHERE, from_at) if from_at < float("inf") else ()

    def awaited(self, now: float) -> list[str]:
        """The names of the hands from which something may still come: at work, or lost and not given up yet."""
        return [
            name
            for name, member in self.members.items()
            if member.begun and member.done is None and not member.gone and now - member.heard_at < GIVEN_UP_AFTER_S
        ]

    def at_work(self) -> list[str]:
        """The names of the hands that carry out a part of the run."""
        return [name for name, member in self.members.items() if member.at_work]

    def lost(self) -> int:
        """How many hands are lost at the moment."""
        return sum(member.lost for member in self.members.values())


def crew_of(scenario: Scenario, alone: bool) -> Crew:
    """Accounts for the hands; a process that is both lead and hand can neither lose itself nor miss itself."""
    limits = [scenario.limit(op) for op in Op]
    window_s = max((limit.per_s for limit in limits if limit is not None), default=0.0)
    return Crew(window_s, float("inf"), float("inf")) if alone else Crew(window_s, LOST_AFTER_S, LEASE_S)
