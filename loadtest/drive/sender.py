"""Carries out the steps of a flow: waits, keeps to the limits, sends, and tells the recorder and Locust."""

from __future__ import annotations

from typing import NamedTuple

from locust.env import Environment

from loadtest.clock import Clock
from loadtest.drive.alarm import sleep_until
from loadtest.drive.engine import Engine
from loadtest.drive.figures import Failed, Figures
from loadtest.drive.lane import Lane
from loadtest.flows.steps import NOTHING, Answer, Send, Steps
from loadtest.protocol import OPERATIONS, Op
from loadtest.record.recorder import Recorder
from loadtest.record.sample import Sample


class Way(NamedTuple):
    """What the requests of one operation have in common."""

    lane: Lane
    method: str
    name: str


class Sender:
    """Everything that a job needs to be sent, shared by all users of a process."""

    def __init__(
        self, engine: Engine, lanes: dict[Op, Lane], recorder: Recorder, clock: Clock, environment: Environment
    ) -> None:
        self._engine = engine
        self._ways = {op: Way(lane, OPERATIONS[op].method, OPERATIONS[op].path) for op, lane in lanes.items()}
        self._recorder = recorder
        self._clock = clock
        self._fire = environment.events.request.fire
        self._figures = Figures(environment)

    def carry_out(self, steps: Steps, sample: Sample, entered: bool = False) -> None:
        """Drive a flow to its end; where `entered`, its first request has its place in its lane already."""
        try:
            step = next(steps)
            while True:
                if isinstance(step, Send):
                    answer = self._send(step, sample, entered)
                    entered = False
                    step = steps.send(answer)
                else:
                    sleep_until(step.at, self._clock)
                    step = steps.send(NOTHING)
        except StopIteration:
            return
        finally:
            steps.close()

    def enter(self, op: Op) -> None:
        """Wait for a place in an operation's lane, for a request to come."""
        self._ways[op].lane.enter()

    def leave(self, op: Op) -> None:
        """Give a place back that no request came for."""
        self._ways[op].lane.leave()

    def ask(self, op: Op, path: str) -> Answer:
        """A request that belongs to no job's row: health, cancel; within its limit and on the record."""
        return self._send(Send(op, path), None, False)

    def _send(self, step: Send, sample: Sample | None, entered: bool) -> Answer:
        op, recorder = step.op, self._recorder
        lane, method, name = self._ways[op]
        if not entered:
            lane.enter()
        try:
            at = self._clock.now()
            recorder.sent(op, at)
            if sample is None or sample.sent_at is not None:
                answer = self._engine.send(method, step.path, step.body, step.hold_s, step.give_up_at)
            else:
                sample.sent_at = at
                recorder.tally.add()
                answer = self._engine.send(method, step.path, step.body, step.hold_s, step.give_up_at)
                sample.sent_at = answer.sent_at
        finally:
            lane.leave()
        status, sent_at, answered_at = answer.status, answer.sent_at, answer.answered_at
        recorder.answered(op, status, sent_at, answered_at)
        self._fire(
            request_type=method,
            name=name,
            response_time=(answered_at - sent_at) * 1000,
            response_length=len(answer.body),
            exception=None if 0 < status < 400 else Failed(f"HTTP {status}" if status else answer.fault),
            context={},
        )
        return answer

    def tell_locust_of(self, sample: Sample, chunk_seen_at: list[float]) -> None:
        """Show an ended job on Locust's page."""
        self._figures.job(sample, chunk_seen_at)
