"""Carries out the steps of a flow: waits, keeps to the limits, sends, and tells the recorder and Locust."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from gevent import get_hub
from locust.env import Environment

from loadtest.clock import SleepingClock
from loadtest.drive.http.client import HttpClient
from loadtest.drive.limiter import OperationLimiter
from loadtest.drive.stats.locust_stats import BatchedLocustStats, RequestFailed
from loadtest.drive.webhook_receiver import WebhookReceiver
from loadtest.flows.steps import NO_RESPONSE, Flow, Response, Send, WaitUntil
from loadtest.protocol.operations import OPERATIONS, Op
from loadtest.record.recorder import Recorder
from loadtest.record.requests import RequestLog
from loadtest.record.sample import Sample


def run_on_loop(work: Callable[[], None]) -> None:
    """Let the loop do this next, on its own stack.

    Done by a user, it would leave that user's stack larger by some pages for the rest of the run; and there are
    thousands of users.
    """
    get_hub().loop.run_callback(work)


class OperationRoute(NamedTuple):
    """What the requests of one operation have in common."""

    limiter: OperationLimiter
    log: RequestLog
    method: str
    name: str


class FlowExecutor:
    """Everything that a job needs to be sent, shared by all users of a process."""

    def __init__(
        self,
        engine: HttpClient,
        limiters: dict[Op, OperationLimiter],
        recorder: Recorder,
        clock: SleepingClock,
        environment: Environment,
        listener: WebhookReceiver | None = None,
    ) -> None:
        self._engine = engine
        self._listener = listener
        self._ways = {
            op: OperationRoute(limiter, recorder.requests[op], OPERATIONS[op].method, OPERATIONS[op].path)
            for op, limiter in limiters.items()
        }
        self.figures = BatchedLocustStats(environment, run_on_loop)
        recorder.add_listener(self.figures.add_jobs)
        self._tally = recorder.tally
        self._clock = clock
        self._fire = environment.events.request.fire

    def run(self, steps: Flow, sample: Sample, entered_at: float) -> None:
        """Drive a flow to its end; its first request entered its lane at `entered_at`."""
        at: float | None = entered_at
        try:
            step = next(steps)
            while True:
                if isinstance(step, Send):
                    answer = self._send(step, sample, at)
                    at = None
                    step = steps.send(answer)
                elif isinstance(step, WaitUntil):
                    self._clock.sleep_until(step.at)
                    step = steps.send(NO_RESPONSE)
                else:
                    assert self._listener is not None
                    step = steps.send(self._listener.wait_for(step.job_id, step.until))
        except StopIteration:
            return
        finally:
            steps.close()

    def acquire(self, op: Op) -> float:
        """Wait for a place in an operation's lane, for a request to come; the time then."""
        return self._ways[op].limiter.acquire()

    def release(self, op: Op) -> None:
        """Give a place back that no request came for."""
        self._ways[op].limiter.release()

    def request(self, op: Op, path: str) -> Response:
        """A request that belongs to no job's row: health, cancel; within its limit and on the record."""
        return self._send(Send(op, path), None, None)

    def _send(self, step: Send, sample: Sample | None, entered_at: float | None) -> Response:
        limiter, log, method, name = self._ways[step.op]
        at = limiter.acquire() if entered_at is None else entered_at
        try:
            log.sent(at)
            if sample is None or sample.sent_at is not None:
                answer = self._engine.send(method, step.path, step.body, step.long_poll_s, step.give_up_at)
            else:
                sample.sent_at = at
                self._tally.add()
                answer = self._engine.send(method, step.path, step.body, step.long_poll_s, step.give_up_at)
                sample.sent_at = answer.sent_at
        finally:
            limiter.release()
        status, sent_at, answered_at = answer.status, answer.sent_at, answer.answered_at
        log.answered(status, sent_at, answered_at)
        self._fire(
            request_type=method,
            name=name,
            response_time=(answered_at - sent_at) * 1000,
            response_length=len(answer.body),
            exception=None if 0 < status < 400 else RequestFailed(f"HTTP {status}" if status else answer.error),
            context={},
        )
        return answer
