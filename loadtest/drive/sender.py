"""Carries out the steps of a flow: waits, keeps to the limits, sends, and tells the recorder and Locust."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from gevent import get_hub
from locust.env import Environment

from loadtest.clock import Clock
from loadtest.drive.alarm import sleep_until
from loadtest.drive.engine import Engine
from loadtest.drive.figures import Failed, Figures
from loadtest.drive.lane import Lane
from loadtest.drive.listener import Listener
from loadtest.flows.steps import NOTHING, Answer, Send, Steps, Until
from loadtest.protocol import OPERATIONS, Op
from loadtest.record.recorder import Recorder
from loadtest.record.requests import RequestLog
from loadtest.record.sample import Sample


def in_the_loop(work: Callable[[], None]) -> None:
    """Let the loop do this next, on its own stack.

    Done by a user, it would leave that user's stack larger by some pages for the rest of the run; and there are
    thousands of users.
    """
    get_hub().loop.run_callback(work)


class Way(NamedTuple):
    """What the requests of one operation have in common."""

    lane: Lane
    log: RequestLog
    method: str
    name: str


class Sender:
    """Everything that a job needs to be sent, shared by all users of a process."""

    def __init__(
        self,
        engine: Engine,
        lanes: dict[Op, Lane],
        recorder: Recorder,
        clock: Clock,
        environment: Environment,
        listener: Listener | None = None,
    ) -> None:
        self._engine = engine
        self._listener = listener
        self._ways = {
            op: Way(lane, recorder.requests[op], OPERATIONS[op].method, OPERATIONS[op].path)
            for op, lane in lanes.items()
        }
        self.figures = Figures(environment, in_the_loop)
        recorder.heeded_by(self.figures.add_jobs)
        self._tally = recorder.tally
        self._clock = clock
        self._fire = environment.events.request.fire

    def carry_out(self, steps: Steps, sample: Sample, entered_at: float) -> None:
        """Drive a flow to its end; its first request entered its lane at `entered_at`."""
        at: float | None = entered_at
        try:
            step = next(steps)
            while True:
                if isinstance(step, Send):
                    answer = self._send(step, sample, at)
                    at = None
                    step = steps.send(answer)
                elif isinstance(step, Until):
                    sleep_until(step.at, self._clock)
                    step = steps.send(NOTHING)
                else:
                    assert self._listener is not None
                    step = steps.send(self._listener.heard_of(step.job_id, step.until))
        except StopIteration:
            return
        finally:
            steps.close()

    def enter(self, op: Op) -> float:
        """Wait for a place in an operation's lane, for a request to come; the time then."""
        return self._ways[op].lane.enter()

    def leave(self, op: Op) -> None:
        """Give a place back that no request came for."""
        self._ways[op].lane.leave()

    def ask(self, op: Op, path: str) -> Answer:
        """A request that belongs to no job's row: health, cancel; within its limit and on the record."""
        return self._send(Send(op, path), None, None)

    def _send(self, step: Send, sample: Sample | None, entered_at: float | None) -> Answer:
        lane, log, method, name = self._ways[step.op]
        at = lane.enter() if entered_at is None else entered_at
        try:
            log.sent(at)
            if sample is None or sample.sent_at is not None:
                answer = self._engine.send(method, step.path, step.body, step.hold_s, step.give_up_at)
            else:
                sample.sent_at = at
                self._tally.add()
                answer = self._engine.send(method, step.path, step.body, step.hold_s, step.give_up_at)
                sample.sent_at = answer.sent_at
        finally:
            lane.leave()
        status, sent_at, answered_at = answer.status, answer.sent_at, answer.answered_at
        log.answered(status, sent_at, answered_at)
        self._fire(
            request_type=method,
            name=name,
            response_time=(answered_at - sent_at) * 1000,
            response_length=len(answer.body),
            exception=None if 0 < status < 400 else Failed(f"HTTP {status}" if status else answer.fault),
            context={},
        )
        return answer
