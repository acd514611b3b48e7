"""The hands of a run as their lead sees them: whose clock is how far off, who has which share, who is lost."""

from __future__ import annotations

from dataclasses import dataclass, field

from loadtest.drive.cluster.messages import Assignment, Pong, RunFinished, StatusReport
from loadtest.protocol.operations import Op
from loadtest.scenario.model import Scenario
from loadtest.traffic.limit_shares import NO_SHARE, Share, ShareAllocator

ABANDON_AFTER_S = 45.0
"""A lost hand may be behind a link that is cut; after so long its return is no longer waited for."""
LOST_AFTER_S = 3.0
SILENT_S = 1.0
"""One that reports twice a second and has not for so long may have died."""
LEASE_S = 4.0
REASSIGN_DELAY_S = LEASE_S + 0.25
"""The schedule is dealt anew from a time at which no hand may send that has not heard of it."""


@dataclass
class GeneratorState:
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
    started: bool = False
    lost: bool = False
    dead: bool = False
    reassigned_from: float = float("inf")
    done: RunFinished | None = None
    report: StatusReport | None = None

    @property
    def clock_synced(self) -> bool:
        """Whether it has told its time."""
        return self.pongs > 0

    @property
    def active(self) -> bool:
        """Whether it carries out a part of the run, as far as can be known."""
        return self.started and not self.lost and self.done is None


@dataclass
class Membership:
    """Keeps account of the hands; times are in the lead's clock, in seconds.

    A hand may send for `lease_s` after it was last heard of. One that has not reported for `lost_after_s`, or is
    known to have died, is lost until it reports.
    """

    window_s: float
    lost_after_s: float
    lease_s: float
    generators: dict[str, GeneratorState] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._shares = ShareAllocator(self.window_s)
        self._assigned: list[str] = []
        self._returned: list[str] = []

    def add(self, name: str, now: float) -> GeneratorState:
        """A hand has come in."""
        return self.generators.setdefault(name, GeneratorState(len(self.generators), now))

    def record_pong(self, name: str, pong: Pong, now: float) -> None:
        """A hand's answer to a ping: half way through the round trip, its clock stood at `pong.at`."""
        generator = self.add(name, now)
        generator.pongs += 1
        generator.pid, generator.host = pong.pid, pong.host
        round_trip_s = now - pong.sent_at
        if round_trip_s < generator.round_trip_s:
            generator.round_trip_s = round_trip_s
            generator.clock_offset_s = pong.at - (pong.sent_at + now) / 2

    def start_all(self, names: list[str], now: float) -> dict[str, Share]:
        """These hands begin together; the place of each, for its share and for its part alike."""
        for name in names:
            self._begin(name, now)
        self._assigned = list(names)
        return self._shares.pending_changes(now)

    def start_late(self, name: str, now: float) -> Share:
        """A hand begins while others are at work: with nothing, until they have given way."""
        self._begin(name, now)
        return NO_SHARE

    def _begin(self, name: str, now: float) -> None:
        self.generators[name].started, self.generators[name].heard_at = True, now
        self._shares.join(name)

    def record_report(self, name: str, report: StatusReport, now: float) -> None:
        """A hand is there; one that was lost comes back as a late one would."""
        generator = self.generators[name]
        generator.report, generator.heard_at = report, now
        if generator.lost:
            generator.lost = generator.dead = False
            self._shares.rejoin(name)
            self._returned.append(name)

    def confirm(self, name: str, share: Share, now: float) -> None:
        """A share that a hand was told of is in force."""
        self._shares.confirmed(name, share, now)

    def lease_expires_at(self, name: str) -> float:
        """Until when a hand may send, as long as nothing more is heard of it."""
        return self.generators[name].heard_at + self.lease_s

    def newly_lost(self, now: float) -> list[str]:
        """Hands that have fallen silent since last asked."""
        lost = [
            name
            for name, generator in self.generators.items()
            if generator.active and (generator.dead or now - generator.heard_at > self.lost_after_s)
        ]
        for name in lost:
            self.generators[name].lost = True
            self._shares.remove(name, self.lease_expires_at(name))
        return lost

    def suspects(self, now: float) -> list[str]:
        """Hands that may have died: begun, not done, and not heard of for a while."""
        return [name for name in self.expected(now) if now - self.generators[name].heard_at > SILENT_S]

    def pending_assignments(self, now: float) -> dict[str, Assignment]:
        """What hands are to be told now: new shares, and new parts of the schedule when others are to carry it."""
        assignments = {name: Assignment(NO_SHARE, *self._revoked(name)) for name in self._returned}
        self._returned.clear()
        assignments |= {name: Assignment(share=share) for name, share in self._shares.pending_changes(now).items()}
        able = [
            name
            for name, generator in self.generators.items()
            if generator.active and self._shares.allocated[name] != NO_SHARE
        ]
        if able != self._assigned and able:
            self._assigned = able
            from_at = now + REASSIGN_DELAY_S
            for rank, name in enumerate(able):
                share = assignments[name].share if name in assignments else None
                assignments[name] = Assignment(share, Share(rank, len(able)), from_at)
                self.generators[name].reassigned_from = float("inf")
            for name in self.generators.keys() - set(able):
                self.generators[name].reassigned_from = min(self.generators[name].reassigned_from, from_at)
        return assignments

    def _revoked(self, name: str) -> tuple[Share, float] | tuple[()]:
        """What a hand that comes back no longer has: all that others were dealt while it was away."""
        from_at = self.generators[name].reassigned_from
        return (NO_SHARE, from_at) if from_at < float("inf") else ()

    def expected(self, now: float) -> list[str]:
        """The names of the hands from which something may still come: at work, or lost and not given up yet."""
        return [
            name
            for name, generator in self.generators.items()
            if generator.started
            and generator.done is None
            and not generator.dead
            and now - generator.heard_at < ABANDON_AFTER_S
        ]

    def at_work(self) -> list[str]:
        """The names of the hands that carry out a part of the run."""
        return [name for name, generator in self.generators.items() if generator.active]

    def lost(self) -> int:
        """How many hands are lost at the moment."""
        return sum(generator.lost for generator in self.generators.values())


def membership_for(scenario: Scenario, alone: bool) -> Membership:
    """Accounts for the hands; a process that is both lead and hand can neither lose itself nor miss itself."""
    limits = [scenario.limit(op) for op in Op]
    window_s = max((limit.per_s for limit in limits if limit is not None), default=0.0)
    return Membership(window_s, float("inf"), float("inf")) if alone else Membership(window_s, LOST_AFTER_S, LEASE_S)
