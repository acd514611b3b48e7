"""Gates that end a run while it goes on, judged over what ended of late."""

from __future__ import annotations

from collections import deque
from math import inf, log
from typing import Annotated, Protocol

from pydantic import AfterValidator

from loadtest.scenario.flows import FlowName
from loadtest.scenario.gates import Gate, GateText, Metric, gate_text, limit_text
from loadtest.traffic.shares import Share

MIN_SURPRISE_NATS = log(1000)
"""A run ends where chance explains what is seen at most once in a thousand looks; one looks again and again."""
BUCKETS = 20
"""The time that is looked back over is kept in so many parts, of which the oldest falls out as a whole."""
_COMPLETED = "completed"


def _judged_on_the_way(gate: Gate) -> Gate:
    if gate.metric in (Metric.COLD_STARTS, Metric.CENSORED):
        raise ValueError(f'"{gate}" is known only after the run; an abort gate speaks of times, errors or throughput')
    if gate.during is not None or gate.per_worker:
        text = gate_text(gate.model_copy(update={"during": None, "per_worker": False}))
        raise ValueError(f'an abort gate looks back from now, at all workers; write "{text}"')
    return gate


AbortGate = Annotated[GateText, AfterValidator(_judged_on_the_way)]


class EndedJob(Protocol):
    """What a watch looks at: a job's row; times in epoch seconds."""

    flow: FlowName
    intended_at: float
    sent_at: float | None
    accepted_at: float | None
    first_chunk_at: float | None
    finished_at: float | None
    delay_ms: int | None
    execution_ms: int | None

    @property
    def outcome(self) -> str:
        """How it ended, in the words of `samples.parquet`."""
        ...


class GateMonitor:
    """Counts jobs as they end, in memory that does not grow with them, and says which gate does not hold."""

    def __init__(self, gates: tuple[Gate, ...], over_s: float, min_jobs: int) -> None:
        self._over_s = over_s
        self._min_jobs = min_jobs
        self._counted = [(gate, _Recent(over_s)) for gate in gates]
        self._looked_first_at: float | None = None
        self._of = 1

    def share(self, share: Share) -> None:
        """From now on so many processes together reach a throughput."""
        self._of = max(1, share.of)

    def ended(self, job: EndedJob) -> None:
        """Count a job that ended."""
        assert job.finished_at is not None
        completed = job.outcome == _COMPLETED
        for gate, recent in self._counted:
            if gate.flow is not None and gate.flow != job.flow:
                continue
            if gate.metric is Metric.ERRORS:
                recent.add(job.finished_at, not completed, 0.0)
            elif completed:
                value_s = 0.0 if gate.metric is Metric.THROUGHPUT else _value_s(gate.metric, job)
                if value_s is not None:
                    recent.add(job.finished_at, value_s >= gate.limit, value_s)

    def failing(self, now: float) -> str | None:
        """The first gate that does not hold, and the figure; None while none is known to fail."""
        if self._looked_first_at is None:
            self._looked_first_at = now
        for gate, recent in self._counted:
            recent.forget(now)
            figure = self._figure(gate, recent, now - self._looked_first_at)
            if figure is not None:
                return f'"{gate}" does not hold: {figure}'
        return None

    def _figure(self, gate: Gate, recent: _Recent, watched_s: float) -> str | None:
        """What is wrong, where something is."""
        n, over, last = recent.n, recent.over, f"in the last {self._over_s:g} s"
        if gate.metric is Metric.THROUGHPUT:
            rate = n * self._of / self._over_s
            slow = watched_s >= self._over_s and rate <= gate.limit
            text = f"{n} jobs completed {last}, {rate:.3g}/s"
            text = text if self._of == 1 else f"{text} if each of {self._of} processes does as this one"
            return text if slow else None
        if gate.statistic == "max":
            return f"{over} of the {n} jobs that completed {last} took {limit_text(gate)} or more" if over else None
        if n < self._min_jobs:
            return None
        if gate.statistic == "mean":
            mean_s = recent.total_s / n
            mean = limit_text(gate, float(f"{max(mean_s, 0.0):.3g}"))
            return f"the mean of the {n} jobs that completed {last} is {mean}" if mean_s >= gate.limit else None
        per_mille = gate.per_mille
        share = gate.limit if per_mille is None else (1000 - per_mille) / 1000
        if chernoff_bound(over, n, share) < MIN_SURPRISE_NATS:
            return None
        if per_mille is None:
            return f"{over} of the {n} jobs that ended {last} failed"
        return f"{over} of the {n} jobs that completed {last} took {limit_text(gate)} or more"


class _Recent:
    """Jobs of the last `over_s`, in buckets: how many, how many over the limit, and the sum of their times."""

    def __init__(self, over_s: float) -> None:
        self._width_s = over_s / BUCKETS
        self._buckets: deque[list[float]] = deque()
        self.n = 0
        self.over = 0
        self.total_s = 0.0

    def add(self, at: float, over: bool, value_s: float) -> None:
        """Count one; a job that comes a little late falls into the newest bucket."""
        slot = at // self._width_s
        if not self._buckets or self._buckets[-1][0] < slot:
            self._buckets.append([slot, 0, 0, 0.0])
        newest = self._buckets[-1]
        newest[1] += 1
        newest[2] += over
        newest[3] += value_s
        self.n += 1
        self.over += over
        self.total_s += value_s

    def forget(self, now: float) -> None:
        """Drop the buckets that have passed out of the time looked back over, as a whole."""
        oldest = now // self._width_s - BUCKETS
        while self._buckets and self._buckets[0][0] < oldest:
            _, n, over, total_s = self._buckets.popleft()
            self.n -= int(n)
            self.over -= int(over)
            self.total_s -= total_s


def chernoff_bound(over: int, n: int, share: float) -> float:
    """At least −ln P(B ≥ over) for B ~ Binomial(n, share): n times the Kullback–Leibler divergence (Chernoff 1952).

    0 where no more than the share are over.
    """
    seen = over / n
    if seen <= share:
        return 0.0
    rest = 0.0 if over == n else (1 - seen) * log((1 - seen) / (1 - share))
    return n * (seen * (log(seen / share) if share else inf) + rest)


def _value_s(metric: Metric, job: EndedJob) -> float | None:
    """A job's time in seconds; None where it has none."""
    if metric is Metric.DELAY or metric is Metric.EXECUTION:
        value_ms = job.delay_ms if metric is Metric.DELAY else job.execution_ms
        return None if value_ms is None else value_ms / 1000
    if metric is Metric.OVERHEAD:
        if job.delay_ms is None or job.execution_ms is None:
            return None
        response_s = _between_s(job.sent_at, job.finished_at)
        return None if response_s is None else response_s - (job.delay_ms + job.execution_ms) / 1000
    if metric is Metric.SUBMIT and job.flow == "runsync":
        return None
    from_at, to_at = {
        Metric.END_TO_END: (job.intended_at, job.finished_at),
        Metric.RESPONSE: (job.sent_at, job.finished_at),
        Metric.SUBMIT: (job.sent_at, job.accepted_at),
        Metric.FIRST_CHUNK: (job.intended_at, job.first_chunk_at),
        Metric.SEND_LAG: (job.intended_at, job.sent_at),
    }[metric]
    return _between_s(from_at, to_at)


def _between_s(from_at: float | None, to_at: float | None) -> float | None:
    return None if from_at is None or to_at is None else to_at - from_at
