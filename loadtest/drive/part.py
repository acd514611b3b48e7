"""One process's part of a run: its jobs, its share of the limits, its samples on disk."""

from __future__ import annotations

import gc
import os
from argparse import Namespace
from pathlib import Path
from typing import Any

import gevent
from gevent import Greenlet
from locust.env import Environment

from loadtest.clock import WallClock
from loadtest.drive import messages
from loadtest.drive.aftermath import cancel
from loadtest.drive.copies import Copies
from loadtest.drive.effort import Effort, wanted_s
from loadtest.drive.engine import Engine
from loadtest.drive.jobs import Jobs
from loadtest.drive.lane import Lane
from loadtest.drive.listener import Listener
from loadtest.drive.messages import tell
from loadtest.drive.pulse import RATE_SPAN_S
from loadtest.drive.sender import Sender, in_the_loop
from loadtest.errors import RecordingError, RunDirectoryError
from loadtest.protocol import Op
from loadtest.record.directory import RunDirectory
from loadtest.record.progress import Counts
from loadtest.record.recorder import Recorder
from loadtest.scenario.key import key_of
from loadtest.scenario.model import SUBMITS_BY, Scenario
from loadtest.traffic.arrivals import schedule
from loadtest.traffic.settings import ClosedLoad, OpenLoad
from loadtest.traffic.shares import Place

HEARTBEAT_S = 0.5
GARBAGE = 20_000
"""So many new objects are there before a look for cycles, which a job leaves none of."""
COPIED_WITHIN_S = 60.0
"""At the end, how long the lead may take to confirm the last samples."""


class Part:
    """What this process does of a run. It begins at once; LoadtestError where it cannot."""

    def __init__(self, begin: messages.Begin, environment: Environment) -> None:
        assert environment.runner is not None
        gc.collect()
        gc.freeze()
        gc.set_threshold(GARBAGE)
        self.scenario = scenario = Scenario.model_validate(begin.scenario)
        self._runner = environment.runner
        self._clock = WallClock(-begin.clock_offset_s)
        directory, self._shares_disk = _directory(begin, environment.parsed_options)
        self._engine = Engine(begin.url, key_of(scenario, os.environ), self._clock)
        self._recorder = Recorder(directory, begin.process, begin.until < float("inf"), in_the_loop)
        self.copies = Copies(directory, begin.process, self._runner)
        self._lanes = _lanes(scenario, self._clock, begin.place)
        self._listener = None
        if "webhook" in scenario.flows:
            self._listener = Listener(scenario.webhooks, begin.process, self._clock)
        listener = self._listener
        self._sender = Sender(self._engine, self._lanes, self._recorder, self._clock, environment, listener)
        webhook = None if listener is None else listener.url
        self.jobs = _jobs(scenario, self._sender, self._recorder, self._clock, begin, webhook)
        self.jobs.start(begin.starts_at)
        self._place = begin.place
        self._effort = Effort()
        self.jobs.resize(begin.place)
        self._allow(begin.until)
        self._beating: Greenlet[[], None] = gevent.spawn(self._beat)
        self._beating.link_exception(
            lambda failed: tell(self._runner, messages.Refused(f"a fault of ours: {failed.exception!r}"))
        )

    def hear(self, message: Any) -> None:
        """What the lead says while the run is on."""
        match message:
            case messages.Alive():
                self._allow(message.until)
            case messages.Copied():
                self.copies.copied(message)
            case messages.Turn():
                self._turn(message)
                tell(self._runner, messages.Confirmed(self._place))

    def _turn(self, turn: messages.Turn) -> None:
        """Take another share of the limits at once, or another part of the schedule from a time to come."""
        if turn.share is not None:
            self._place = turn.share
            self.jobs.resize(turn.share)
            for lane in self._lanes.values():
                lane.resize(turn.share)
        if turn.part is not None:
            self.jobs.redeal(turn.from_at, turn.part)

    def _allow(self, until: float) -> None:
        """Nothing is sent from then on; but cancelling, which leaves less for others to wait for, goes on."""
        for op, lane in self._lanes.items():
            if op is not Op.CANCEL:
                lane.allow(until)

    def _beat(self) -> None:
        """Hand samples to the disk and tell how things stand, twice a second."""
        while True:
            gevent.sleep(HEARTBEAT_S)
            now = self._clock.now()
            if self.jobs.starts_at <= now <= self.jobs.ends_at:
                self._effort.add(now, wanted_s())
            try:
                self._recorder.flush(now)
            except RecordingError as fault:
                tell(self._runner, messages.Refused(str(fault)))
            self._sender.figures.tell()
            self._report(now)

    def _report(self, now: float) -> None:
        jobs, pulse = self.jobs, self.jobs.pulse
        if not self._shares_disk:
            self.copies.send()
        if jobs.starts_at <= now < jobs.ends_at:
            jobs.stops.look(now)
        counts = Counts(
            sent=self._recorder.tally.count,
            in_flight=pulse.in_flight,
            ended=pulse.ended,
            not_completed=pulse.not_completed,
            throttled=pulse.throttled,
            started=pulse.started_lately(now),
            offered=jobs.offered_lately(RATE_SPAN_S),
            held={str(op): held for op, log in self._recorder.requests.items() if (held := log.fullest.held(now))},
            times=pulse.take_times(),
        )
        tell(
            self._runner,
            messages.Report(
                counts=counts,
                ends_at=jobs.ends_at,
                needed_users=jobs.needed_users(),
                all_ended=jobs.all_ended(),
                winding_down=jobs.at_ceiling,
                reason=jobs.stops.reason,
                cpu_share=self._effort.greatest_share,
            ),
        )

    def finish(self) -> None:
        """Cancel what is unfinished, put the last samples on disk, see them copied, and tell the lead."""
        cancelled = cancel(self.jobs.unfinished, self._sender, self.scenario.drain.cancel_within)
        self._beating.kill()
        try:
            self._recorder.close()
        except RecordingError as fault:
            tell(self._runner, messages.Refused(str(fault)))
        self._engine.close()
        if self._listener is not None:
            self._listener.close()
        by = self._clock.now() + COPIED_WITHIN_S
        while not self._shares_disk and not self.copies.complete() and self._clock.now() < by:
            self.copies.send()
            gevent.sleep(HEARTBEAT_S / 5)
        left_over = len(self.jobs.unfinished) - cancelled
        tell(self._runner, messages.Done(self._recorder.tally.count, self.jobs.ends_at, cancelled, left_over))


def _directory(begin: messages.Begin, options: Namespace | None) -> tuple[RunDirectory, bool]:
    """Where this process keeps its shards, and whether the lead sees them there."""
    keep = options.keep if options is not None else ""
    leads = RunDirectory(Path(begin.directory))
    try:
        if not keep and leads.read_run().id == begin.run_id:
            return leads, True
    except RunDirectoryError:
        pass
    own = RunDirectory(Path(keep or "reports", begin.run_id))
    own.open_elsewhere()
    return own, False


def _lanes(scenario: Scenario, clock: WallClock, place: Place) -> dict[Op, Lane]:
    """A lane an operation; a closed load, which pushes for as long as it runs, submits evenly spaced."""
    spaced = set(SUBMITS_BY.values()) if isinstance(scenario.load, ClosedLoad) else set()
    return {op: Lane(scenario.limit(op), clock, op in spaced, place) for op in Op}


def _jobs(
    scenario: Scenario,
    sender: Sender,
    recorder: Recorder,
    clock: WallClock,
    begin: messages.Begin,
    webhook: str | None,
) -> Jobs:
    load = scenario.load
    shares: dict[str, float] = {flow: scenario.share(flow) for flow in scenario.flows}
    drawn = schedule(load, shares, scenario.seed) if isinstance(load, OpenLoad) else None
    return Jobs(scenario, drawn, sender, recorder, clock, begin.place, webhook, begin.process)
