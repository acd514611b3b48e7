"""The target of a run: an endpoint that is there, or one that the run starts; checked before anything is sent."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import gevent
from gevent.fileobject import FileObject

from loadtest.clock import SleepingClock
from loadtest.drive.http.client import HttpClient
from loadtest.errors import RunAborted
from loadtest.flows.health import EndpointHealth
from loadtest.flows.steps import SEND_AGAIN, Response
from loadtest.protocol.operations import OPERATIONS, Op
from loadtest.record.directory import RunDirectory
from loadtest.scenario.environment import api_key
from loadtest.scenario.local_endpoint import LocalEndpoint
from loadtest.scenario.model import Scenario
from loadtest.scenario.target import RemoteTarget

LISTENING, READY = "listening on ", b"ready: "
MAX_OUTPUT_BYTES = 10**5


@dataclass(frozen=True)
class Target:
    """The endpoint of a run, its health, and what ends the process that this run started for it."""

    url: str
    health: EndpointHealth
    close: Callable[[], object]


OpenTarget: TypeAlias = Callable[[Scenario, RunDirectory, SleepingClock], Target]


def open_target(scenario: Scenario, directory: RunDirectory, clock: SleepingClock, fds: Sequence[int] = ()) -> Target:
    """Return the target of a scenario, once it can take jobs.

    `fds` are those of its local endpoint, if the process that started this one has started that as well, and stops
    it. Raises RunAborted if it does not start.
    """
    own = None
    if isinstance(scenario.target, RemoteTarget):
        url = scenario.target.url
    else:
        handler = None if scenario.target == "embedded" else scenario.target
        if not fds:
            scratch = directory.scratch.resolve()
            own = LocalEndpoint(scenario.endpoint, scenario.seed, handler, directory.workers, scratch)
            fds = own.fds
        _, stdout, stderr = fds
        url = _read_url(stdout, stderr, handler is not None)
    client = HttpClient(url, api_key(scenario, os.environ), clock)

    def close() -> None:
        client.close()
        if own is not None:
            own.stop()
        else:
            for fd in fds:
                os.close(fd)

    return Target(url, EndpointHealth(url, _health_request(client, clock), scenario.limit(Op.HEALTH)), close)


def _read_url(stdout: int, stderr: int, has_handler: bool) -> str:
    """Return the URL that a local endpoint prints; with a handler, once all active workers have asked for a job.

    Raises RunAborted, with what it wrote to standard error, if it ends before.
    """
    with FileObject(stdout, "rb", close=False) as lines:
        url = str(lines.readline().decode().strip())
        ready = lines.readline() if has_handler and url else READY
    if url.startswith(LISTENING) and ready.startswith(READY):
        return url.removeprefix(LISTENING)
    output = os.pread(stderr, MAX_OUTPUT_BYTES, 0).decode(errors="replace").strip()
    raise RunAborted(f"target: the endpoint did not start: {output or url}")


def _health_request(client: HttpClient, clock: SleepingClock) -> Callable[[float], Response]:
    operation = OPERATIONS[Op.HEALTH]

    def send(timeout_s: float) -> Response:
        sent_at = clock.now()
        answer: Response | None = gevent.with_timeout(
            timeout_s, client.send, operation.method, operation.path, timeout_value=None
        )
        if answer is None:
            return Response(0, b"", sent_at, clock.now(), error=f"no answer within {timeout_s:g} s")
        # The next request of the health follows soon, within its limit.
        if answer is SEND_AGAIN:
            return Response(0, b"", sent_at, clock.now(), error="the server closed the connection")
        return answer

    return send
