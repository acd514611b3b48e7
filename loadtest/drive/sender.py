"""Carries out the steps of a flow: waits, keeps to the limits, sends, and tells the recorder and Locust."""

from __future__ import annotations

from itertools import pairwise

from locust.env import Environment

from loadtest.clock import Clock
from loadtest.drive.engine import Engine
from loadtest.drive.lane import Lane, sleep_until
from loadtest.flows.steps import NOTHING, Answer, Send, Steps, Until
from loadtest.protocol import OPERATIONS, Op
from loadtest.record.recorder import Recorder
from loadtest.record.sample import Outcome, Sample

JOB = "JOB"
"""The kind under which Locust's page lists what belongs to a job and not to one request."""


class Failed(Exception):
    """What Locust shows as the failure of a request."""


class Sender:
    """Everything that a job needs to be sent, shared by all users of a process."""

    def __init__(
        self, engine: Engine, lanes: dict[Op, Lane], recorder: Recorder, clock: Clock, environment: Environment
    ) -> None:
        self._engine = engine
        self._lanes = lanes
        self._recorder = recorder
        self._clock = clock
        self._fire = environment.events.request.fire

    def carry_out(self, steps: Steps, sample: Sample, entered: bool = False) -> None:
        """Drive a flow to its end; where `entered`, its first request has its place in its lane already."""
        try:
            step = next(steps)
            while True:
                if isinstance(step, Until):
                    sleep_until(step.at, self._clock)
                    step = steps.send(NOTHING)
                else:
                    answer = self._send(step, sample, entered)
                    entered = False
                    step = steps.send(answer)
        except StopIteration:
            return
        finally:
            steps.close()

    def enter(self, op: Op) -> None:
        """Wait for a place in an operation's lane, for a request to come."""
        self._lanes[op].enter()

    def leave(self, op: Op) -> None:
        """Give a place back that no request came for."""
        self._lanes[op].leave()

    def ask(self, op: Op, path: str) -> Answer:
        """A request that belongs to no job's row: health, cancel; within its limit and on the record."""
        return self._send(Send(op, path), None, False)

    def _send(self, step: Send, sample: Sample | None, entered: bool) -> Answer:
        lane = self._lanes[step.op]
        if not entered:
            lane.enter()
        try:
            at = self._clock.now()
            self._recorder.sent(step.op, at)
            if sample is not None and sample.sent_at is None:
                sample.sent_at = at
                self._recorder.tally.add()
            answer = self._engine.send(OPERATIONS[step.op].method, step.path, step.body, step.hold_s)
        finally:
            lane.leave()
        self._recorder.answered(step.op, answer.status, answer.sent_at, answer.answered_at)
        self._tell_locust(step.op, answer)
        return answer

    def _tell_locust(self, op: Op, answer: Answer) -> None:
        operation = OPERATIONS[op]
        failure = None
        if not 0 < answer.status < 400:
            failure = Failed(f"HTTP {answer.status}" if answer.status else answer.fault)
        response_ms = (answer.answered_at - answer.sent_at) * 1000
        self._entry(operation.method, operation.path, response_ms, len(answer.body), failure)

    def tell_locust_of(self, sample: Sample, chunk_seen_at: list[float]) -> None:
        """Show an ended job on Locust's page: end-to-end, delay, execution, chunks, beside its requests."""
        if sample.finished_at is None:
            return
        failure = None if sample.outcome == Outcome.COMPLETED else Failed(f"{sample.outcome}: {sample.error or ''}")
        flow, since = sample.flow, sample.intended_at
        self._entry(JOB, f"{flow} end-to-end", (sample.finished_at - since) * 1000, sample.response_bytes, failure)
        if sample.delay_ms is not None:
            self._entry(JOB, f"{flow} delay", sample.delay_ms)
        if sample.execution_ms is not None:
            self._entry(JOB, f"{flow} execution", sample.execution_ms)
        if sample.first_chunk_at is not None:
            self._entry(JOB, f"{flow} first chunk", (sample.first_chunk_at - since) * 1000)
        for before, after in pairwise(chunk_seen_at):
            self._entry(JOB, f"{flow} chunk gap", (after - before) * 1000)

    def _entry(self, kind: str, name: str, time_ms: float, size: int = 0, failure: Failed | None = None) -> None:
        self._fire(
            request_type=kind,
            name=name,
            response_time=time_ms,
            response_length=size,
            exception=failure,
            context={},
        )
