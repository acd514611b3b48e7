"""Flows against the endpoint model in virtual time: the transport is a function call with a transport time."""

from __future__ import annotations

from collections.abc import Callable

import gevent
from gevent import Greenlet
from msgspec import structs
from msgspec.json import encode

from loadtest.drive.executor import FlowExecutor
from loadtest.drive.http.connection import MaySend
from loadtest.drive.http.errors import ConnectionClosed
from loadtest.drive.limiter import OperationLimiter
from loadtest.endpoint.endpoint import Endpoint
from loadtest.endpoint.job import Job as ServerJob
from loadtest.endpoint.job import to_response
from loadtest.flows.steps import NO_RESPONSE, SEND_AGAIN, Flow, Response, Send
from loadtest.protocol.client_messages import StreamResponse, decode_submission
from loadtest.protocol.operations import Limit, Op
from loadtest.record.recorder import RequestLog
from loadtest.record.sample import Sample
from tests.unit.drive.virtual_clock import VirtualClock

TRANSPORT_S = 0.002
HOLD_S = 1.0


class RequestCounts:
    """The counts of a Recorder that an executor uses, without its files."""

    def __init__(self) -> None:
        self.requests = {op: RequestLog(op, keep_sends=False) for op in Op}
        self.tally = self
        self.count = 0

    def add(self) -> None:
        self.count += 1


class VirtualWire:
    """Carries requests to an endpoint model and responses back, each way taking TRANSPORT_S."""

    def __init__(
        self, endpoint: Endpoint, stream_form: str = "status", limits: dict[Op, Limit] | None = None
    ) -> None:
        self.endpoint = endpoint
        self.clock = VirtualClock()
        self.requests: list[tuple[Op, float, int]] = []
        self.misbehave: Callable[[Send, float], Response | None] = lambda step, now: None
        self.mute = False
        """Whether notifications get lost."""
        self._stream_form = stream_form
        limiters = {op: OperationLimiter((limits or {}).get(op), self.clock) for op in Op}
        self.executor = FlowExecutor(
            self.clock, self._send, limiters, RequestCounts(), wait_for_webhook=self._wait_for_webhook
        )
        self._flows: list[Greenlet[..., None]] = []

    @property
    def now(self) -> float:
        return self.clock.now()

    def drive(self, steps: Flow, sample: Sample) -> None:
        """Run a flow from its sample's intended start."""

        def run() -> None:
            self.clock.sleep_until(sample.intended_at)
            self.executor.run(steps, sample)

        self._flows.append(gevent.spawn(run))

    def run(self, until: float = 1e6) -> None:
        """Go on until nothing is left to do, or until that time."""
        self.clock.run(until)
        for flow in self._flows:
            if flow.ready():
                flow.get()

    def _send(
        self, method: str, path: str, body: bytes, long_poll_s: float, deadline: float, may_send: MaySend
    ) -> Response:
        step, sent_at = Send(Op(path.split("/")[1].partition("?")[0]), path, body, long_poll_s, deadline), self.now
        if not may_send(sent_at):
            return SEND_AGAIN
        self.clock.sleep(TRANSPORT_S)
        self.endpoint.advance(self.now)
        answer = self.misbehave(step, self.now) or self._answer(step)
        self.requests.append((step.op, sent_at, answer.status))
        self.clock.sleep(TRANSPORT_S)
        if not answer.status:
            error = ConnectionClosed("connection reset")
            return Response(0, b"", sent_at, self.now, error=str(error), error_kind=error.kind)
        return structs.replace(answer, sent_at=sent_at, answered_at=self.now)

    def _answer(self, step: Send) -> Response:
        wait_s = self.endpoint.admit(step.op, self.now)
        if wait_s is not None:
            return Response(429, b'{"status":429}', 0.0, 0.0, wait_s)
        self.endpoint.release(step.op)
        job_id, now = step.path.rpartition("/")[2].partition("?")[0], self.now
        match step.op:
            case Op.RUN:
                return ok(encode(to_response(self.endpoint.submit(Op.RUN, now, decode_submission(step.body)))))
            case Op.RUNSYNC:
                job = self.endpoint.submit(Op.RUNSYNC, now, decode_submission(step.body))
                return self._hold(job.id, now + step.long_poll_s)
            case Op.STATUS_SYNC:
                return self._hold(job_id, now + step.long_poll_s)
            case Op.STREAM:
                return self._hold(job_id, now + HOLD_S, streamed=True)
            case Op.CANCEL:
                self.endpoint.cancel(job_id, now)
                return self._hold(job_id, now)
            case _:
                return self._hold(job_id, now)

    def _hold(self, job_id: str, until: float, streamed: bool = False) -> Response:
        """Answer when the job has ended, a chunk is there or the hold is over."""
        while (job := self.endpoint.job(job_id, self.now)) is not None:
            chunk_at = job.next_chunk_at() if streamed else None
            if job.final or self.now >= (until if chunk_at is None else min(until, chunk_at)):
                return ok(self._stream_body(job) if streamed else encode(to_response(job)))
            self._sleep_until_change(until if chunk_at is None else min(until, chunk_at))
        return Response(404, b"{}", 0.0, 0.0)

    def _sleep_until_change(self, until: float) -> None:
        """Sleep until the endpoint's next event, at most until this time."""
        due_at = self.endpoint.next_due_at()
        self.clock.sleep_until(until if due_at <= self.now else min(until, due_at))
        self.endpoint.advance(self.now)

    def _wait_for_webhook(self, job_id: str, until: float) -> Response:
        while True:
            job = self.endpoint.job(job_id, self.now)
            if job is not None and job.final and job.webhook is not None and not self.mute:
                self.clock.sleep(TRANSPORT_S)
                return Response(200, encode(to_response(job)), self.now, self.now)
            if self.now >= until:
                return NO_RESPONSE
            self._sleep_until_change(until)

    def _stream_body(self, job: ServerJob) -> bytes:
        chunks = self.endpoint.read_stream(job.id, self.now) or []
        return encode(chunks) if self._stream_form == "array" else encode(StreamResponse(chunks, job.state.value))


def ok(body: bytes) -> Response:
    """A response of status 200; its times are filled in by the transport."""
    return Response(200, body, 0.0, 0.0)
