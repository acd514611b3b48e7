"""One process's part of a run: its jobs, its share of the limits, its samples on disk."""

from __future__ import annotations

import gc
import os
import socket
from argparse import Namespace
from pathlib import Path
from typing import Any

import gevent
from gevent import Greenlet
from gevent.pool import Pool
from locust.env import Environment

from loadtest.clock import WallClock
from loadtest.drive.cluster import messages
from loadtest.drive.cluster.messages import send, subscribe
from loadtest.drive.cluster.shard_upload import ShardUploader
from loadtest.drive.dispatcher import JobDispatcher
from loadtest.drive.executor import FlowExecutor, run_on_loop
from loadtest.drive.http.client import HttpClient
from loadtest.drive.limiter import OperationLimiter
from loadtest.drive.stats.cpu import CpuMonitor, cpu_demand_s
from loadtest.drive.stats.live import RATE_SPAN_S
from loadtest.drive.users import JobUser, user_class
from loadtest.drive.webhook_receiver import WebhookReceiver
from loadtest.errors import LoadtestError, RecordingError, RunDirectoryError
from loadtest.protocol.operations import OPERATIONS, Op
from loadtest.record.directory import RunDirectory
from loadtest.record.progress import ProcessCounts
from loadtest.record.recorder import Recorder
from loadtest.record.sample import Sample
from loadtest.scenario.credentials import api_key
from loadtest.scenario.flows import SUBMIT_OPERATION
from loadtest.scenario.model import Scenario
from loadtest.traffic.arrivals import draw_schedule
from loadtest.traffic.limit_shares import Share
from loadtest.traffic.settings import ClosedLoad, OpenLoad

CANCEL_CONCURRENCY = 20


def cancel_unfinished(unfinished: list[Sample], sender: FlowExecutor, within_s: float) -> int:
    """Cancel accepted jobs within the limit of that operation; how many the server took off its queue."""
    ids = [sample.job_id for sample in unfinished if sample.job_id is not None]
    done: list[str] = []

    def cancel_one(job_id: str) -> None:
        answer = sender.request(Op.CANCEL, OPERATIONS[Op.CANCEL].path.format(id=job_id))
        if answer.status == 200:
            done.append(job_id)

    pool = Pool(CANCEL_CONCURRENCY)
    gevent.with_timeout(within_s, pool.map, cancel_one, ids, timeout_value=None)
    pool.kill()
    return len(done)


HEARTBEAT_S = 0.5
GC_THRESHOLD = 20_000
"""So many new objects are there before a look for cycles, which a job leaves none of."""
UPLOAD_TIMEOUT_S = 60.0
"""At the end, how long the lead may take to confirm the last samples."""


class GeneratorRun:
    """What this process does of a run. It begins at once; LoadtestError where it cannot."""

    def __init__(self, begin: messages.StartRun, environment: Environment) -> None:
        assert environment.runner is not None
        gc.collect()
        gc.freeze()
        gc.set_threshold(GC_THRESHOLD)
        self.scenario = scenario = Scenario.model_validate(begin.scenario)
        self._runner = environment.runner
        self._clock = WallClock(-begin.clock_offset_s)
        directory, self._shares_disk = _directory(begin, environment.parsed_options)
        self._engine = HttpClient(begin.url, api_key(scenario, os.environ), self._clock)
        self._recorder = Recorder(directory, begin.process, begin.until < float("inf"), run_on_loop)
        self.uploader = ShardUploader(directory, begin.process, self._runner)
        self._limiters = _limiters(scenario, self._clock, begin.share)
        self._listener = None
        if "webhook" in scenario.flows:
            self._listener = WebhookReceiver(scenario.webhooks, begin.process, self._clock)
        listener = self._listener
        self._sender = FlowExecutor(self._engine, self._limiters, self._recorder, self._clock, environment, listener)
        webhook = None if listener is None else listener.url
        self.jobs = _jobs(scenario, self._sender, self._recorder, self._clock, begin, webhook)
        self.jobs.start(begin.starts_at)
        self._share = begin.share
        self._cpu = CpuMonitor()
        self.jobs.set_share(begin.share)
        self._extend_lease(begin.until)
        self._beating: Greenlet[[], None] = gevent.spawn(self._heartbeat_loop)
        self._beating.link_exception(
            lambda failed: send(self._runner, messages.RunFailed(f"a fault of ours: {failed.exception!r}"))
        )

    def on_message(self, message: Any) -> None:
        """What the lead says while the run is on."""
        match message:
            case messages.Lease():
                self._extend_lease(message.until)
            case messages.ShardAck():
                self.uploader.on_ack(message)
            case messages.Assignment():
                self._apply_assignment(message)
                send(self._runner, messages.ShareConfirmed(self._share))

    def _apply_assignment(self, assignment: messages.Assignment) -> None:
        """Take another share of the limits at once, or another part of the schedule from a time to come."""
        if assignment.share is not None:
            self._share = assignment.share
            self.jobs.set_share(assignment.share)
            for limiter in self._limiters.values():
                limiter.set_share(assignment.share)
        if assignment.part is not None:
            self.jobs.reassign(assignment.from_at, assignment.part)

    def _extend_lease(self, until: float) -> None:
        """Nothing is sent from then on; but cancelling, which leaves less for others to wait for, goes on."""
        for op, limiter in self._limiters.items():
            if op is not Op.CANCEL:
                limiter.extend_lease(until)

    def _heartbeat_loop(self) -> None:
        """Hand samples to the disk and tell how things stand, twice a second."""
        while True:
            gevent.sleep(HEARTBEAT_S)
            now = self._clock.now()
            if self.jobs.starts_at <= now <= self.jobs.ends_at:
                self._cpu.add(now, cpu_demand_s())
            try:
                self._recorder.flush(now)
            except RecordingError as error:
                send(self._runner, messages.RunFailed(str(error)))
            self._sender.figures.flush()
            self._report(now)

    def _report(self, now: float) -> None:
        jobs, counters = self.jobs, self.jobs.counters
        if not self._shares_disk:
            self.uploader.send()
        if jobs.starts_at <= now < jobs.ends_at:
            jobs.stops.evaluate(now)
        counts = ProcessCounts(
            sent=self._recorder.tally.count,
            in_flight=counters.in_flight,
            ended=counters.ended,
            not_completed=counters.not_completed,
            throttled=counters.throttled,
            started=counters.recent_starts(now),
            offered=jobs.recent_offered(RATE_SPAN_S),
            requests_in_window={
                str(op): held for op, log in self._recorder.requests.items() if (held := log.peak.count(now))
            },
            times=counters.drain_times(),
        )
        send(
            self._runner,
            messages.StatusReport(
                counts=counts,
                ends_at=jobs.ends_at,
                needed_users=jobs.needed_users(),
                all_ended=jobs.all_done(),
                winding_down=jobs.ceiling_reached,
                reason=jobs.stops.reason,
                cpu_share=self._cpu.peak_share,
            ),
        )

    def finish(self) -> None:
        """Cancel what is unfinished, put the last samples on disk, see them copied, and tell the lead."""
        cancelled = cancel_unfinished(self.jobs.unfinished, self._sender, self.scenario.drain.cancel_within)
        self._beating.kill()
        try:
            self._recorder.close()
        except RecordingError as error:
            send(self._runner, messages.RunFailed(str(error)))
        self._engine.close()
        if self._listener is not None:
            self._listener.close()
        by = self._clock.now() + UPLOAD_TIMEOUT_S
        while not self._shares_disk and not self.uploader.is_complete() and self._clock.now() < by:
            self.uploader.send()
            gevent.sleep(HEARTBEAT_S / 5)
        left_over = len(self.jobs.unfinished) - cancelled
        send(self._runner, messages.RunFinished(self._recorder.tally.count, self.jobs.ends_at, cancelled, left_over))


def _directory(begin: messages.StartRun, options: Namespace | None) -> tuple[RunDirectory, bool]:
    """Where this process keeps its shards, and whether the lead sees them there."""
    keep = options.keep if options is not None else ""
    leads = RunDirectory(Path(begin.directory))
    try:
        if not keep and leads.read_run().id == begin.run_id:
            return leads, True
    except RunDirectoryError:
        pass
    own = RunDirectory(Path(keep or "reports", begin.run_id))
    own.create_local()
    return own, False


def _limiters(scenario: Scenario, clock: WallClock, share: Share) -> dict[Op, OperationLimiter]:
    """A lane an operation; a closed load, which pushes for as long as it runs, submits evenly spaced."""
    spaced = set(SUBMIT_OPERATION.values()) if isinstance(scenario.load, ClosedLoad) else set()
    return {op: OperationLimiter(scenario.limit(op), clock, op in spaced, share) for op in Op}


def _jobs(
    scenario: Scenario,
    sender: FlowExecutor,
    recorder: Recorder,
    clock: WallClock,
    begin: messages.StartRun,
    webhook: str | None,
) -> JobDispatcher:
    load = scenario.load
    shares: dict[str, float] = {flow: scenario.share(flow) for flow in scenario.flows}
    drawn = draw_schedule(load, shares, scenario.seed) if isinstance(load, OpenLoad) else None
    return JobDispatcher(scenario, drawn, sender, recorder, clock, begin.share, webhook, begin.process)


class Generator:
    """Does what the lead says. `part` is what it carries out while a run is on."""

    def __init__(self, environment: Environment) -> None:
        assert environment.runner is not None
        self._environment = environment
        self._runner = environment.runner
        self._run: GeneratorRun | None = None
        subscribe(self._runner, messages.TO_GENERATOR, self._hear)

    def _hear(self, _: str, message: Any) -> None:
        match message:
            case messages.Ping():
                now = WallClock().now()
                send(self._runner, messages.Pong(message.sent_at, now, os.getpid(), socket.gethostname()))
            case messages.StartRun():
                self._begin(message)
            case messages.StopRun():
                gevent.spawn(self._runner.stop)
            case _ if self._run is not None:
                self._run.on_message(message)

    def _begin(self, begin: messages.StartRun) -> None:
        try:
            self._run = GeneratorRun(begin, self._environment)
        except LoadtestError as error:
            send(self._runner, messages.RunFailed(str(error)))
            send(self._runner, messages.RunFinished(sent=0, ends_at=begin.starts_at, cancelled=0, left_over=0))
            return
        self._environment.user_classes = [user_class(self._run.scenario)]
        JobUser.jobs = self._run.jobs
        JobUser.run_started.set()

    def release_users(self) -> None:
        """The run is over: no job may begin, and users may be stopped in the middle of one."""
        JobUser.run_started.clear()
        if self._run is not None:
            self._run.jobs.finished.set()

    def finish(self) -> None:
        """Once all users have stopped: cancel what is unfinished, hand over the last samples, and say so."""
        if self._run is not None:
            self._run.finish()
            self._run = None
