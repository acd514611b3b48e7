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
from loadtest.drive.cluster import messages
from loadtest.drive.cluster.embedded_endpoint import EmbeddedEndpoint, HandlerSpec
from loadtest.drive.cluster.membership import membership_for
from loadtest.drive.cluster.messages import send
from loadtest.drive.cluster.run_log import (
    RunLog,
    final_fields,
    is_running,
    preflight_check,
    process_info,
)
from loadtest.drive.health import poll_health
from loadtest.drive.http.client import HttpClient
from loadtest.drive.options import RunConfig
from loadtest.drive.stats.live import ProgressAggregator
from loadtest.errors import LoadtestError, RunAborted
from loadtest.record.run import Ending, ProcessInfo
from loadtest.scenario.credentials import api_key
from loadtest.scenario.target import RemoteTarget
from loadtest.traffic.limit_shares import Share

HEARTBEAT_S = 0.5
START_DELAY_S = 0.5
"""Between the start of the users and the first arrival."""
CLOCK_PROBES = 8
PING_EVERY_S = 0.03
CLOCK_SYNC_TIMEOUT_S = 10.0
LOCAL = "local"
"""What Locust calls the one process of a run that has no others."""


class Master:
    """One run as it is led: `begin`, then `is_over` is asked until it is, then `finish`."""

    def __init__(self, plan: RunConfig, environment: Environment) -> None:
        assert environment.runner is not None
        self._plan = plan
        self._runner = environment.runner
        self._clock = WallClock()
        self._membership = membership_for(plan.scenario, alone=not isinstance(environment.runner, MasterRunner))
        self._view = ProgressAggregator(plan.scenario)
        self._greenlets: list[Greenlet[..., None]] = []
        self._embedded: EmbeddedEndpoint | None = None
        self._engine: HttpClient | None = None
        self.error: LoadtestError | None = None
        self.ending: Ending | None = None
        self.run_log: RunLog | None = None
        self.begun = False

    def begin(self) -> None:
        """Open the run directory, start or look at the target, and deal the work.

        A fault on the way ends the run; once there is a directory, it says so in `run.json`.
        """
        try:
            self.run_log = RunLog(self._plan.open_directory(), self.abort)
            this = ProcessInfo(0, os.getpid(), gethostname())
            self.run_log.update(started_at=self._clock.now(), processes=[this])
            self._engine = self._start_target(self.run_log)
            self._start_generators(self.run_log, self._engine)
        except LoadtestError as error:
            self.abort(error)

    def _start_target(self, run_log: RunLog) -> HttpClient:
        """An engine for the target, which has been looked at."""
        scenario = self._plan.scenario
        if isinstance(scenario.target, RemoteTarget):
            url = scenario.target.url
        else:
            work = None if scenario.target == "embedded" else HandlerSpec(scenario.target, run_log.directory.workers)
            self._embedded = EmbeddedEndpoint(scenario.endpoint, scenario.seed, work)
            url = self._embedded.url
        run_log.update(target=url)
        engine = HttpClient(url, api_key(scenario, os.environ), self._clock)
        preflight_check(engine, url)
        return engine

    def _start_generators(self, run_log: RunLog, engine: HttpClient) -> None:
        names = self._sync_clocks()
        shares = self._membership.start_all(names, self._clock.now())
        self._starts_at = self._clock.now() + START_DELAY_S
        self._ends_at = self._starts_at + self._plan.scenario.load.duration_s
        processes = [process_info(each) for each in self._membership.generators.values()]
        run_log.update(load_started_at=self._starts_at, processes=processes)
        for name in names:
            self._send_start(name, shares[name])
        self._spawn(self._heartbeat_loop)
        self._spawn(poll_health, engine, run_log.directory, self._clock, run_log.run.target)
        self.begun = True

    def _spawn(self, work: Callable[..., None], *args: Any) -> None:
        greenlet: Greenlet[..., None] = gevent.spawn(work, *args)
        greenlet.link_exception(lambda failed: self.abort(as_loadtest_error(failed.exception)))
        self._greenlets.append(greenlet)

    def _sync_clocks(self) -> list[str]:
        """The hands that are there, each having told its time."""
        if not isinstance(self._runner, MasterRunner):
            self._membership.add(LOCAL, self._clock.now())
            return [LOCAL]
        for client in sorted(self._runner.clients.ready, key=lambda client: client.id):
            self._membership.add(client.id, self._clock.now())
        names = list(self._membership.generators)
        for _ in range(CLOCK_PROBES):
            self._ping(names)
            gevent.sleep(PING_EVERY_S)
        by = self._clock.now() + CLOCK_SYNC_TIMEOUT_S
        while strangers := [name for name in names if not self._membership.generators[name].clock_synced]:
            if self._clock.now() > by:
                raise RunAborted(f"{len(strangers)} of {len(names)} workers connected but do not answer")
            self._ping(strangers)
            gevent.sleep(PING_EVERY_S)
        return names

    def _ping(self, names: list[str]) -> None:
        for name in names:
            send(self._runner, messages.Ping(self._clock.now()), name)

    def _send_start(self, name: str, share: Share) -> None:
        assert self.run_log is not None
        generator = self._membership.generators[name]
        begin = messages.StartRun(
            run_id=self.run_log.run.id,
            directory=str(self.run_log.directory.path.resolve()),
            scenario=self._plan.scenario.resolved(),
            url=self.run_log.run.target,
            process=generator.process,
            share=share,
            starts_at=self._starts_at,
            clock_offset_s=generator.clock_offset_s,
            until=self._membership.lease_expires_at(name),
        )
        send(self._runner, begin, name)

    def on_generator_connected(self, name: str) -> None:
        """A hand has connected while the run is on; it is asked for its time until it listens."""
        if self.begun and name not in self._membership.generators:
            self._membership.add(name, self._clock.now())

    def on_message(self, name: str, message: Any) -> None:
        """A message from a hand."""
        match message:
            case messages.Pong():
                self._membership.record_pong(name, message, self._clock.now())
            case messages.StatusReport():
                self._on_report(name, message)
            case messages.ShareConfirmed():
                self._membership.confirm(name, message.share, self._clock.now())
            case messages.ShardBytes():
                self._on_shard_bytes(name, message)
            case messages.RunFinished():
                self._membership.generators[name].done = message
                self._record_sent(name, message.sent)
            case messages.RunFailed():
                generator = self._membership.generators[name]
                where = "" if name == LOCAL else f"process {generator.process} on {generator.host}: "
                self.abort(RunAborted(where + message.reason))

    def _on_report(self, name: str, report: messages.StatusReport) -> None:
        self._membership.record_report(name, report, self._clock.now())
        self._ends_at = max(
            each.report.ends_at for each in self._membership.generators.values() if each.report is not None
        )
        self._view.update(name, report.counts)
        self._record_sent(name, report.counts.sent)
        if report.reason is not None and self.error is None:
            self.error = RunAborted(report.reason)

    def _record_sent(self, name: str, sent: int) -> None:
        """What a hand that counts on a disk of its own has sent."""
        if self.run_log is not None and name != LOCAL:
            self.run_log.record_reported_count(self._membership.generators[name].process, sent)

    def _on_shard_bytes(self, name: str, copy: messages.ShardBytes) -> None:
        assert self.run_log is not None
        self._membership.generators[name].heard_at = self._clock.now()
        size = self.run_log.append_shard_bytes(self._membership.generators[name].process, copy)
        send(self._runner, messages.ShardAck(copy.shard, size), name)

    def _heartbeat_loop(self) -> None:
        """Watch over the hands and tell how the run goes, twice a second."""
        while True:
            now = self._clock.now()
            self._detect_losses(now)
            self._admit_newcomers(now)
            for name, assignment in self._membership.pending_assignments(now).items():
                send(self._runner, assignment, name)
            for name in self._membership.at_work():
                send(self._runner, messages.Lease(self._membership.lease_expires_at(name)), name)
            self._publish_progress("load" if now < self._ends_at else "drain")
            gevent.sleep(HEARTBEAT_S)

    def _admit_newcomers(self, now: float) -> None:
        """Ask newcomers for their time, and let those begin who have told it often enough."""
        for name, generator in self._membership.generators.items():
            if not generator.started and generator.pongs >= CLOCK_PROBES:
                self._send_start(name, self._membership.start_late(name, now))
            elif not generator.started:
                for _ in range(CLOCK_PROBES):
                    self._ping([name])

    def _detect_losses(self, now: float) -> None:
        """Who is lost; one that ran on this machine and runs no more will not come back."""
        assert self.run_log is not None
        for name in self._membership.suspects(now):
            generator = self._membership.generators[name]
            generator.dead = generator.host == gethostname() and not is_running(generator.pid)
        for name in self._membership.newly_lost(now):
            self._view.drop(name)
            self.run_log.record_lost_generator(self._membership.generators[name].process)

    def _publish_progress(self, phase: str) -> None:
        """One line of progress to whoever listens."""
        if self._plan.progress_fd is None:
            return
        now = self._clock.now()
        line = self._view.progress(phase, self._starts_at, self._ends_at, now, self._membership.lost())
        try:
            os.write(self._plan.progress_fd, msgspec.json.encode(line) + b"\n")
        except BrokenPipeError:
            self.abort(RunAborted("the command that started this run has died"))

    def abort(self, error: LoadtestError) -> None:
        """The run must not go on; the first fault is the one that is told."""
        self.error = self.error or error

    def stop(self, ending: Ending) -> None:
        """The run is to end now, and not by itself."""
        self.ending = self.ending or ending

    def needed_users(self) -> int:
        """How many users all processes together need, each as many as the one that needs most."""
        reports = [
            generator.report
            for generator in self._membership.generators.values()
            if generator.active and generator.report
        ]
        return max((report.needed_users for report in reports), default=0) * max(1, len(self._membership.at_work()))

    def is_over(self) -> bool:
        """Whether all jobs have ended, the drain is over, or the run must not go on."""
        if self.ending is not None:
            return True
        if not self.begun:
            return self.error is not None
        reports = [self._membership.generators[name].report for name in self._membership.at_work()]
        if self.error is not None and not any(report is not None and report.winding_down for report in reports):
            return True
        if reports and all(report is not None and report.all_ended for report in reports):
            return True
        now = self._clock.now()
        return now >= self._ends_at + self._plan.scenario.drain.within or not self._membership.expected(now)

    def finish(self) -> None:
        """See every hand finished, stop what was started, and say how the run ended."""
        ended_at = self._clock.now()
        if isinstance(self._runner, MasterRunner):
            self._stop_generators()
        gevent.killall(self._greenlets)
        if self._engine is not None:
            self._engine.close()
        if self._embedded is not None:
            self._embedded.stop()
        if self.run_log is not None:
            self._close(self.run_log, ended_at)

    def _stop_generators(self) -> None:
        """Tell all hands that it is over, and wait until each has handed over what it has or is lost."""
        notified: set[str] = set()
        while self._membership.expected(self._clock.now()):
            for name in set(self._membership.at_work()) - notified:
                send(self._runner, messages.StopRun(), name)
                notified.add(name)
            gevent.sleep(HEARTBEAT_S / 5)
            self._detect_losses(self._clock.now())

    def _close(self, run_log: RunLog, ended_at: float) -> None:
        final = final_fields(self._membership) | {"load_ended_at": min(self._ends_at, ended_at)} if self.begun else {}
        ending = Ending.ABORTED if self.error is not None else self.ending or Ending.INTERRUPTED
        run_log.close(ended_at=ended_at, ending=ending, reason=str(self.error or ""), **final)


def as_loadtest_error(exception: Any) -> LoadtestError:
    """What a part of the run died of; one that is no fault of the family is a fault of this program."""
    return exception if isinstance(exception, LoadtestError) else LoadtestError(f"a fault of ours: {exception!r}")
