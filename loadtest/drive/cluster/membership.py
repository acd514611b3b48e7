"""The generators of a run as the master sees them: clock offsets, shares, and which of them are lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum, auto
from math import copysign, inf

from loadtest.drive.cluster.messages import Assignment, Pong, RunFinished, StatusReport
from loadtest.protocol.operations import Op
from loadtest.scenario.model import Scenario
from loadtest.traffic.limit_shares import NO_SHARE, Share, ShareAllocator

ABANDON_AFTER_S = 45.0
"""A lost generator may be behind a link that is cut; its return is awaited for this long."""
LOST_AFTER_S = 3.0
SILENT_S = 1.0
"""A generator that has not reported for this long, two heartbeats, may have died."""
LEASE_S = 4.0
REASSIGN_DELAY_S = LEASE_S + 0.25
"""The schedule is reassigned from a time at which a generator that did not receive the message may not send."""


class State(Enum):
    """The state of a generator: DEAD is lost for good, unless it reports after all."""

    CONNECTED = auto()
    RUNNING = auto()
    LOST = auto()
    DEAD = auto()
    FINISHED = auto()


@dataclass(repr=False)
class GeneratorState:
    """One generator. `round_trip_s` is the shortest of all pings before its start; `clock_offset_s` is taken from it.

    Its clock has moved by `clock_drift_s` since, the most that was seen at any ping beyond doubt.
    `reassigned_from`: the arrivals from this time on were assigned to others, and none to it since.
    """

    process: int
    heard_at: float
    state: State = State.CONNECTED
    clock_offset_s: float = 0.0
    round_trip_s: float = inf
    clock_drift_s: float = 0.0
    pongs: int = 0
    pid: int = 0
    host: str = ""
    reassigned_from: float = inf
    finished: RunFinished | None = None
    report: StatusReport | None = None

    @property
    def started(self) -> bool:
        """Return whether it has had a part of the run."""
        return self.state is not State.CONNECTED

    def __repr__(self) -> str:
        host = f" on {self.host}" if self.host else ""
        return f"<GeneratorState {self.process}{host}: {self.state.name}, heard at {self.heard_at:.3f}>"


@dataclass(repr=False)
class Membership:
    """The generators of a run by name. Times are in the master's clock, in seconds.

    A generator may send for `lease_s` after its last report. One that has not reported for `lost_after_s`, or has
    died, is lost until it reports.
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
        """Add a generator that has connected, unless it is known; return its state."""
        return self.generators.setdefault(name, GeneratorState(len(self.generators), now))

    def record_pong(self, name: str, pong: Pong, now: float) -> None:
        """Take the clock offset from a pong: half way through the round trip, the generator's clock was at `at`.

        A generator that has started keeps its offset. What differs from it by more than both round trips explain is
        drift.
        """
        generator = self.add(name, now)
        generator.pongs += 1
        generator.pid, generator.host = pong.pid, pong.host
        round_trip_s, offset_s = now - pong.sent_at, pong.at - (pong.sent_at + now) / 2
        if generator.started:
            moved_s = offset_s - generator.clock_offset_s
            certain_s = abs(moved_s) - (round_trip_s + generator.round_trip_s) / 2
            if certain_s > abs(generator.clock_drift_s):
                generator.clock_drift_s = copysign(certain_s, moved_s)
        elif round_trip_s < generator.round_trip_s:
            generator.round_trip_s, generator.clock_offset_s = round_trip_s, offset_s

    def start_all(self, names: list[str], now: float) -> dict[str, Share]:
        """Start these generators together; return the share of each, of the limits and of the schedule alike."""
        for name in names:
            self._start(name, now)
        self._assigned = list(names)
        return self._shares.pending_changes(now)

    def start_late(self, name: str, now: float) -> Share:
        """Start a generator while others run: without a share, until they have given up a part of theirs."""
        self._start(name, now)
        return NO_SHARE

    def _start(self, name: str, now: float) -> None:
        generator = self.generators[name]
        generator.state, generator.heard_at = State.RUNNING, now
        self._shares.join(name)

    def record_report(self, name: str, report: StatusReport, now: float) -> None:
        """Take a generator's report; one that was lost returns as a late one would start."""
        generator = self.generators[name]
        generator.report, generator.heard_at = report, now
        if generator.state in (State.LOST, State.DEAD):
            generator.state = State.RUNNING
            self._shares.rejoin(name)
            self._returned.append(name)

    def record_finished(self, name: str, finished: RunFinished) -> None:
        """Take a generator's last message."""
        self.generators[name].finished = finished
        self.generators[name].state = State.FINISHED

    def confirm(self, name: str, share: Share, now: float) -> None:
        """Note that a share is in force at a generator."""
        self._shares.confirmed(name, share, now)

    def lease_expires_at(self, name: str) -> float:
        """Return until when a generator may send if it reports nothing more."""
        return self.generators[name].heard_at + self.lease_s

    def newly_lost(self, now: float, has_died: Callable[[GeneratorState], bool] = lambda _: False) -> list[str]:
        """Return the generators that are lost since the last call; `has_died` is asked about silent ones."""
        lost = []
        for name, generator in self._in_state(State.RUNNING, State.LOST):
            silent_s = now - generator.heard_at
            dead = silent_s > SILENT_S and has_died(generator)
            if generator.state is State.RUNNING and (dead or silent_s > self.lost_after_s):
                generator.state = State.LOST
                self._shares.remove(name, self.lease_expires_at(name))
                lost.append(name)
            if dead:
                generator.state = State.DEAD
        return lost

    def pending_assignments(self, now: float) -> dict[str, Assignment]:
        """Return the assignments to send now: new shares, and new parts when other generators are to send them."""
        assignments = {name: Assignment(NO_SHARE, *self._revoked(name)) for name in self._returned}
        self._returned.clear()
        started = sum(generator.started for generator in self.generators.values())
        changes = self._shares.pending_changes(now).items()
        assignments |= {name: Assignment(share=share, started=started) for name, share in changes}
        able = [name for name in self.running() if self._shares.allocated[name] != NO_SHARE]
        if able != self._assigned and able:
            self._assigned = able
            from_at = now + REASSIGN_DELAY_S
            for rank, name in enumerate(able):
                share = assignments[name].share if name in assignments else None
                known = 0 if share is None else started
                assignments[name] = Assignment(share, Share(rank, len(able)), from_at, known)
                self.generators[name].reassigned_from = inf
            for name in self.generators.keys() - set(able):
                self.generators[name].reassigned_from = min(self.generators[name].reassigned_from, from_at)
        return assignments

    def _revoked(self, name: str) -> tuple[Share, float] | tuple[()]:
        """Return the part and time of an assignment that revokes what others were given while this one was lost."""
        from_at = self.generators[name].reassigned_from
        return (NO_SHARE, from_at) if from_at < inf else ()

    def running(self) -> list[str]:
        """Return the names of the generators that run, as far as is known."""
        return [name for name, _ in self._in_state(State.RUNNING)]

    def reports(self) -> list[StatusReport | None]:
        """Return the last report of each generator that runs; None if it has not reported yet."""
        return [generator.report for _, generator in self._in_state(State.RUNNING)]

    def expected(self, now: float) -> list[str]:
        """Return the names of the generators that may still send something: running, or lost and not given up."""
        generators = self._in_state(State.RUNNING, State.LOST)
        return [name for name, generator in generators if now - generator.heard_at < ABANDON_AFTER_S]

    def lost(self) -> int:
        """Return the number of generators that are lost at the moment."""
        return len(list(self._in_state(State.LOST, State.DEAD)))

    def _in_state(self, *states: State) -> Iterator[tuple[str, GeneratorState]]:
        return ((name, each) for name, each in self.generators.items() if each.state in states)

    def __repr__(self) -> str:
        return f"<Membership: {', '.join(f'{name} {each.state.name}' for name, each in self.generators.items())}>"


def membership_for(scenario: Scenario, alone: bool) -> Membership:
    """Return an empty membership for a scenario; a process that is master and generator cannot lose itself."""
    limits = [scenario.limit(op) for op in Op]
    window_s = max((limit.per_s for limit in limits if limit is not None), default=0.0)
    return Membership(window_s, inf, inf) if alone else Membership(window_s, LOST_AFTER_S, LEASE_S)
