"""One process that sends: its lease, and its part of a run, from the master's start message to the last sample."""

from __future__ import annotations

import gc
import os
import socket
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Any

import gevent
from gevent import Greenlet

from loadtest.clock import Clock, SleepingClock
from loadtest.drive.cluster import messages
from loadtest.drive.cluster.messages import HEARTBEAT_S, Assignment, Lease, Link, ShareConfirmed
from loadtest.drive.cluster.shard_upload import ShardUploader
from loadtest.drive.dispatcher import JobDispatcher
from loadtest.drive.executor import FlowExecutor
from loadtest.drive.limiter import OperationLimiter
from loadtest.drive.metrics.counts import MetricCounter, RunCounts
from loadtest.drive.stats.live import RATE_SPAN_S, CpuMonitor, cpu_demand_s
from loadtest.errors import LoadtestError, RecordingError, internal_error
from loadtest.protocol.operations import Op
from loadtest.record.recorder import Recorder
from loadtest.scenario.flows import SUBMIT_OPERATION
from loadtest.scenario.model import Scenario
from loadtest.traffic.limit_shares import Share, cancel_share
from loadtest.traffic.settings import ClosedLoad


class GeneratorLease:
    """The grant of one generator. Times are in the master's clock.

    What follows it is given as functions: `set_share`, `extend` and `set_cancel_share`, that of the limit of cancels,
    are called at once and at every change, `allow` with each lease, `reassign` with each new part of the schedule and
    the time from which it holds.
    """

    def __init__(
        self,
        until: float,
        share: Share,
        set_share: Sequence[Callable[[Share], None]],
        extend: Sequence[Callable[[float], None]],
        reassign: Callable[[float, Share], None],
        allow: Callable[[int | None, bool], None] = lambda jobs, load_ended: None,
        set_cancel_share: Callable[[Share], None] = lambda share: None,
    ) -> None:
        self._set_share = set_share
        self._set_cancel_share = set_cancel_share
        self._extend = extend
        self._reassign = reassign
        self._allow = allow
        self.apply(Assignment(share))
        self.apply(Lease(until))

    def apply(self, message: Lease | Assignment) -> ShareConfirmed | None:
        """Follow a message of the master; return what the generator is to answer."""
        if isinstance(message, Lease):
            self.until = message.until
            for extend in self._extend:
                extend(message.until)
            self._allow(message.jobs, message.load_ended)
            return None
        if message.share is not None:
            self.share = message.share
            for set_share in self._set_share:
                set_share(message.share)
            self._set_cancel_share(cancel_share(message.share, message.started))
        if message.part is not None:
            self._reassign(message.from_at, message.part)
        return ShareConfirmed(self.share)

    def __repr__(self) -> str:
        return f"<GeneratorLease: share {self.share.rank} of {self.share.of}, until {self.until:.3f}>"


GC_THRESHOLD = 20_000
"""A search for reference cycles begins after this many new objects; a job leaves no cycle."""
CANCEL_STALL_S = 20.0
"""If for this long, and a window of its limit, no cancel succeeds, the rest is left on the endpoint."""
END_CHECK_S = 0.02
"""How often the end of the last job is looked for once the load is over: a user waits for the result."""
UPLOAD_TIMEOUT_S = 60.0
"""How long the master may take to confirm the last samples."""


@dataclass
class GeneratorRun:
    """One generator's part of a run: its jobs, its lease, its samples on disk.

    `uploader` is None if the master sees this process's shards. `flush_stats` is called at each heartbeat, `close` at
    the end. `shortages` counts the requests that this machine could not send, by cause; `task_errors` the exceptions
    that ended tasks of a locustfile.
    """

    scenario: Scenario
    clock: SleepingClock
    link: Link
    jobs: JobDispatcher
    executor: FlowExecutor
    recorder: Recorder
    lease: GeneratorLease
    uploader: ShardUploader | None = None
    flush_stats: Callable[[], None] = lambda: None
    shortages: Mapping[str, int] = field(default_factory=dict)
    task_errors: Counter[str] = field(default_factory=Counter)
    close: Callable[[], None] = lambda: None
    metrics: MetricCounter | None = None
    _cpu: CpuMonitor = field(default_factory=CpuMonitor)

    def on_message(self, message: Any) -> None:
        """Follow a message of the master while the run goes on."""
        match message:
            case messages.ShardAck() if self.uploader is not None:
                self.uploader.on_ack(message)
            case messages.Lease() | messages.Assignment():
                if (answer := self.lease.apply(message)) is not None:
                    self.link.send(answer)

    def run(self) -> None:
        """Write samples to disk and report to the master at each heartbeat, until killed."""
        while True:
            self._wait_for_heartbeat()
            now = self.clock.now()
            if self.jobs.starts_at <= now <= self.jobs.ends_at:
                self._cpu.add(now, cpu_demand_s())
            self.jobs.publish()
            try:
                self.recorder.flush(now)
            except RecordingError as error:
                self.link.send(messages.RunFailed(str(error)))
            self.flush_stats()
            if self.uploader is not None:
                self.uploader.send()
            if self.jobs.starts_at <= now < self.jobs.ends_at:
                self.jobs.stops.evaluate(now)
            self.link.send(self._report(now))

    def _wait_for_heartbeat(self) -> None:
        """Wait for the time of the next heartbeat, or, once the load is over, until the last job has ended."""
        began, had_ended = self.clock.now(), self.jobs.all_done()
        if began < self.jobs.ends_at - HEARTBEAT_S:
            self.clock.sleep(HEARTBEAT_S)
            return
        while self.clock.now() < began + HEARTBEAT_S and self.jobs.all_done() == had_ended:
            self.clock.sleep(END_CHECK_S)

    def _report(self, now: float) -> messages.StatusReport:
        jobs, counters = self.jobs, self.jobs.counters
        return messages.StatusReport(
            sent=self.recorder.tally.count,
            in_flight=counters.in_flight,
            ended=counters.ended,
            not_completed=counters.not_completed,
            throttled=counters.throttled,
            started=counters.recent_starts(now),
            offered=jobs.recent_offered(RATE_SPAN_S),
            requests_in_window={
                str(op): requests for op, log in self.recorder.requests.items() if (requests := log.peak.count(now))
            },
            times=counters.drain_times(),
            ends_at=jobs.ends_at,
            needed_users=jobs.needed_users(),
            all_ended=jobs.all_done(),
            execution_s=counters.execution_s,
            stop=jobs.stops.reason,
            cpu_share=self._cpu.peak_share,
            metrics=self._counts(),
        )

    def _counts(self) -> RunCounts | None:
        return None if self.metrics is None else self.metrics.counts

    def cancel_unfinished(self) -> None:
        """Cancel the jobs that were given up, for as long as the scenario allows and the endpoint does as asked."""
        within_s, limit = self.scenario.drain.cancel_within, self.scenario.limit(Op.CANCEL)
        stall_s = CANCEL_STALL_S + (0.0 if limit is None else limit.per_s)
        self.jobs.canceller.finish(inf if within_s is None else within_s, stall_s)

    def finish(self) -> None:
        """Write the last samples, and report the end once the master has them."""
        self.jobs.publish()
        self.flush_stats()
        try:
            self.recorder.close()
        except RecordingError as error:
            self.link.send(messages.RunFailed(str(error)))
        self.close()
        by = self.clock.now() + UPLOAD_TIMEOUT_S
        while self.uploader is not None and not self.uploader.is_complete() and self.clock.now() < by:
            self.uploader.send()
            self.clock.sleep(HEARTBEAT_S / 5)
        canceller, sent = self.jobs.canceller, self.recorder.tally.count
        left_over = canceller.pending + self.jobs.perhaps_accepted
        self.link.send(
            messages.RunFinished(
                sent=sent,
                ends_at=self.jobs.ends_at,
                cancelled=canceller.confirmed,
                left_over=left_over,
                shortages=dict(self.shortages),
                task_errors=dict(self.task_errors),
                metrics=self._counts(),
            )
        )


def build_lease(
    start: messages.StartRun, jobs: JobDispatcher, limiters: Mapping[Op, OperationLimiter]
) -> GeneratorLease:
    """Return the lease that jobs and limiters follow; cancelling goes on after it, since it only relieves others."""
    sending = [limiter for op, limiter in limiters.items() if op is not Op.CANCEL]
    set_share = [jobs.set_share, *(limiter.set_share for limiter in sending)]
    extend = [limiter.extend_lease for limiter in sending]
    set_cancel_share = limiters[Op.CANCEL].set_share
    return GeneratorLease(start.until, start.share, set_share, extend, jobs.reassign, jobs.allow, set_cancel_share)


def build_limiters(scenario: Scenario, clock: SleepingClock) -> dict[Op, OperationLimiter]:
    """Return a limiter for each operation; a closed load, which offers all that the limit allows, submits evenly."""
    spaced = set(SUBMIT_OPERATION.values()) if isinstance(scenario.load, ClosedLoad) else set()
    return {op: OperationLimiter(scenario.limit(op), clock, op in spaced) for op in Op}


class Generator:
    """A process that follows the master. `build` makes its part of a run, `begin` is called once that exists.

    `clock` is its own, uncorrected clock; `stop` is called when the master ends the run.
    """

    def __init__(
        self,
        clock: Clock,
        link: Link,
        build: Callable[[messages.StartRun], GeneratorRun],
        begin: Callable[[GeneratorRun], None],
        stop: Callable[[], object],
    ) -> None:
        self._clock = clock
        self._link = link
        self._build = build
        self._begin = begin
        self._stop = stop
        self._run: GeneratorRun | None = None
        self._heartbeat: Greenlet[[], None] | None = None

    def on_message(self, _: str, message: Any) -> None:
        """Follow a message of the master."""
        match message:
            case messages.Ping():
                pong = messages.Pong(message.sent_at, self._clock.now(), os.getpid(), socket.gethostname())
                self._link.send(pong)
            case messages.StartRun():
                self._start(message)
            case messages.StopRun():
                gevent.spawn(self._stop)
            case _ if self._run is not None:
                self._run.on_message(message)

    def _start(self, start: messages.StartRun) -> None:
        try:
            self._run = self._build(start)
        except LoadtestError as error:
            self._link.send(messages.RunFailed(str(error)))
            self._link.send(messages.RunFinished(sent=0, ends_at=start.starts_at, cancelled=0, left_over=0))
            return
        self._heartbeat = gevent.spawn(self._run.run)
        self._heartbeat.link_exception(
            lambda failed: self._link.send(messages.RunFailed(str(internal_error(failed.exception)), internal=True))
        )
        self._begin(self._run)

    def end_load(self) -> None:
        """Let no further job begin, so that users may be stopped in the middle of one."""
        if self._run is not None:
            self._run.jobs.end()

    def finish(self) -> None:
        """Cancel unfinished jobs, write the last samples, and report the end; call it once all users have stopped."""
        if self._run is not None and self._heartbeat is not None:
            self._run.cancel_unfinished()
            self._heartbeat.kill()
            self._run.finish()
            self._run = None


def tune_garbage_collection() -> None:
    """Exclude from garbage collection what exists before the load, and collect rarely: it delays sends."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD)
