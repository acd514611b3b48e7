"""Drives the flow of one job: waits, keeps to the limits, sends, and counts its requests."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from loadtest.clock import SleepingClock
from loadtest.drive.limiter import OperationLimiter
from loadtest.flows.steps import NO_RESPONSE, Flow, Response, Send, WaitUntil
from loadtest.protocol.operations import OPERATIONS, Op
from loadtest.record.recorder import Recorder
from loadtest.record.sample import Sample

RequestListener: TypeAlias = Callable[[str, str, Response], object]
"""Called with the method, the path template and the response of each request."""
SendRequest: TypeAlias = Callable[[str, str, bytes, float, float], Response]
"""Sends a method, a path and a body, with the seconds for which the server may hold its response, and a deadline."""
WebhookWaiter: TypeAlias = Callable[[str, float], Response]
"""Waits for the notification of a job, by its id; at the given time it returns NO_RESPONSE."""


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
            op: (limiter, recorder.requests[op], OPERATIONS[op].method, OPERATIONS[op].path)
            for op, limiter in limiters.items()
        }
        self._tally = recorder.tally
        self._on_response = on_response

    def run(self, steps: Flow, sample: Sample, acquired_at: float | None = None) -> None:
        """Drive a flow to its end; its first request may have acquired its limiter already, at `acquired_at`."""
        try:
            step = next(steps)
            while True:
                if isinstance(step, Send):
                    response = self._send(step, sample, acquired_at)
                    acquired_at = None
                    step = steps.send(response)
                elif isinstance(step, WaitUntil):
                    self._clock.sleep_until(step.at)
                    step = steps.send(NO_RESPONSE)
                else:
                    assert self._wait_for_webhook is not None
                    step = steps.send(self._wait_for_webhook(step.job_id, step.until))
        except StopIteration:
            return
        finally:
            steps.close()

    def acquire(self, op: Op) -> float:
        """Wait until one more request of this operation may go out; return the time then."""
        return self._limiters[op].acquire()

    def release(self, op: Op) -> None:
        """Give back an acquired request that was not sent."""
        self._limiters[op].release()

    def request(self, op: Op, path: str) -> Response:
        """Send a request that belongs to no job's row, such as a cancel; within its limit, and counted."""
        return self._send(Send(op, path), None, None)

    def _send(self, step: Send, sample: Sample | None, acquired_at: float | None) -> Response:
        limiter, log, method, name = self._routes[step.op]
        at = limiter.acquire() if acquired_at is None else acquired_at
        first = sample is not None and sample.sent_at is None
        try:
            log.sent(at)
            if sample is not None and first:
                sample.sent_at = at
                self._tally.add()
            response = self._send_request(method, step.path, step.body, step.long_poll_s, step.deadline)
            if sample is not None and first:
                sample.sent_at = response.sent_at
        finally:
            limiter.release()
        log.answered(response.status, response.sent_at, response.answered_at)
        self._on_response(method, name, response)
        return response
