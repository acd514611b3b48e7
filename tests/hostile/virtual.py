"""Hostile runs in virtual time: master, generators and HTTP client as they are, over connections within the process.

Connections are socket pairs, so that the client reads and writes as over a network; opening one takes time by the
virtual clock, as the plan says.
"""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from math import inf
from pathlib import Path
from typing import Any

import gevent
from gevent import Greenlet
from gevent import socket as gevent_socket

from loadtest.clock import SleepingClock
from loadtest.commands.read_run import read_run
from loadtest.commands.results import build_results, summarize_and_judge
from loadtest.drive.cluster.target import Target
from loadtest.drive.dispatcher import JobDispatcher, JobSink
from loadtest.drive.http.client import HttpClient
from loadtest.drive.http.connection import READ_BYTES, Connection, IoBatcher
from loadtest.drive.http.errors import ConnectTimeout
from loadtest.errors import LoadtestError
from loadtest.flows.health import EndpointHealth
from loadtest.flows.steps import Response
from loadtest.protocol.operations import OPERATIONS, Op
from loadtest.record.atomic_file import readable_json, write_atomic
from loadtest.record.directory import RunDirectory
from loadtest.record.run import Ending
from loadtest.scenario.model import Scenario
from tests.hostile.endpoint import HostileEndpoint
from tests.hostile.evidence import Evidence
from tests.hostile.plan import Incident, Plan
from tests.unit.drive.cluster.virtual_cluster import BEGINS_AT, URL, Cluster, Host

CONNECT_TIMEOUT_S = 5.0
FAST_CONNECT_S = 0.001
SWEEP_S = 0.25
WITHIN_S = 300.0
WALL_CLOCK_S = 60.0


class _Overtime(Exception):
    """The run takes longer than WALL_CLOCK_S."""


class SocketPairDialer:
    """A dialer whose connections end at the hostile endpoint."""

    session = None
    proxy = None

    def __init__(self, cluster: HostileCluster, clock: SleepingClock) -> None:
        self._cluster = cluster
        self._clock = clock
        self._buffer = memoryview(bytearray(READ_BYTES))
        self._batcher = IoBatcher(clock)

    def dial(self) -> Connection:
        """Open a connection, fast or slowly."""
        behaviour, rng = self._cluster.plan.behaviour, self._cluster.random
        slow = rng.random() < behaviour.slow_connects
        took_s = rng.uniform(0.0, behaviour.slow_connect_s) if slow else FAST_CONNECT_S
        self._clock.sleep(min(took_s, CONNECT_TIMEOUT_S))
        if slow:
            self._cluster.server.ledger.met["slow_connect"] += 1
        if took_s >= CONNECT_TIMEOUT_S:
            self._cluster.server.ledger.met["connect_timeout"] += 1
            raise ConnectTimeout(f"no connection within {CONNECT_TIMEOUT_S:g} s")
        near, far = socket.socketpair()
        served = gevent_socket.socket(far.family, far.type, far.proto, fileno=far.detach())
        self._cluster.spawn(self._cluster.server.serve, served)
        return Connection(near, None, self._buffer, self._batcher)


class HostileHost(Host):
    """A generator whose users report their crashes, as Locust's do."""

    cluster: HostileCluster

    def first_sinks(self) -> tuple[JobSink, ...]:
        return (self.cluster.clients[self.name].mask.samples,)

    def _use(self, jobs: JobDispatcher) -> None:
        try:
            super()._use(jobs)
        except Exception as error:
            self.cluster.errors.append(f"a user crashed: {type(error).__name__}: {error}")
            self.cluster.master.abort(LoadtestError(f"internal error in a user: {type(error).__name__}"))


class HostileCluster(Cluster):
    """A run in virtual time against the hostile endpoint."""

    def __init__(self, folder: Path, plan: Plan) -> None:
        self.plan = plan
        self.errors: list[str] = []
        self.clients: dict[str, HttpClient] = {}
        self.random = random.Random(f"{plan.seed}/network/{plan.number}")
        self._spawned: list[Greenlet[..., Any]] = []
        super().__init__(folder, Scenario.model_validate(plan.scenario | {"target": URL}))
        self.server = HostileEndpoint(plan.behaviour, self.clock, f"{plan.seed}/endpoint/{plan.number}", plan.key)
        self.signalled_at = inf

    def add(self, name: str, offset_s: float = 0.0, own_disk: Path | None = None) -> Host:
        self.hosts[name] = HostileHost(self, name, offset_s, own_disk)
        return self.hosts[name]

    def spawn(self, work: Any, *args: Any) -> None:
        """Start a greenlet that ends with the run."""
        self._spawned.append(gevent.spawn(work, *args))

    def client(self, name: str, clock: SleepingClock) -> HttpClient:
        """Return a client of the endpoint in the clock of a host, whose deadlines are checked by that clock."""
        client = HttpClient(URL, self.plan.key, clock)
        client._dialer = SocketPairDialer(self, clock)  # type: ignore[assignment]
        self.clients[name] = client

        def sweep() -> None:
            while True:
                clock.sleep(SWEEP_S)
                client._expire_overdue()

        self.spawn(sweep)
        return client

    def endpoint(self, name: str, clock: Any) -> Any:
        """Return the way of one host to the endpoint; a suspended host neither sends nor sees an answer."""
        client = self.client(name, clock)

        def send(*request: Any) -> Response:
            clock.sleep_until(clock.now())
            response = client.send(*request)
            clock.sleep_until(clock.now())
            return response

        return send

    def _open_target(self, scenario: Scenario, directory: RunDirectory, clock: Any) -> Target:
        client = self.client("master", clock)
        operation = OPERATIONS[Op.HEALTH]

        def send(timeout_s: float) -> Response:
            deadline = clock.now() + timeout_s - 1.0
            return client.send(operation.method, operation.path, b"", 0.0, deadline)

        return Target(URL, EndpointHealth(URL, send), lambda: None)

    def kill(self, name: str) -> None:
        """Kill a generator; the system closes its connections."""
        self.hosts[name].kill()
        for connection in list(self.clients[name]._connections) if name in self.clients else []:
            connection.close()

    def signal(self) -> None:
        """End the run, as SIGTERM at the master does."""
        self.signalled_at = self.clock.now()
        self.master.stop(Ending.TERMINATED)

    def run_to_the_end(self) -> None:
        """Run as Locust's load shape does it, and end all of its greenlets."""
        driven = gevent.spawn(self._drive)
        try:
            with suppress(_Overtime), gevent.Timeout(WALL_CLOCK_S, _Overtime):
                while not driven.ready() and self.clock.now() < BEGINS_AT + WITHIN_S:
                    self.clock.run(self.clock.now() + 1.0)
            if not driven.ready():
                self.errors.append(f"the run did not end, at {self.clock.now() - BEGINS_AT:.1f} s of virtual time")
            elif driven.exception is not None:
                self.errors.append(f"the master crashed: {driven.exception}")
        finally:
            self.clock.run(self.clock.now() + 1.0)
            gevent.killall([driven, *self._spawned])
            for client in self.clients.values():
                for connection in list(client._connections):
                    connection.close()
                client.close()


def run_virtual(plan: Plan, folder: Path) -> Evidence:
    """Run a plan in virtual time, in a folder of its own, and return what is known then."""
    cluster = HostileCluster(folder, plan)
    for number in range(plan.generators):
        cluster.add(f"g{number}", plan.offsets_s[number])
    for incident in plan.incidents:
        _arrange(cluster, incident)
    with _crashes_in(cluster.errors):
        cluster.run_to_the_end()
    evidence = Evidence(
        plan,
        cluster.server.ledger,
        cluster.directory.path,
        cluster.clock.now(),
        tolerance_s=0.0,
        signalled_at=cluster.signalled_at,
        errors=cluster.errors,
    )
    evidence.errors.extend(_build(cluster.directory, whole=plan.number % 10 == 0))
    return evidence


@contextmanager
def _crashes_in(errors: list[str]) -> Iterator[None]:
    """Add the error of each greenlet that crashes to this list, instead of printing it."""
    hub = gevent.get_hub()
    stream, hub.exception_stream = hub.exception_stream, None
    usual = hub.handle_error

    def handle_error(context: Any, kind: type[BaseException], value: BaseException, traceback: Any) -> None:
        if not issubclass(kind, hub.NOT_ERROR):
            errors.append(f"a greenlet crashed: {kind.__name__}: {value}")
        usual(context, kind, value, traceback)

    hub.handle_error = handle_error  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        hub.handle_error, hub.exception_stream = usual, stream  # type: ignore[method-assign]


def _build(directory: RunDirectory, whole: bool) -> list[str]:
    """Build the results as `loadtest report` does if they are to be whole, else as `gate` does; return the errors."""
    try:
        if whole:
            build_results(directory)
        else:
            data = read_run(directory)
            write_atomic(directory.summary, readable_json(summarize_and_judge(data, data.scenario.gates)))
    except Exception as error:
        return [f"the results cannot be built: {type(error).__name__}: {error}"]
    return []


def _arrange(cluster: HostileCluster, incident: Incident) -> None:
    name = f"g{incident.process}"
    begins_at = BEGINS_AT + incident.at_s
    match incident.kind:
        case "kill":
            cluster.at(incident.at_s, lambda: cluster.kill(name))
        case "join":
            cluster.at(incident.at_s, lambda: cluster.join("late"))
        case "cut":
            cluster.hosts[name].cut(begins_at, begins_at + incident.for_s)
        case "suspend":
            cluster.hosts[name].suspend(begins_at, begins_at + incident.for_s)
        case "signal":
            cluster.at(incident.at_s, cluster.signal)
    cluster.at(incident.at_s, lambda: cluster.server.ledger.met.update([incident.kind]))
