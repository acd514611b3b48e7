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
from loadtest.drive.books import Books, is_running, outcome, process_info
from loadtest.drive.crew import crew_of
from loadtest.drive.engine import Engine
from loadtest.drive.messages import tell
from loadtest.drive.options import Plan
from loadtest.drive.outset import first_record, look_at, open_directory
from loadtest.drive.view import View
from loadtest.drive.watch import watch_health
from loadtest.embedded import Embedded, Work
from loadtest.errors import Aborted, LoadtestError
from loadtest.record.run import Ending
from loadtest.scenario.key import key_of
from loadtest.scenario.target import RemoteTarget
from loadtest.traffic.shares import Place

BEAT_S = 0.5
SETTLE_S = 0.5
"""Between the start of the users and the first arrival."""
PINGS = 8
PING_EVERY_S = 0.03
MET_WITHIN_S = 10.0
LOCAL = "local"
"""What Locust calls the one process of a run that has no others."""


class Lead:
    """One run as it is led: `begin`, then `is_over` is asked until it is, then `finish`."""

    def __init__(self, plan: Plan, environment: Environment) -> None:
        assert environment.runner is not None
        self._plan = plan
        self._runner = environment.runner
        self._clock = WallClock()
        self._crew = crew_of(plan.scenario, alone=not isinstance(environment.runner, MasterRunner))
        self._view = View(plan.scenario)
        self._greenlets: list[Greenlet[..., None]] = []
        self._embedded: Embedded | None = None
        self._engine: Engine | None = None
        self.fault: LoadtestError | None = None
        self.ending: Ending | None = None
        self.books: Books | None = None
        self.begun = False

    def begin(self) -> None:
        """Open the run directory, start or look at the target, and deal the work.

        A fault on the way ends the run; once there is a directory, it says so in `run.json`.
        """
        try:
            directory = open_directory(self._plan)
            run = first_record(self._plan, directory, self._clock.now())
            self.books = Books(directory, run, self.abort)
            self._engine = self._reached(self.books)
            self._deal(self.books, self._engine)
        except LoadtestError as fault:
            self.abort(fault)

    def _reached(self, books: Books) -> Engine:
        """An engine for the target, which has been looked at."""
        scenario = self._plan.scenario
        if isinstance(scenario.target, RemoteTarget):
            url = scenario.target.url
        else:
            work = None if scenario.target == "embedded" else Work(scenario.target, books.directory.workers)
            self._embedded = Embedded(scenario.endpoint, scenario.seed, work)
            url = self._embedded.url
        books.amend(target=url)
        engine = Engine(url, key_of(scenario, os.environ), self._clock)
        look_at(engine, url)
        return engine

    def _deal(self, books: Books, engine: Engine) -> None:
        names = self._met()
        places = self._crew.begin(names, self._clock.now())
        self._starts_at = self._clock.now() + SETTLE_S
        self._ends_at = self._starts_at + self._plan.scenario.load.duration_s
        processes = [process_info(each) for each in self._crew.members.values()]
        books.amend(load_started_at=self._starts_at, processes=processes)
        for name in names:
            self._tell_to_begin(name, places[name])
        self._spawn(self._beat)
        self._spawn(watch_health, engine, books.directory, self._clock, books.run.target)
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
        assert self.books is not None
        member = self._crew.members[name]
        begin = messages.Begin(
            run_id=self.books.run.id,
            directory=str(self.books.directory.path.resolve()),
            scenario=self._plan.scenario.resolved(),
            url=self.books.run.target,
            process=member.process,
            place=place,
            starts_at=self._starts_at,
            clock_offset_s=member.clock_offset_s,
            until=self._crew.may_send_until(name),
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
                self._told(name, message.sent)
            case messages.Refused():
                member = self._crew.members[name]
                where = "" if name == LOCAL else f"process {member.process} on {member.host}: "
                self.abort(Aborted(where + message.why))

    def _reported(self, name: str, report: messages.Report) -> None:
        self._crew.report(name, report, self._clock.now())
        self._ends_at = max(each.report.ends_at for each in self._crew.members.values() if each.report is not None)
        self._view.hear(name, report.counts)
        self._told(name, report.counts.sent)
        if report.reason is not None and self.fault is None:
            self.fault = Aborted(report.reason)

    def _told(self, name: str, sent: int) -> None:
        """What a hand that counts on a disk of its own has sent."""
        if self.books is not None and name != LOCAL:
            self.books.told(self._crew.members[name].process, sent)

    def _copy(self, name: str, copy: messages.Copy) -> None:
        assert self.books is not None
        self._crew.members[name].heard_at = self._clock.now()
        size = self.books.copied(self._crew.members[name].process, copy)
        tell(self._runner, messages.Copied(copy.shard, size), name)

    def _beat(self) -> None:
        """Watch over the hands and tell how the run goes, twice a second."""
        while True:
            now = self._clock.now()
            self._note_losses(now)
            self._welcome(now)
            for name, turn in self._crew.turns(now).items():
                tell(self._runner, turn, name)
            for name in self._crew.at_work():
                tell(self._runner, messages.Alive(self._crew.may_send_until(name)), name)
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

    def _note_losses(self, now: float) -> None:
        """Who is lost; one that ran on this machine and runs no more will not come back."""
        assert self.books is not None
        for name in self._crew.silent(now):
            member = self._crew.members[name]
            member.gone = member.host == gethostname() and not is_running(member.pid)
        for name in self._crew.newly_lost(now):
            self._view.forget(name)
            self.books.lost(self._crew.members[name].process)

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
        if self.books is not None:
            self._close(self.books, ended_at)

    def _await_hands(self) -> None:
        """Tell all hands that it is over, and wait until each has handed over what it has or is lost."""
        told: set[str] = set()
        while self._crew.awaited(self._clock.now()):
            for name in set(self._crew.at_work()) - told:
                tell(self._runner, messages.End(), name)
                told.add(name)
            gevent.sleep(BEAT_S / 5)
            self._note_losses(self._clock.now())

    def _close(self, books: Books, ended_at: float) -> None:
        told = outcome(self._crew) | {"load_ended_at": min(self._ends_at, ended_at)} if self.begun else {}
        ending = Ending.ABORTED if self.fault is not None else self.ending or Ending.INTERRUPTED
        books.close(ended_at=ended_at, ending=ending, reason=str(self.fault or ""), **told)


def as_fault(exception: Any) -> LoadtestError:
    """What a part of the run died of; one that is no fault of the family is a fault of this program."""
    return exception if isinstance(exception, LoadtestError) else LoadtestError(f"a fault of ours: {exception!r}")
