"""The process that leads a run: it opens the directory, reaches the target, deals the work, and closes the books."""

from __future__ import annotations

import os
from collections.abc import Callable
from socket import gethostname
from typing import Any

import gevent
import msgspec
from gevent import Greenlet
from locust.env import Environment
from locust.runners import MasterRunner

from loadtest.clock import WallClock
from loadtest.drive import messages
from loadtest.drive.books import is_running, process_info, with_outcome
from loadtest.drive.crew import Crew
from loadtest.drive.engine import Engine
from loadtest.drive.messages import tell
from loadtest.drive.options import Plan
from loadtest.drive.outset import first_record, look_at, open_directory
from loadtest.drive.view import View
from loadtest.drive.watch import watch_health
from loadtest.embedded import Embedded
from loadtest.errors import Aborted, LoadtestError, RecordingError
from loadtest.protocol import Op
from loadtest.record.directory import RunDirectory
from loadtest.record.replica import append_at
from loadtest.record.run import Ending
from loadtest.record.tally import write_count
from loadtest.scenario.key import key_of
from loadtest.scenario.model import RemoteTarget, Scenario
from loadtest.traffic.shares import Place

BEAT_S = 0.5
SETTLE_S = 0.5
"""Between the start of the users and the first arrival."""
PINGS = 8
PING_EVERY_S = 0.03
MET_WITHIN_S = 10.0
LOST_AFTER_S = 3.0
LEASE_S = 4.0
LOCAL = "local"
"""What Locust calls the one process of a run that has no others."""


class Lead:
    """One run as it is led: `begin`, then `is_over` is asked until it is, then `finish`."""

    def __init__(self, plan: Plan, environment: Environment) -> None:
        assert environment.runner is not None
        self._plan = plan
        self._runner = environment.runner
        self._clock = WallClock()
        self._crew = _crew(plan.scenario, alone=not isinstance(environment.runner, MasterRunner))
        self._view = View(plan.scenario)
        self._greenlets: list[Greenlet[..., None]] = []
        self._embedded: Embedded | None = None
        self._engine: Engine | None = None
        self.fault: LoadtestError | None = None
        self.ending: Ending | None = None
        self.unrecorded: RecordingError | None = None
        self.directory: RunDirectory | None = None
        self.begun = False

    def begin(self) -> None:
        """Open the run directory, start or look at the target, and deal the work.

        A fault on the way ends the run; once there is a directory, it says so in `run.json`.
        """
        try:
            directory = open_directory(self._plan)
            self.run = first_record(self._plan, directory, self._clock.now())
            directory.begin(self.run)
            self.directory = directory
            self._reach_target()
            self._deal()
        except LoadtestError as fault:
            self.abort(fault)

    def _reach_target(self) -> None:
        scenario = self._plan.scenario
        if isinstance(scenario.target, RemoteTarget):
            url = scenario.target.url
        else:
            self._embedded = Embedded(scenario.endpoint, scenario.seed)
            url = self._embedded.url
        self.run = msgspec.structs.replace(self.run, target=url)
        self._engine = Engine(url, key_of(scenario, os.environ), self._clock)
        look_at(self._engine, url)

    def _deal(self) -> None:
        assert self.directory is not None
        assert self._engine is not None
        names = self._met()
        places = self._crew.begin(names, self._clock.now())
        self._starts_at = self._clock.now() + SETTLE_S
        self._ends_at = self._starts_at + self._plan.scenario.load.duration_s
        self.run = msgspec.structs.replace(
            self.run,
            load_started_at=self._starts_at,
            processes=[process_info(each) for each in self._crew.members.values()],
        )
        self.directory.write_run(self.run)
        for name in names:
            self._tell_to_begin(name, places[name])
        self._spawn(self._beat)
        self._spawn(watch_health, self._engine, self.directory, self._clock, self.run.target)
        self.begun = True

    def _spawn(self, work: Callable[..., None], *args: Any) -> None:
        greenlet: Greenlet[..., None] = gevent.spawn(work, *args)
        greenlet.link_exception(lambda failed: self.abort(as_fault(failed.exception)))
        self._greenlets.append(greenlet)

    def _met(self) -> list[str]:
        """The hands that are there, each having told its time."""
        if not isinstance(self._runner, MasterRunner):
            self._crew.join(LOCAL, self._clock.now())
            return [LOCAL]
        for client in sorted(self._runner.clients.ready, key=lambda client: client.id):
            self._crew.join(client.id, self._clock.now())
        names = list(self._crew.members)
        for _ in range(PINGS):
            self._ping(names)
            gevent.sleep(PING_EVERY_S)
        by = self._clock.now() + MET_WITHIN_S
        while strangers := [name for name in names if not self._crew.members[name].met]:
            if self._clock.now() > by:
                raise Aborted(f"{len(strangers)} of {len(names)} workers connected but do not answer")
            self._ping(strangers)
            gevent.sleep(PING_EVERY_S)
        return names

    def _ping(self, names: list[str]) -> None:
        for name in names:
            tell(self._runner, messages.Ping(self._clock.now()), name)

    def _tell_to_begin(self, name: str, place: Place) -> None:
        assert self.directory is not None
        member = self._crew.members[name]
        directory, scenario = str(self.directory.path.resolve()), self._plan.scenario.resolved()
        begin = messages.Begin(
            run_id=self.run.id,
            directory=directory,
            scenario=scenario,
            url=self.run.target,
            process=member.process,
            place=place,
            starts_at=self._starts_at,
            clock_offset_s=member.clock_offset_s,
            lease_s=self._crew.lease_s,
        )
        tell(self._runner, begin, name)

    def joined(self, name: str) -> None:
        """A hand has connected while the run is on; it is asked for its time until it listens."""
        if self.begun and name not in self._crew.members:
            self._crew.join(name, self._clock.now())

    def hear(self, name: str, message: Any) -> None:
        """A message from a hand."""
        match message:
            case messages.Pong():
                self._crew.tell_time(name, message, self._clock.now())
            case messages.Report():
                self._reported(name, message)
            case messages.Confirmed():
                self._crew.confirm(name, message.share, self._clock.now())
            case messages.Copy():
                self._copy(name, message)
            case messages.Done():
                self._crew.members[name].done = message
            case messages.Refused():
                member = self._crew.members[name]
                where = "" if name == LOCAL else f"process {member.process} on {member.host}: "
                self.abort(Aborted(where + message.why))

    def _reported(self, name: str, report: messages.Report) -> None:
        self._crew.report(name, report, self._clock.now())
        self._ends_at = max(each.report.ends_at for each in self._crew.members.values() if each.report is not None)
        self._view.hear(name, report.counts)
        if self.directory is not None and name != LOCAL:
            self._set_down(self.directory, self._crew.members[name].process, report.counts.sent)
        if report.reason is not None and self.fault is None:
            self.fault = Aborted(report.reason)

    def _set_down(self, directory: RunDirectory, process: int, sent: int) -> None:
        try:
            write_count(directory.told_path(process), sent)
        except RecordingError as fault:
            self.abort(fault)

    def _copy(self, name: str, copy: messages.Copy) -> None:
        assert self.directory is not None
        path = self.directory.shard_named(copy.shard, self._crew.members[name].process)
        try:
            size = append_at(path, copy.offset, copy.content)
        except RecordingError as fault:
            self.abort(fault)
            return
        self._crew.members[name].heard_at = self._clock.now()
        tell(self._runner, messages.Copied(copy.shard, size), name)

    def _beat(self) -> None:
        """Watch over the hands and tell how the run goes, twice a second."""
        while True:
            now = self._clock.now()
            for name in self._crew.newly_lost(now):
                self._note_loss(name)
                self._look_after(name)
            self._welcome(now)
            for name, turn in self._crew.turns(now).items():
                tell(self._runner, turn, name)
            for name in self._crew.at_work():
                tell(self._runner, messages.Alive(), name)
            self._tell_progress("load" if now < self._ends_at else "drain")
            gevent.sleep(BEAT_S)

    def _welcome(self, now: float) -> None:
        """Ask newcomers for their time, and let those begin who have told it often enough."""
        for name, member in self._crew.members.items():
            if not member.begun and member.pongs >= PINGS:
                self._tell_to_begin(name, self._crew.begin_late(name, now))
            elif not member.begun:
                for _ in range(PINGS):
                    self._ping([name])

    def _note_loss(self, name: str) -> None:
        assert self.directory is not None
        self._view.forget(name)
        process = self._crew.members[name].process
        self.run = msgspec.structs.replace(self.run, lost=[*self.run.lost, process])
        try:
            self.directory.write_run(self.run)
        except RecordingError as fault:
            self.abort(fault)

    def _tell_progress(self, phase: str) -> None:
        """One line of progress to whoever listens."""
        if self._plan.progress_fd is None:
            return
        now = self._clock.now()
        line = self._view.progress(phase, self._starts_at, self._ends_at, now, self._crew.lost())
        try:
            os.write(self._plan.progress_fd, msgspec.json.encode(line) + b"\n")
        except BrokenPipeError:
            self.abort(Aborted("the command that started this run has died"))

    def abort(self, fault: LoadtestError) -> None:
        """The run must not go on; the first fault is the one that is told."""
        self.fault = self.fault or fault

    def stop(self, ending: Ending) -> None:
        """The run is to end now, and not by itself."""
        self.ending = self.ending or ending

    def needed_users(self) -> int:
        """How many users all processes together need, each as many as the one that needs most."""
        reports = [member.report for member in self._crew.members.values() if member.at_work and member.report]
        return max((report.needed_users for report in reports), default=0) * max(1, len(self._crew.at_work()))

    def is_over(self) -> bool:
        """Whether all jobs have ended, the drain is over, or the run must not go on."""
        if self.ending is not None:
            return True
        if not self.begun:
            return self.fault is not None
        reports = [self._crew.members[name].report for name in self._crew.at_work()]
        if self.fault is not None and not any(report is not None and report.winding_down for report in reports):
            return True
        if reports and all(report is not None and report.all_ended for report in reports):
            return True
        now = self._clock.now()
        return now >= self._ends_at + self._plan.scenario.drain.within or not self._crew.awaited(now)

    def finish(self) -> None:
        """See every hand finished, stop what was started, and say how the run ended."""
        ended_at = self._clock.now()
        if isinstance(self._runner, MasterRunner):
            self._await_hands()
        gevent.killall(self._greenlets)
        if self._engine is not None:
            self._engine.close()
        if self._embedded is not None:
            self._embedded.stop()
        if self.directory is not None:
            self._close_the_books(ended_at)

    def _await_hands(self) -> None:
        """Tell all hands that it is over, and wait until each has handed over what it has or is lost."""
        told: set[str] = set()
        while awaited := self._crew.awaited(self._clock.now()):
            for name in set(self._crew.at_work()) - told:
                tell(self._runner, messages.End(), name)
                told.add(name)
            gevent.sleep(BEAT_S / 5)
            for name in self._crew.newly_lost(self._clock.now()):
                self._note_loss(name)
            for name in awaited:
                self._look_after(name)

    def _look_after(self, name: str) -> None:
        """A lost hand that ran on this machine and runs no more will not come back."""
        member = self._crew.members[name]
        member.gone = member.lost and member.host == gethostname() and not is_running(member.pid)

    def _close_the_books(self, ended_at: float) -> None:
        assert self.directory is not None
        run = self.run
        if self.begun:
            run = with_outcome(run, self._crew, min(self._ends_at, ended_at))
        ending = Ending.ABORTED if self.fault is not None else self.ending or Ending.INTERRUPTED
        reason = str(self.fault or "")
        try:
            self.directory.write_run(msgspec.structs.replace(run, ended_at=ended_at, ending=ending, reason=reason))
        except RecordingError as fault:
            self.unrecorded = fault


def as_fault(exception: Any) -> LoadtestError:
    """What a part of the run died of; one that is no fault of the family is a fault of this program."""
    return exception if isinstance(exception, LoadtestError) else LoadtestError(f"a fault of ours: {exception!r}")


def _crew(scenario: Scenario, alone: bool) -> Crew:
    """Accounts for the hands; a process that is both lead and hand can neither lose itself nor miss itself."""
    limits = [scenario.limit(op) for op in Op]
    window_s = max((limit.per_s for limit in limits if limit is not None), default=0.0)
    return Crew(window_s, float("inf"), float("inf")) if alone else Crew(window_s, LOST_AFTER_S, LEASE_S)
