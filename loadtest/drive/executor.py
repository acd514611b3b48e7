"""Drives the flow of one job: waits, keeps to the limits, sends, and counts its requests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

from loadtest.clock import SleepingClock
from loadtest.drive.http.connection import MaySend
from loadtest.drive.limiter import OperationLimiter
from loadtest.flows.steps import NO_RESPONSE, SEND_AGAIN, Flow, Response, Send, WaitUntil
from loadtest.protocol.operations import OPERATIONS, Op
from loadtest.record.audit import PersistentCounter
from loadtest.record.recorder import Recorder, RequestLog
from loadtest.record.sample import Sample
from loadtest.scenario.flows import SUBMIT_OPERATION
from loadtest.traffic.rate_limit import LATE_S

SUBMISSIONS = frozenset(SUBMIT_OPERATION.values())
RequestListener: TypeAlias = Callable[[str, str, Response], object]
"""Called with the method, the path template and the response of each request."""
SendRequest: TypeAlias = Callable[[str, str, bytes, float, float, MaySend], Response]
"""Sends a method, a path and a body, with the seconds for which the server may hold its response, and a deadline.

Returns SEND_AGAIN if it may not send, or if it may be sent again.
"""
WebhookWaiter: TypeAlias = Callable[[str, float], Response]
"""Waits for the notification of a job, by its id; at the given time it returns NO_RESPONSE."""


@dataclass(slots=True)
class _Route:
    """How requests of one operation go out, and what counts them."""

    limiter: OperationLimiter
    log: RequestLog
    sent_jobs: PersistentCounter
    method: str
    name: str

    def may_send(self, acquired_at: float, submitted: Sample | None, now: float) -> bool:
        """Count a request that goes out now, and the job that it submits; return False if it must not go out."""
        if now - acquired_at > LATE_S and not self.limiter.postpone(acquired_at, now):
            return False
        self.log.sent(now)
        if submitted is not None:
            submitted.sent_at = now
            self.sent_jobs.add()
        return True


class FlowExecutor:
    """Drives flows within the limits of their operations; all users of a process share one."""

    def __init__(
        self,
        clock: SleepingClock,
        send: SendRequest,
        limiters: dict[Op, OperationLimiter],
        recorder: Recorder,
        on_response: RequestListener = lambda method, name, response: None,
        wait_for_webhook: WebhookWaiter | None = None,
    ) -> None:
        self._clock = clock
        self._send_request = send
        self._wait_for_webhook = wait_for_webhook
        self._limiters = limiters
        self._routes = {
            op: _Route(limiter, recorder.requests[op], recorder.tally, OPERATIONS[op].method, OPERATIONS[op].path)
            for op, limiter in limiters.items()
        }
        self._on_response = on_response

    def run(self, steps: Flow, sample: Sample, acquired_at: float | None = None) -> bool:
        """Drive a flow to its end; its first request may have acquired its limiter already, at `acquired_at`.

        Return False if that request did not go out in time: begin again, with a new flow.
        """
        try:
            step = next(steps)
            while True:
                if isinstance(step, Send):
                    response = self._send(step, sample, acquired_at)
                    if response is SEND_AGAIN:
                        return False
                    acquired_at = None
                    step = steps.send(response)
                elif isinstance(step, WaitUntil):
                    self._clock.sleep_until(step.at)
                    step = steps.send(NO_RESPONSE)
                else:
                    assert self._wait_for_webhook is not None
                    step = steps.send(self._wait_for_webhook(step.job_id, step.until))
        except StopIteration:
            return True
        finally:
            steps.close()

    def acquire(self, op: Op) -> float:
        """Wait until one more request of this operation may go out; return the time then."""
        return self._limiters[op].acquire()

    def release(self, op: Op) -> None:
        """Give back an acquired request that was not sent."""
        self._limiters[op].release()

    def end_submissions(self) -> None:
        """Let no further submission go out."""
        for op in SUBMISSIONS:
            self._limiters[op].close()

    def submitting(self) -> int:
        """Return how many submissions have no response yet."""
        return sum(self._limiters[op].in_flight for op in SUBMISSIONS)

    def _send(self, step: Send, sample: Sample, acquired_at: float | None) -> Response:
        """Send a request within its limit; return SEND_AGAIN only if it was acquired before, at `acquired_at`."""
        route = self._routes[step.op]
        limiter = route.limiter
        submitted = sample if sample.sent_at is None else None
        at = limiter.acquire() if acquired_at is None else acquired_at
        while True:
            may_send = partial(route.may_send, at, submitted)
            try:
                response = self._send_request(
                    route.method, step.path, step.body, step.long_poll_s, step.deadline, may_send
                )
            finally:
                limiter.release()
            if response is not SEND_AGAIN:
                break
            if acquired_at is not None:
                return response
            at = limiter.acquire()
        if submitted is not None:
            if submitted.sent_at is None:
                # There was no connection to send it over.
                route.sent_jobs.add()
            submitted.sent_at = response.sent_at
        route.log.answered(response.status, response.sent_at, response.answered_at)
        self._on_response(route.method, route.name, response)
        return response
