"""The health of an endpoint: how often it is asked for."""

from __future__ import annotations

from dataclasses import dataclass, field

import gevent
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.errors import RunAborted
from loadtest.flows.health import POLL_INTERVAL_S, EndpointHealth, read_health
from loadtest.flows.steps import Response
from loadtest.protocol.client_messages import Health
from loadtest.protocol.operations import Limit
from loadtest.traffic.arrivals import max_in_window
from tests.unit.drive.virtual_clock import VirtualClock

URL = "http://127.0.0.1:9/v2/x"
HEALTH = (
    b'{"jobs":{"completed":0,"failed":0,"inProgress":0,"inQueue":0,"retried":0},"workers":{"idle":0,"running":0}}'
)


@dataclass
class Asked:
    """An endpoint that notes when it is asked, and a writer of health rows."""

    clock: VirtualClock = field(default_factory=lambda: VirtualClock(100.0))
    at: list[float] = field(default_factory=list)
    written: list[float] = field(default_factory=list)
    closed: bool = False

    def send(self, timeout_s: float) -> Response:
        self.at.append(self.clock.now())
        self.clock.sleep(0.01)
        return Response(200, HEALTH, self.at[-1], self.clock.now())

    def sent(self, at: float) -> None:
        self.written.append(at)

    def answered(self, status: int, sent_at: float, answered_at: float, health: Health | None) -> None:
        assert (status, sent_at) == (200, self.at[-1])

    def close(self) -> None:
        self.closed = True

    def watch(self, limit: Limit | None, until_s: float) -> None:
        health = EndpointHealth(URL, self.send, limit)

        def run() -> None:
            health.preflight()
            health.watch(self, self.clock)  # type: ignore[arg-type]

        watching = gevent.spawn(run)
        self.clock.run(100.0 + until_s)
        watching.kill()


@given(requests=st.integers(1, 20), per_s=st.floats(0.1, 60.0))
def test_health_is_asked_for_within_its_limit(requests: int, per_s: float) -> None:
    asked = Asked()
    asked.watch(Limit(requests, per_s), until_s=200.0)
    assert max_in_window(np.array(asked.at), per_s) <= requests
    assert len(asked.at) >= 0.8 * min(200.0 / (POLL_INTERVAL_S + 0.01), 200.0 * requests / (per_s + 0.1)) - 1
    assert asked.written == asked.at[1:]
    assert asked.closed


def test_redirect_names_what_to_write_as_target() -> None:
    answer = Response(301, b"", 100.0, 100.1, location="https://host.invalid/v2/x/health")
    with pytest.raises(
        RunAborted,
        match=r"to https://host\.invalid/v2/x/health; write https://host\.invalid/v2/x as",
    ):
        EndpointHealth(URL, lambda timeout_s: answer).preflight()


def test_health_without_a_limit_is_asked_for_at_its_interval() -> None:
    asked = Asked()
    asked.watch(None, until_s=10.0)
    assert np.diff(asked.at[1:]) == pytest.approx(POLL_INTERVAL_S + 0.01)


def test_the_development_server_of_the_sdk_is_refused_with_what_to_write_instead() -> None:
    """It has /run and /status, and answers 404 to /health."""
    with pytest.raises(RunAborted, match=r"\(--rp_serve_api\), its file: target: \{handler: handler.py\}"):
        read_health("http://127.0.0.1:8000", Response(404, b'{"detail":"Not Found"}', 0.0, 0.1))
