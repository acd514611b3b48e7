"""A job as the task that submitted it sees it: how it ended, its output and its times."""

from __future__ import annotations

from typing import Any

import msgspec

from loadtest.flows.expectations import AnswerCheck
from loadtest.flows.job_flow import JobFlow
from loadtest.flows.responses import PollHistory
from loadtest.protocol.client_messages import INVALID
from loadtest.record.sample import ChunkSeen, Outcome, Sample

_NOT_READ = object()


class OutputKeeper:
    """A check that keeps a job's output for its task; `check`, that of the scenario, judges it."""

    def __init__(self, check: AnswerCheck | None) -> None:
        self._check = check
        self.output = b""

    def __call__(self, output: bytes, sample: Sample) -> str | None:
        """Keep the output; return why it is wrong, None if it is right or anything will do."""
        self.output = output
        return None if self._check is None else self._check(output, sample)

    def settle(self, sample: Sample) -> None:
        """Let a job without an output be completed, unless the scenario expects one."""
        if sample.outcome is Outcome.WRONG and self._check is None:
            sample.outcome = Outcome.COMPLETED


class Job:
    """A job of a task. Its times are in milliseconds, None if they are not known.

    `state` is the status that the endpoint last reported. A job that is not `ended` can be asked for with
    `endpoint.status`, followed with `endpoint.wait`, and cancelled with `endpoint.cancel`.
    """

    def __init__(self, sample: Sample, keeper: OutputKeeper) -> None:
        self._sample = sample
        self._keeper = keeper
        self._output: Any = _NOT_READ
        self._state: str | None = None
        self._driven: JobFlow | None = None
        self._polls: PollHistory | None = None
        self._chunks_seen: list[ChunkSeen] = []

    def __repr__(self) -> str:
        return f"<Job {self.id or 'without an id'}: {self.outcome if self.ended else 'not ended'}>"

    @property
    def id(self) -> str | None:
        """Return the id that the endpoint gave it; None if it did not accept it."""
        return self._sample.job_id

    @property
    def flow(self) -> str:
        """Return how it was submitted: run, runsync, stream or openai."""
        return self._sample.flow

    @property
    def outcome(self) -> str:
        """Return how it ended, as in the run directory: "completed", "failed", …; "censored" until it has."""
        return self._sample.outcome.value

    @property
    def completed(self) -> bool:
        """Return whether it completed, with an answer that the scenario accepts."""
        return self._sample.outcome is Outcome.COMPLETED

    @property
    def ended(self) -> bool:
        """Return whether its end was seen."""
        return self._sample.finished_at is not None

    @property
    def state(self) -> str | None:
        """Return the status that the endpoint last reported to `endpoint.status`, such as IN_QUEUE."""
        return self._state

    @property
    def output(self) -> Any:
        """Return its output, decoded from JSON: of a stream, the list of its chunks' outputs; None without one."""
        if self._output is _NOT_READ or not self.ended:
            try:
                self._output = msgspec.json.decode(self._keeper.output or b"null")
            except INVALID:
                self._output = None
        return self._output

    @property
    def error(self) -> str | None:
        """Return why it did not complete; None if it did, or has not ended."""
        return self._sample.error

    @property
    def http_status(self) -> int | None:
        """Return the status of the last response to it; None if there was none."""
        return self._sample.http_status

    @property
    def worker_id(self) -> str | None:
        """Return the worker that ran it, if the endpoint named one."""
        return self._sample.worker_id

    @property
    def delay_ms(self) -> int | None:
        """Return how long it waited in the queue, as the endpoint reported it."""
        return self._sample.delay_ms

    @property
    def execution_ms(self) -> int | None:
        """Return how long its handler ran, as the endpoint reported it."""
        return self._sample.execution_ms

    @property
    def end_to_end_ms(self) -> float | None:
        """Return the time from its intended start until the client saw its end."""
        return self._since_start_ms(self._sample.finished_at)

    @property
    def first_chunk_ms(self) -> float | None:
        """Return the time from its intended start until the client saw its first chunk."""
        return self._since_start_ms(self._sample.first_chunk_at)

    def _since_start_ms(self, at: float | None) -> float | None:
        return None if at is None else (at - self._sample.intended_at) * 1000
