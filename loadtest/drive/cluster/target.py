"""The target of a run: an endpoint that is there, or one that the run starts; checked before anything is sent."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import gevent

from loadtest.clock import Clock
from loadtest.drive.cluster.embedded_endpoint import EmbeddedEndpoint
from loadtest.drive.http.client import HttpClient
from loadtest.flows.health import EndpointHealth
from loadtest.flows.steps import Response
from loadtest.protocol.operations import OPERATIONS, Op
from loadtest.record.directory import RunDirectory
from loadtest.scenario.environment import api_key
from loadtest.scenario.model import Scenario
from loadtest.scenario.target import RemoteTarget


@dataclass(frozen=True)
class Target:
    """The endpoint of a run, its health, and what ends the process that this run started for it."""

    url: str
    health: EndpointHealth
    close: Callable[[], object]


OpenTarget: TypeAlias = Callable[[Scenario, RunDirectory, Clock], Target]


def open_target(scenario: Scenario, directory: RunDirectory, clock: Clock) -> Target:
    """Return the target of a scenario, started if it is the run's own. Raises RunAborted if it does not start."""
    embedded = None
    if isinstance(scenario.target, RemoteTarget):
        url = scenario.target.url
    else:
        handler = None if scenario.target == "embedded" else scenario.target
        embedded = EmbeddedEndpoint(scenario.endpoint, scenario.seed, handler, directory.workers)
        url = embedded.url
    client = HttpClient(url, api_key(scenario, os.environ), clock)

    def close() -> None:
        client.close()
        if embedded is not None:
            embedded.stop()

    return Target(url, EndpointHealth(url, _health_request(client, clock)), close)


def _health_request(client: HttpClient, clock: Clock) -> Callable[[float], Response]:
    operation = OPERATIONS[Op.HEALTH]

    def send(timeout_s: float) -> Response:
        sent_at = clock.now()
        answer: Response | None = gevent.with_timeout(
            timeout_s, client.send, operation.method, operation.path, timeout_value=None
        )
        return answer or Response(0, b"", sent_at, clock.now(), error=f"no answer within {timeout_s:g} s")

    return send
