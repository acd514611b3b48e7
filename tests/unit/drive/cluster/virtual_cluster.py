"""A master and its generators in virtual time: a network with delays and cuts, and a target that answers."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf, nextafter
from pathlib import Path
from typing import Any

import gevent
import msgspec
from gevent import Greenlet

from loadtest.clock import Clock, Event
from loadtest.drive.cluster.generator import Generator, GeneratorRun, build_lease, build_limiters
from loadtest.drive.cluster.master import Master
from loadtest.drive.cluster.messages import StartRun
from loadtest.drive.cluster.shard_upload import ShardUploader
from loadtest.drive.cluster.target import Target
from loadtest.drive.dispatcher import JobDispatcher, JobSink
from loadtest.drive.executor import FlowExecutor, SendRequest
from loadtest.drive.http.connection import MaySend
from loadtest.drive.job_sources import Workload
from loadtest.drive.metrics.counts import MetricCounter
from loadtest.drive.options import RunConfig
from loadtest.flows.health import EndpointHealth
from loadtest.flows.steps import SEND_AGAIN, Response
from loadtest.protocol.json_values import decode_json
from loadtest.record.directory import RunDirectory, create_run
from loadtest.record.recorder import Recorder
from loadtest.record.run import Ending
from loadtest.scenario.model import Scenario
from loadtest.scenario.telemetry import MetricsConfig
from tests.unit.drive.virtual_clock import VirtualClock

URL = "http://127.0.0.1:9/v2/x"
HEALTH = (
    b'{"jobs":{"completed":0,"failed":0,"inProgress":0,"inQueue":0,"retried":0},"workers":{"idle":0,"running":0}}'
)
USERS = 40
SERVICE_S = 0.05
BEGINS_AT = 1000.0


class HostClock:
    """The clock of one host: `offset_s` ahead of the virtual one; no sleep ends while the host is suspended."""

    def __init__(self, clock: VirtualClock | HostClock, offset_s: float) -> None:
        self._clock = clock
        self._offset_s = offset_s
        self.suspended = (inf, inf)

    def now(self) -> float:
        return self._clock.now() + self._offset_s

    def sleep(self, seconds: float) -> None:
        self.sleep_until(self.now() + seconds)

    def sleep_until(self, at: float) -> None:
        self._clock.sleep_until(self._virtual(at))
        self._stay_suspended()

    def wait(self, event: Event, until: float) -> bool:
        is_set = self._clock.wait(event, self._virtual(until))
        self._stay_suspended()
        return is_set

    def step(self, by_s: float) -> None:
        """Put the clock forward by some seconds."""
        self._offset_s += by_s

    def _virtual(self, at: float) -> float:
        """Return the first virtual time at which this clock shows `at`, in spite of rounding."""
        virtual = at - self._offset_s
        while virtual + self._offset_s < at:
            virtual = nextafter(virtual, inf)
        return virtual

    def _stay_suspended(self) -> None:
        begins_at, ends_at = self.suspended
        if begins_at <= self._clock.now() < ends_at:
            self._clock.sleep_until(ends_at)


@dataclass
class Wire:
    """One direction of a connection: messages arrive in order, after the delay, and not while it is cut."""

    clock: VirtualClock
    receive: Callable[[msgspec.Struct], None]
    delay_s: float
    cut: tuple[float, float] = (inf, inf)
    _sent: deque[tuple[float, msgspec.Struct]] = field(default_factory=deque)

    def send(self, message: msgspec.Struct) -> None:
        self._sent.append((self.clock.now() + self.delay_s, message))
        if len(self._sent) == 1:
            gevent.spawn(self._carry)

    def _carry(self) -> None:
        while self._sent:
            at, message = self._sent[0]
            self.clock.sleep_until(at)
            begins_at, ends_at = self.cut
            if begins_at <= self.clock.now() < ends_at:
                self.clock.sleep_until(ends_at)
            # As over a socket: what arrives is a copy.
            self.receive(msgspec.msgpack.decode(msgspec.msgpack.encode(message), type=type(message)))
            self._sent.popleft()


@dataclass
class Host:
    """One generator, its users, its clock, and the wires to and from the master."""

    cluster: Cluster
    name: str
    offset_s: float = 0.0
    own_disk: Path | None = None

    def __post_init__(self) -> None:
        cluster = self.cluster
        self.clock = HostClock(cluster.clock, self.offset_s)
        self.up = Wire(cluster.clock, lambda message: cluster.master.on_message(self.name, message), cluster.delay_s)
        self.down = Wire(cluster.clock, lambda message: self.generator.on_message("", message), cluster.delay_s)
        self.generator = Generator(self.clock, self, self._build, self._begin, self._stop)
        self._greenlets: list[Greenlet[..., Any]] = []
        self.run: GeneratorRun | None = None

    def send(self, message: msgspec.Struct) -> None:
        self.up.send(message)

    def cut(self, begins_at: float, ends_at: float) -> None:
        self.up.cut = self.down.cut = (begins_at, ends_at)

    def suspend(self, begins_at: float, ends_at: float) -> None:
        """Stop the host's processes for a while, and its ends of the wires."""
        self.clock.suspended = (begins_at, ends_at)
        self.cut(begins_at, ends_at)

    def kill(self) -> None:
        self.suspend(self.cluster.clock.now(), inf)

    def _build(self, start: StartRun) -> GeneratorRun:
        scenario = Scenario.model_validate(decode_json(start.scenario))
        clock = HostClock(self.clock, -start.clock_offset_s)
        directory = RunDirectory(Path(start.directory), start.token)
        if self.own_disk is not None:
            directory = RunDirectory(self.own_disk, start.token)
            directory.create_local()
        recorder = Recorder(directory, start.process, keep_sends=True)
        limiters = build_limiters(scenario, clock)
        metrics = MetricCounter()
        send = self.cluster.endpoint(self.name, clock)
        executor = FlowExecutor(clock, send, limiters, recorder, metrics.count_request)
        work = Workload(scenario, scenario.schedule(), start.starts_at, start.share, start.process)
        sinks = (*self.first_sinks(), recorder.record, metrics.count)
        jobs = JobDispatcher(work, executor, clock, sinks, on_cancelled=recorder.cancelled)
        lease = build_lease(start, jobs, limiters)
        uploader = None if self.own_disk is None else ShardUploader(directory, start.process, self)
        counted = metrics if start.metrics else None
        return GeneratorRun(scenario, clock, self, jobs, executor, recorder, lease, uploader, metrics=counted)

    def first_sinks(self) -> tuple[JobSink, ...]:
        """Return what is called with jobs that are over before they are recorded."""
        return ()

    def _begin(self, run: GeneratorRun) -> None:
        self.run = run
        self._greenlets += [gevent.spawn(self._use, run.jobs) for _ in range(USERS)]

    def _use(self, jobs: JobDispatcher) -> None:
        """Run jobs as a user does; if none is left, wait for another share."""
        user = jobs.register_user()
        while jobs.run_next(user) or jobs.wait_for_change():
            pass

    def _stop(self) -> None:
        self.generator.end_load()
        if self.run is not None:
            self.run.jobs.wait_for_answers()
        gevent.killall(self._greenlets)
        self.generator.finish()


@dataclass
class Cluster:
    """A run in virtual time. `submissions` holds when each job was submitted, in the virtual clock, and by whom."""

    folder: Path
    scenario: Scenario
    delay_s: float = 0.02
    alone: bool = False
    progress_fd: int | None = None
    metrics: MetricsConfig | None = None

    def __post_init__(self) -> None:
        self.clock = VirtualClock(BEGINS_AT)
        self.hosts: dict[str, Host] = {}
        self.submissions: list[tuple[float, str]] = []
        self._ids = itertools.count()
        directory = create_run(self.scenario, self.folder / "run", "")
        config = RunConfig(self.scenario, lambda: directory, self.progress_fd, metrics=self.metrics)
        self.master = Master(config, self.clock, self, self._open_target)
        self.directory = directory

    def add(self, name: str, offset_s: float = 0.0, own_disk: Path | None = None) -> Host:
        self.hosts[name] = Host(self, name, offset_s, own_disk)
        return self.hosts[name]

    def join(self, name: str) -> Host:
        """Connect one more generator while the run goes on."""
        host = self.add(name)
        self.master.on_generator_connected(name)
        return host

    def at(self, seconds: float, action: Callable[[], object]) -> None:
        """Do something this many seconds after the run began."""

        def later() -> None:
            self.clock.sleep_until(BEGINS_AT + seconds)
            action()

        gevent.spawn(later)

    def run(self, within_s: float = 600.0) -> None:
        """Run to the end, as Locust's load shape does it."""
        driven = gevent.spawn(self._drive)
        self.clock.run(BEGINS_AT + within_s)
        driven.get(block=False)

    def _drive(self) -> None:
        self.master.begin()
        while not self.master.is_over():
            self.clock.sleep(0.1)
        self.master.stop(Ending.COMPLETE)
        self.master.finish(self.clock.now())

    def generators(self) -> list[str]:
        return list(self.hosts)

    def send(self, message: msgspec.Struct, to: str) -> None:
        self.hosts[to].down.send(message)

    def rows(self) -> list[dict[str, Any]]:
        """Return the rows of all jobs, from the shards in the master's run directory."""
        self.directory.merge()
        return self.directory.table("samples").to_pylist()  # type: ignore[no-any-return]

    def endpoint(self, name: str, clock: Clock) -> SendRequest:
        """Return the way of one host to the endpoint, which completes each job after SERVICE_S."""

        def send(
            method: str, path: str, body: bytes, long_poll_s: float, deadline: float, may_send: MaySend
        ) -> Response:
            sent_at = clock.now()
            if not may_send(sent_at):
                return SEND_AGAIN
            if path.startswith("/runsync"):
                self.submissions.append((self.clock.now(), name))
            clock.sleep(SERVICE_S)  # type: ignore[attr-defined]
            answer = {"id": f"{next(self._ids)}", "status": "COMPLETED", "delayTime": 0, "executionTime": 50}
            return Response(200, msgspec.json.encode(answer), sent_at, clock.now())

        return send

    def _open_target(self, scenario: Scenario, directory: RunDirectory, clock: Clock) -> Target:
        def send(timeout_s: float) -> Response:
            return Response(200, HEALTH, clock.now(), clock.now())

        return Target(URL, EndpointHealth(URL, send), lambda: None)
