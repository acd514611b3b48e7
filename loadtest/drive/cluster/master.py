"""The master of a run: it reaches the target, starts the generators, watches over them, and ends the run."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from math import inf
from socket import gethostname
from typing import Any

import gevent
import msgspec
from gevent import Greenlet

from loadtest.clock import SleepingClock
from loadtest.drive.cluster import messages
from loadtest.drive.cluster.ceilings import RunCeilings
from loadtest.drive.cluster.heartbeat import Heartbeat
from loadtest.drive.cluster.membership import membership_for
from loadtest.drive.cluster.messages import HEARTBEAT_S, LOCAL, MasterLink
from loadtest.drive.cluster.run_log import RunLog, final_fields, process_info
from loadtest.drive.cluster.target import OpenTarget, Target
from loadtest.drive.metrics.live import LiveMetrics
from loadtest.drive.options import RunConfig
from loadtest.drive.stats.live import ProgressAggregator
from loadtest.errors import InternalError, LoadtestError, RecordingError, RunAborted, internal_error
from loadtest.protocol.json_values import encode_json
from loadtest.record.directory import GONE
from loadtest.record.run import Ending, ProcessInfo
from loadtest.scenario.abort import StopKind, StopReason
from loadtest.traffic.limit_shares import Share

START_DELAY_S = 0.5
"""Between the start of the users and the first arrival, for processes that must hear of it."""
START_DELAY_ALONE_S = 0.15
"""The same for a process that sends by itself; it starts users for 4,000 jobs a second in that time."""


class Master:
    """One run: call `begin`, ask `is_over` until it is, then `finish`.

    `error` is why the run must not go on, `stop_reason` the rule of the scenario that says so, `ending` how the
    run was asked to end.
    """

    def __init__(self, config: RunConfig, clock: SleepingClock, link: MasterLink, open_target: OpenTarget) -> None:
        self._config = config
        self._clock = clock
        self._link = link
        self._open_target = open_target
        self._membership = membership_for(config.scenario, link.alone)
        self._ceilings = RunCeilings(config.scenario)
        self._heartbeat = Heartbeat(link, self._membership, self._ceilings, clock, self._send_start, self._on_lost)
        self._progress = ProgressAggregator(config.scenario)
        self.metrics = LiveMetrics(config.metrics, self._progress, clock)
        self._greenlets: list[Greenlet[..., None]] = []
        self._target: Target | None = None
        self._starts_at = self._ends_at = inf
        if config.progress_fd is not None:
            os.set_blocking(config.progress_fd, False)
        self._ceiling: StopReason | None = None
        self.error: LoadtestError | None = None
        self.stop_reason: StopReason | None = None
        self.ending: Ending | None = None
        self.run_log: RunLog | None = None
        self.begun = False

    def __repr__(self) -> str:
        state = "over" if self.is_over() else "running" if self.begun else "starting"
        return f"<Master of {self._config.scenario.name}: {state}, {self._membership!r}>"

    def begin(self) -> None:
        """Open the run directory, reach the target, and start the generators.

        An error on the way ends the run; once there is a directory, `run.json` says so.
        """
        try:
            self.run_log = run_log = RunLog(self._config.open_directory(), self.abort)
            this_process = ProcessInfo(0, os.getpid(), gethostname())
            run_log.update(started_at=self._clock.now(), processes=[this_process])
            self.metrics.begin(run_log.run)
            self._target = target = self._open_target(self._config.scenario, run_log.directory, self._clock)
            run_log.update(target=target.url)
            target.health.preflight()
            names = self._link.generators()
            for name in names:
                self._membership.add(name, self._clock.now())
            if not self._link.alone:
                self._heartbeat.sync_clocks(names)
            if self._load_ended:
                return
            self._start_generators(run_log, names)
            self.begun = True
            self._spawn(self._heartbeat_loop)
            health = self.metrics.health_writer(run_log.directory)
            self._spawn(target.health.watch, health, self._clock, self._ceilings.health)
        except LoadtestError as error:
            self.abort(error)

    def _start_generators(self, run_log: RunLog, names: list[str]) -> None:
        shares = self._membership.start_all(names, self._clock.now())
        self._starts_at = self._clock.now() + (START_DELAY_ALONE_S if self._link.alone else START_DELAY_S)
        self._ends_at = self._starts_at + self._config.scenario.load.duration_s
        processes = [process_info(each) for each in self._membership.generators.values()]
        run_log.update(load_started_at=self._starts_at, processes=processes)
        for name in names:
            self._send_start(name, shares[name])

    def _send_start(self, name: str, share: Share) -> None:
        assert self.run_log is not None
        generator = self._membership.generators[name]
        start = messages.StartRun(
            run_id=self.run_log.run.id,
            token=self.run_log.run.token,
            directory=str(self.run_log.directory.path.resolve()),
            scenario=encode_json(self.run_log.run.scenario),
            url=self.run_log.run.target,
            process=generator.process,
            share=share,
            starts_at=self._starts_at,
            clock_offset_s=generator.clock_offset_s,
            until=self._membership.lease_expires_at(name),
            metrics=self.metrics.on,
        )
        self._link.send(start, name)

    def _spawn(self, work: Callable[..., None], *args: Any) -> None:
        greenlet: Greenlet[..., None] = gevent.spawn(work, *args)
        greenlet.link_exception(lambda failed: self.abort(as_loadtest_error(failed.exception)))
        self._greenlets.append(greenlet)

    def _heartbeat_loop(self) -> None:
        while True:
            now = self._clock.now()
            if self.run_log is not None and not self.run_log.directory.exists():
                self.abort(RecordingError(f"{self.run_log.directory.path}: {GONE}"))
            self._enforce_ceilings(now)
            self._heartbeat.tick(now, self._load_ended)
            self._write_progress(now)
            self._clock.sleep(HEARTBEAT_S)

    def _on_lost(self, name: str) -> None:
        assert self.run_log is not None
        self._progress.drop(name)
        self.run_log.record_lost_generator(self._membership.generators[name].process)

    def _write_progress(self, now: float) -> None:
        """Write one line of progress for the process that started this one; drop it if that one does not read."""
        if self._config.progress_fd is None:
            return
        phase = "load" if now < self._ends_at else "drain"
        line = self._progress.progress(phase, self._starts_at, self._ends_at, now, self._membership.lost())
        try:
            with suppress(BlockingIOError):
                os.write(self._config.progress_fd, msgspec.json.encode(line) + b"\n")
        except BrokenPipeError:
            self.abort(RunAborted("the command that started this run has died"))

    def on_generator_connected(self, name: str) -> None:
        """Add a generator that connects once the run begins; the heartbeat starts it."""
        self._membership.add(name, self._clock.now())

    def on_message(self, name: str, message: Any) -> None:
        """Follow a message of a generator."""
        membership, now = self._membership, self._clock.now()
        match message:
            case messages.Pong():
                membership.record_pong(name, message, now)
            case messages.StatusReport():
                self._on_report(name, message, now)
            case messages.ShareConfirmed():
                membership.confirm(name, message.share, now)
            case messages.ShardBytes():
                self._on_shard_bytes(name, message, now)
            case messages.RunFinished():
                membership.record_finished(name, message)
                self._ceilings.finished(name, message.sent)
                self._record_sent(name, message.sent)
                self.metrics.take(name, message.metrics)
            case messages.RunFailed():
                generator = membership.generators[name]
                place = "" if name == LOCAL else f"process {generator.process} on {generator.host}: "
                self.abort((InternalError if message.internal else RunAborted)(place + message.reason))

    def _on_report(self, name: str, report: messages.StatusReport, now: float) -> None:
        self._membership.record_report(name, report, now)
        generators = self._membership.generators.values()
        self._ends_at = max(each.report.ends_at for each in generators if each.report is not None)
        self._progress.update(name, report)
        self._ceilings.report(name, report)
        self._enforce_ceilings(max(now, report.ends_at) if report.all_ended else now)
        self._record_sent(name, report.sent)
        self.metrics.take(name, report.metrics)
        if report.stop is not None and self.error is None:
            self.stop_reason = report.stop
            self.abort(RunAborted(report.stop.detail))

    def _record_sent(self, name: str, sent: int) -> None:
        """Write how many jobs another process has sent; it may count on a disk of its own."""
        if self.run_log is not None and name != LOCAL:
            self.run_log.record_reported_count(self._membership.generators[name].process, sent)

    def _on_shard_bytes(self, name: str, copy: messages.ShardBytes, now: float) -> None:
        assert self.run_log is not None
        if copy.token != self.run_log.run.token:
            return  # of a run that this generator has not yet left
        generator = self._membership.generators[name]
        generator.heard_at = now
        self._link.send(messages.ShardAck(copy.shard, self.run_log.append_shard_bytes(generator.process, copy)), name)

    def _enforce_ceilings(self, now: float) -> None:
        """End the load once a ceiling is reached; the jobs that were sent are waited for."""
        if self.error is not None or self.ending is not None:
            return
        reason = self._ceilings.reached(self._membership.running(), self._starts_at, now)
        if reason is not None:
            self._ceiling = self.stop_reason = reason
            self.abort(RunAborted(reason.detail))

    @property
    def _load_ended(self) -> bool:
        """Return whether no further job may begin; at a ceiling on jobs, those that are due in the open model may."""
        ceiling = self._ceiling
        drains = ceiling is not None and ceiling.kind is StopKind.JOBS_CEILING and self._ceilings.is_open
        return self.ending is not None or (self.error is not None and not drains)

    def abort(self, error: LoadtestError) -> None:
        """End the run because of an error; the first one is reported."""
        self.error = self.error or error
        self._end_load()

    def stop(self, ending: Ending) -> None:
        """End the run as asked; the first ending is recorded."""
        self.ending = self.ending or ending
        self._end_load()

    def _end_load(self) -> None:
        """Let no generator begin another job, although it takes a while until Locust stops their users."""
        if self.begun:
            self._heartbeat.send_leases(self._load_ended)

    def needed_users(self) -> int:
        """Return how many users all processes together need, each as many as the one that needs most."""
        reports = self._membership.reports()
        needed = max((report.needed_users for report in reports if report is not None), default=0)
        return needed * max(1, len(reports))

    def is_over(self) -> bool:
        """Return whether all jobs have ended, the drain is over, or the run must not go on."""
        if self.ending is not None:
            return True
        if not self.begun:
            return self.error is not None
        reports = self._membership.reports()
        if self.error is not None and self._ceiling is None:
            return True
        if reports and all(report is not None and report.all_ended for report in reports):
            return True
        now = self._clock.now()
        drained_at = self._ends_at + self._config.scenario.drain.within
        return now >= drained_at or not self._membership.expected(now)

    def finish(self, ended_at: float) -> None:
        """Wait until every generator has finished, close the target, and write how the run ended.

        `ended_at` is when its users were stopped: jobs that are cancelled after that were not followed any longer.
        """
        if not self._link.alone:
            self._stop_generators()
        gevent.killall(self._greenlets)
        if self._target is not None:
            self._target.close()
        if self.run_log is not None:
            self._close(self.run_log, ended_at)
        self.metrics.finish(wait_for_scrape=self.ending is Ending.COMPLETE)

    def _stop_generators(self) -> None:
        """Stop each generator that runs, and wait until it has finished or is given up."""
        notified: set[str] = set()
        while self._membership.expected(self._clock.now()):
            for name in set(self._membership.running()) - notified:
                self._link.send(messages.StopRun(), name)
                notified.add(name)
            self._clock.sleep(HEARTBEAT_S / 5)
            self._heartbeat.detect_losses(self._clock.now())

    def _close(self, run_log: RunLog, ended_at: float) -> None:
        final: dict[str, Any] = {}
        if self.begun:
            final = final_fields(self._membership)
            final |= {"load_ended_at": min(self._ends_at, ended_at), "spent": self._ceilings.spent(ended_at)}
        ending = Ending.ABORTED if self.error is not None else self.ending or Ending.INTERRUPTED
        stop = None if self.stop_reason is None else self.stop_reason.kind
        run_log.close(ended_at=ended_at, ending=ending, reason=str(self.error or ""), stop=stop, **final)


def as_loadtest_error(exception: Any) -> LoadtestError:
    """Return the error that ended a part of the run; any other than a LoadtestError is an error of this program."""
    return exception if isinstance(exception, LoadtestError) else internal_error(exception)
