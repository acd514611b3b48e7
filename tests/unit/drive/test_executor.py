"""Requests within their limits, in virtual time: connections that take long to open, networks that delay."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

import gevent
import numpy as np
import pytest
from gevent import Greenlet
from hypothesis import example, given, settings
from hypothesis import strategies as st

from loadtest.drive.executor import FlowExecutor
from loadtest.drive.http.connection import MaySend
from loadtest.drive.limiter import OperationLimiter
from loadtest.flows.steps import SEND_AGAIN, Flow, Response, Send
from loadtest.protocol.operations import Limit, Op
from loadtest.record.sample import ErrorKind, Sample
from loadtest.traffic.arrivals import max_in_window
from loadtest.traffic.rate_limit import LATE_S, MARGIN_S
from tests.unit.drive.virtual_clock import VirtualClock
from tests.unit.flows.virtual import RequestCounts

NETWORK_DELAYS_S = MARGIN_S - LATE_S
"""How much the delays of the network may differ, for the limit to hold at the server."""


@dataclass
class Wire:
    """A way to a server: a connection is opened first, or one is there; then a request travels for a while."""

    limit: Limit | None = None
    connect_s: Callable[[], float] = lambda: 0.0
    travel_s: Callable[[], float] = lambda: 0.0
    response_s: float = 0.01
    clock: VirtualClock = field(default_factory=lambda: VirtualClock(1000.0))
    sent_at: list[float] = field(default_factory=list)
    arrived_at: list[float] = field(default_factory=list)
    refused: int = 0

    def __post_init__(self) -> None:
        self.limiter = OperationLimiter(self.limit, self.clock)
        self.counts = RequestCounts()
        limiters = {op: OperationLimiter(None, self.clock) for op in Op} | {Op.RUN: self.limiter}
        self.executor = FlowExecutor(self.clock, self._send, limiters, self.counts)  # type: ignore[arg-type]

    def _send(
        self, method: str, path: str, body: bytes, long_poll_s: float, deadline: float, may_send: MaySend
    ) -> Response:
        self.clock.sleep(self.connect_s())
        now = self.clock.now()
        if not may_send(now):
            self.refused += 1
            return SEND_AGAIN
        self.sent_at.append(now)
        self.arrived_at.append(now + self.travel_s())
        self.clock.sleep(self.response_s)
        return Response(200, b"{}", now, self.clock.now())

    def submit(self, acquire: bool = True) -> Greenlet[..., list[Sample]]:
        """Submit one job as a dispatcher does: again, if its place or its lease was over before it could go out."""

        def steps() -> Flow:
            yield Send(Op.RUN, "/run")

        def run() -> list[Sample]:
            sample = Sample(0, "run", self.clock.now())
            acquired_at = self.executor.acquire(Op.RUN) if acquire else None
            while not self.executor.run(steps(), sample, acquired_at):
                acquired_at = self.executor.acquire(Op.RUN)
            return [sample]

        return gevent.spawn(run)


def most_at_server(wire: Wire, per_s: float) -> int:
    return max_in_window(np.sort(wire.arrived_at), per_s)


def test_limit_holds_at_the_server_when_connections_are_opened_first() -> None:
    """A TLS handshake of 0.4 s: the first requests go out 0.4 s late, the next over connections that are there."""
    opened = iter([0.4] * 30)
    wire = Wire(Limit(30, 3.0), connect_s=lambda: next(opened, 0.0))
    for _ in range(90):
        wire.submit()
    wire.clock.run()
    assert len(wire.arrived_at) == 90
    assert most_at_server(wire, 3.0) == 30
    assert max(wire.sent_at) < 1000.0 + 2 * (3.0 + MARGIN_S + 0.4) + 0.1


@settings(max_examples=60, deadline=None)
@given(
    requests=st.integers(1, 20),
    per_s=st.floats(0.3, 5.0),
    concurrent=st.none() | st.integers(1, 30),
    slowest_s=st.floats(0.0, 8.0),
    new=st.floats(0.0, 1.0),
    base_s=st.floats(0.0, 2.0),
    seed=st.integers(0, 2**32),
)
@example(requests=5, per_s=0.5, concurrent=None, slowest_s=5.0, new=0.5, base_s=0.0, seed=1)
def test_no_window_at_the_server_holds_more_than_the_limit(
    requests: int, per_s: float, concurrent: int | None, slowest_s: float, new: float, base_s: float, seed: int
) -> None:
    draw = random.Random(seed)
    wire = Wire(
        Limit(requests, per_s, concurrent),
        connect_s=lambda: draw.uniform(0.0, slowest_s) if draw.random() < new else 0.0,
        travel_s=lambda: base_s + draw.uniform(0.0, NETWORK_DELAYS_S),
        response_s=draw.uniform(0.0, 1.0),
    )

    def submit() -> None:
        for _ in range(draw.randint(1, 4 * requests)):
            wire.clock.sleep(draw.choice([0.0, draw.expovariate(2.0 * requests / per_s)]))
            submitted.append(wire.submit(acquire=draw.random() < 0.5))

    submitted: list[Greenlet[..., list[Sample]]] = []
    gevent.spawn(submit)
    wire.clock.run()
    samples = [each.get(block=False)[0] for each in submitted]
    assert len(wire.arrived_at) == len(samples) > 0
    assert most_at_server(wire, per_s) <= requests
    assert sorted(sample.sent_at or 0.0 for sample in samples) == sorted(wire.sent_at)
    assert wire.counts.count == len(samples)
    assert wire.counts.requests[Op.RUN].peak.count(wire.sent_at[-1]) <= len(samples)
    assert "0 of" in repr(wire.limiter)


def test_request_whose_lease_ended_while_it_connected_does_not_go_out_until_it_has_one() -> None:
    connections = iter([0.5])
    wire = Wire(connect_s=lambda: next(connections, 0.0))
    wire.limiter.extend_lease(1000.2)
    job = wire.submit()
    wire.clock.run(until=1010.0)
    assert (wire.sent_at, wire.refused, wire.counts.count) == ([], 1, 0)
    wire.limiter.extend_lease(1020.0)
    wire.clock.run()
    assert wire.sent_at == [1010.0]
    assert job.get(block=False)[0].sent_at == 1010.0
    assert wire.counts.count == 1


def test_request_that_connects_for_longer_than_a_window_acquires_again() -> None:
    connections = iter([2.0, 2.0])
    wire = Wire(Limit(2, 1.0), connect_s=lambda: next(connections, 0.0))
    for _ in range(4):
        wire.submit()
    wire.clock.run()
    assert len(wire.sent_at) == 4
    assert wire.refused == 2
    assert most_at_server(wire, 1.0) == 2


def test_job_without_a_connection_is_counted_as_tried_and_has_its_place_in_no_log() -> None:
    wire = Wire()
    refused = Response(0, b"", 1000.0, 1000.5, error="refused", error_kind=ErrorKind.CONNECT_ERROR)
    wire.executor._send_request = lambda *_: refused
    sample = wire.submit()
    wire.clock.run()
    assert sample.get(block=False)[0].sent_at == 1000.0
    assert wire.counts.count == 1
    assert wire.counts.requests[Op.RUN].peak.peak == 0


def test_read_that_is_to_be_sent_again_acquires_again() -> None:
    wire = Wire()
    answers = [SEND_AGAIN, Response(200, b"{}", 1000.0, 1000.0)]
    wire.executor._send_request = lambda *_: answers.pop(0)
    acquired = wire.limiter.acquire
    places: list[float] = []
    wire.executor._limiters[Op.CANCEL].acquire = lambda: places.append(acquired()) or places[-1]  # type: ignore[method-assign, func-returns-value]
    sent = Sample(0, "run", 1000.0, sent_at=1000.0)
    assert wire.executor._send(Send(Op.CANCEL, "/cancel/a"), sent, None).status == 200
    assert len(places) == 2


def test_job_that_was_killed_while_it_connected_was_not_sent() -> None:
    wire = Wire(connect_s=lambda: 5.0)
    samples: list[Sample] = []

    def steps() -> Flow:
        yield Send(Op.RUN, "/run")

    samples.append(Sample(0, "run", 1000.0))
    running = gevent.spawn(wire.executor.run, steps(), samples[0], wire.executor.acquire(Op.RUN))
    wire.clock.run(until=1001.0)
    running.kill(block=False)
    wire.clock.run()
    assert samples[0].sent_at is None
    assert (wire.counts.count, wire.sent_at) == (0, [])


@pytest.mark.parametrize("late_s", [0.0, LATE_S / 2])
def test_request_that_goes_out_at_once_keeps_its_place(late_s: float) -> None:
    wire = Wire(Limit(1, 1.0), connect_s=lambda: late_s)
    wire.submit()
    wire.submit()
    wire.clock.run()
    assert wire.sent_at == pytest.approx([1000.0 + late_s, 1000.0 + 1.0 + MARGIN_S + late_s])
