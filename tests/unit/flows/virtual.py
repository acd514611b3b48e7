"""Flows against the endpoint model in virtual time: the wire is a function call with a transport time."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from itertools import count

from loadtest.endpoint.endpoint import Endpoint
from loadtest.endpoint.job import Job as ServerJob
from loadtest.endpoint.job import to_response as shown
from loadtest.flows.steps import NO_RESPONSE, Flow, Response, Send, WaitForWebhook, WaitUntil
from loadtest.protocol.client_messages import StreamResponse, decode_submission, encode
from loadtest.protocol.operations import Op
from loadtest.record.sample import Sample
from loadtest.traffic.rate_limit import SlidingWindowLimiter

TRANSPORT_S = 0.002
HOLD_S = 1.0


class VirtualWire:
    """Carries requests to an endpoint model and answers back, each way taking TRANSPORT_S."""

    def __init__(self, endpoint: Endpoint, start_at: float = 0.0, stream_form: str = "status") -> None:
        self.endpoint = endpoint
        self.now = start_at
        self.requests: list[tuple[Op, float, int]] = []
        self.budgets: dict[Op, SlidingWindowLimiter] = {}
        self.misbehave: Callable[[Send, float], Response | None] = lambda step, now: None
        self.mute = False
        """Whether notifications get lost."""
        self._stream_form = stream_form
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()

    def drive(self, steps: Flow, sample: Sample) -> None:
        """Begin a flow at its sample's intended start."""
        self._at(sample.intended_at, lambda: self._step(steps, sample, None))

    def run(self, until: float = 1e6) -> None:
        """Go on until nothing is left to do, or until that time."""
        while self._agenda and self._agenda[0][0] <= until:
            self.now, _, action = heapq.heappop(self._agenda)
            self.endpoint.advance(self.now)
            action()

    def _at(self, at: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._agenda, (max(at, self.now), next(self._order), action))

    def _step(self, steps: Flow, sample: Sample, handed: Response | None) -> None:
        try:
            step = next(steps) if handed is None else steps.send(handed)
        except StopIteration:
            return
        if isinstance(step, WaitUntil):
            self._at(step.at, lambda: self._step(steps, sample, NO_RESPONSE))
            return
        if isinstance(step, WaitForWebhook):
            self._hear(steps, sample, step)
            return
        self._enter(steps, sample, step)

    def _hear(self, steps: Flow, sample: Sample, step: WaitForWebhook) -> None:
        """Tell of the job's end when it has come; looks again at each event."""
        job = self.endpoint.job(step.job_id, self.now)
        reported = job is not None and job.final and job.webhook is not None and not self.mute
        if reported or self.now >= step.until:
            at = self.now + TRANSPORT_S
            handed = Response(200, encode(shown(job)), at, at) if reported and job is not None else NO_RESPONSE
            self._at(at if reported else self.now, lambda: self._step(steps, sample, handed))
            return
        wake = min(step.until, self.endpoint.next_due_at())
        self._at(step.until if wake <= self.now else wake, lambda: self._hear(steps, sample, step))

    def _enter(self, steps: Flow, sample: Sample, step: Send) -> None:
        """Wait in the operation's lane; whoever is late looks again."""
        budget = self.budgets.get(step.op)
        at = self.now if budget is None else budget.next_at(self.now)
        if at > self.now:
            self._at(at, lambda: self._enter(steps, sample, step))
            return
        if budget is not None:
            budget.record(self.now)
        self._send(steps, sample, step)

    def _send(self, steps: Flow, sample: Sample, step: Send) -> None:
        sent_at = self.now
        if sample.sent_at is None:
            sample.sent_at = sent_at

        def answered(
            status: int, body: bytes, retry_after_s: float | None = None, came: Sequence[tuple[int, float]] = ()
        ) -> None:
            self.requests.append((step.op, sent_at, status))
            at = self.now + TRANSPORT_S
            handed = Response(status, body, sent_at, at, retry_after_s, None if status else "connection reset", came)
            self._at(at, lambda: self._step(steps, sample, handed))

        self._at(sent_at + TRANSPORT_S, lambda: self._serve(step, answered))

    def _serve(self, step: Send, answered: Callable[..., None]) -> None:
        strange = self.misbehave(step, self.now)
        if strange is not None:
            answered(strange.status, strange.body, strange.retry_after_s, strange.body_progress)
            return
        wait_s = self.endpoint.admit(step.op, self.now)
        if wait_s is not None:
            answered(429, b'{"status":429}', wait_s)
            return
        self.endpoint.release(step.op)
        job_id = step.path.rpartition("/")[2]
        match step.op:
            case Op.RUN:
                submission = decode_submission(step.body)
                answered(200, encode(shown(self.endpoint.submit(Op.RUN, self.now, submission))))
            case Op.RUNSYNC:
                job = self.endpoint.submit(Op.RUNSYNC, self.now, decode_submission(step.body))
                self._hold(job.id, self.now + step.long_poll_s, answered)
            case Op.STATUS_SYNC:
                self._hold(job_id.partition("?")[0], self.now + step.long_poll_s, answered)
            case Op.STREAM:
                self._hold(job_id, self.now + HOLD_S, answered, streamed=True)
            case _:
                job = self.endpoint.job(job_id, self.now)
                answered(*((404, b"{}") if job is None else (200, encode(shown(job)))))

    def _hold(self, job_id: str, until: float, answered: Callable[..., None], streamed: bool = False) -> None:
        """Answer when the job has ended, a chunk is there or the hold is over; looks again at each event."""
        job = self.endpoint.job(job_id, self.now)
        if job is None:
            answered(404, b"{}")
            return
        chunk_at = job.next_chunk_at() if streamed else None
        chunk_waits = chunk_at is not None and chunk_at <= self.now
        if job.final or chunk_waits or self.now >= until:
            answered(200, self._stream_body(job) if streamed else encode(shown(job)))
            return
        wakes = [until, self.endpoint.next_due_at(), chunk_at or until]
        self._at(min(wakes), lambda: self._hold(job_id, until, answered, streamed))

    def _stream_body(self, job: ServerJob) -> bytes:
        chunks = self.endpoint.read_stream(job.id, self.now) or []
        return encode(chunks) if self._stream_form == "array" else encode(StreamResponse(chunks, job.state.value))
