"""One run in one process, from the look at the target to the last sample on disk."""

from __future__ import annotations

import gc
import os

import gevent
import msgspec
from gevent import Greenlet
from locust.env import Environment

from loadtest.clock import WallClock
from loadtest.drive.aftermath import cancel
from loadtest.drive.engine import Engine
from loadtest.drive.jobs import Jobs
from loadtest.drive.lane import Lane
from loadtest.drive.options import Plan
from loadtest.drive.outset import first_record, look_at, open_directory
from loadtest.drive.sender import Sender
from loadtest.drive.view import progress
from loadtest.embedded import Embedded
from loadtest.errors import Aborted, BadAnswer, LoadtestError, RecordingError
from loadtest.protocol import OPERATIONS, Op
from loadtest.record.directory import RunDirectory
from loadtest.record.recorder import Recorder
from loadtest.record.run import Ending
from loadtest.scenario.key import is_loopback, key_of
from loadtest.scenario.model import SUBMITS_BY, RemoteTarget, Scenario
from loadtest.traffic.settings import ClosedLoad
from loadtest.wire import decode_health

HEARTBEAT_S = 0.5
HEALTH_EVERY_S = 1.0
HEALTH_EVERY_REMOTE_S = 5.0
SETTLE_S = 0.5
"""Between the start of the users and the first arrival."""


class Session:
    """A run while it goes on: `begin`, then users carry out its jobs, then `finish`."""

    def __init__(self, plan: Plan, environment: Environment) -> None:
        self._plan = plan
        self._environment = environment
        self._clock = WallClock()
        self._greenlets: list[Greenlet[[], None]] = []
        self._embedded: Embedded | None = None
        self._engine: Engine | None = None
        self.fault: LoadtestError | None = None
        self.ending: Ending | None = None
        self.directory: RunDirectory | None = None
        self.begun = False

    def begin(self) -> None:
        """Open the run directory, start or look at the target, and set the time of the first arrival.

        A fault on the way ends the run; once there is a directory, it says so in `run.json`.
        """
        try:
            self.directory = open_directory(self._plan)
            self.run = first_record(self._plan, self.directory, self._clock.now())
            self.directory.write_run(self.run)
            self._reach_target()
            self._start()
        except LoadtestError as fault:
            self.abort(fault)

    def _reach_target(self) -> None:
        assert self.directory is not None
        scenario = self._plan.scenario
        if isinstance(scenario.target, RemoteTarget):
            url = scenario.target.url
        else:
            self._embedded = Embedded(scenario.endpoint, scenario.seed)
            url = self._embedded.url
        self.run = msgspec.structs.replace(self.run, target=url)
        self._engine = Engine(url, key_of(scenario, os.environ), self._clock)
        look_at(self._engine, url)

    def _start(self) -> None:
        assert self.directory is not None
        assert self._engine is not None
        gc.collect()
        gc.freeze()
        scenario = self._plan.scenario
        self.recorder = Recorder(self.directory)
        lanes = _lanes(scenario, self._clock)
        self.sender = Sender(self._engine, lanes, self.recorder, self._clock, self._environment)
        self.jobs = Jobs(scenario, self._plan.schedule, self.sender, self.recorder, self._clock)
        self.jobs.start(self._clock.now() + SETTLE_S)
        self.run = msgspec.structs.replace(self.run, load_started_at=self.jobs.starts_at)
        self.directory.write_run(self.run)
        for work in (self._beat, self._ask_for_health):
            greenlet = gevent.spawn(work)
            greenlet.link_exception(
                lambda failed: self.abort(LoadtestError(f"a fault of ours: {failed.exception!r}"))
            )
            self._greenlets.append(greenlet)
        self.begun = True

    def _beat(self) -> None:
        """Hand samples to the disk and tell how the run goes, twice a second."""
        while True:
            gevent.sleep(HEARTBEAT_S)
            try:
                self.recorder.flush(self._clock.now())
            except RecordingError as fault:
                self.abort(fault)
                return
            if self.jobs.stops.reason is not None and self.fault is None:
                self.fault = LoadtestError(self.jobs.stops.reason)
            self.tell("load" if self._clock.now() < self.jobs.ends_at else "drain")

    def tell(self, phase: str) -> None:
        """One line of progress to whoever listens."""
        if self._plan.progress_fd is not None:
            line = msgspec.json.encode(
                progress(phase, self.jobs, self.recorder, self._plan.scenario, self._clock.now())
            )
            try:
                os.write(self._plan.progress_fd, line + b"\n")
            except BrokenPipeError:
                self.abort(Aborted("the command that started this run has died"))

    def _ask_for_health(self) -> None:
        every_s = HEALTH_EVERY_S if is_loopback(self.run.target) else HEALTH_EVERY_REMOTE_S
        while True:
            answer = self.sender.ask(Op.HEALTH, OPERATIONS[Op.HEALTH].path)
            if answer.status == 200:
                try:
                    self.recorder.health(answer.answered_at, decode_health(answer.body))
                except BadAnswer:
                    return
            gevent.sleep(every_s)

    def abort(self, fault: LoadtestError) -> None:
        """The run must not go on; the first fault is the one that is told."""
        self.fault = self.fault or fault

    def stop(self, ending: Ending) -> None:
        """The run is to end now, and not by itself."""
        self.ending = self.ending or ending

    def is_over(self) -> bool:
        """Whether all jobs have ended, the drain is over, or the run must not go on."""
        if self.ending is not None:
            return True
        if self.fault is not None and not (self.begun and self.jobs.at_ceiling):
            return True
        if not self.begun:
            return False
        return self.jobs.all_ended() or self._clock.now() >= self.jobs.ends_at + self._plan.scenario.drain.within

    def finish(self) -> None:
        """Cancel what is unfinished, put the last samples on disk, stop what was started, and say how it ended."""
        ended_at = self._clock.now()
        gevent.killall(self._greenlets)
        if self.begun:
            self.jobs.over.set()
            if self.jobs.unfinished:
                self.tell("cancel")
            cancelled = cancel(self.jobs.unfinished, self.sender, self._plan.scenario.drain.cancel_within)
            try:
                self.recorder.close()
            except RecordingError as fault:
                self.abort(fault)
            self.run = msgspec.structs.replace(
                self.run,
                load_ended_at=min(self.jobs.ends_at, ended_at),
                cancelled=cancelled,
                left_over=len(self.jobs.unfinished) - cancelled,
            )
        if self._engine is not None:
            self._engine.close()
        if self._embedded is not None:
            self._embedded.stop()
        if self.directory is not None:
            ending = Ending.ABORTED if self.fault is not None else self.ending or Ending.INTERRUPTED
            reason = str(self.fault or "")
            self.directory.write_run(
                msgspec.structs.replace(self.run, ended_at=ended_at, ending=ending, reason=reason)
            )


def _lanes(scenario: Scenario, clock: WallClock) -> dict[Op, Lane]:
    """A lane an operation; a closed load, which pushes for as long as it runs, submits evenly spaced."""
    spaced = set(SUBMITS_BY.values()) if isinstance(scenario.load, ClosedLoad) else set()
    return {op: Lane(scenario.limit(op), clock, op in spaced) for op in Op}
