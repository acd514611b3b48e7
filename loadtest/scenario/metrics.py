"""The metrics of gates, abort rules and capacity plans: one table from which all of these derive.

A new metric is a member of `Metric` and an entry of `SPECS`; a time also needs its field in `analyze.summary`, a
share its count in `gate.measures`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from loadtest.scenario.flows import FLOWS, FlowName


class Kind(StrEnum):
    """The kinds of metrics: a time of each job, a share of the jobs, or jobs or their tokens per second."""

    TIME = "time"
    SHARE = "share"
    RATE = "rate"


class Unit(StrEnum):
    """The units of figures in `summary.json`."""

    MILLISECONDS = "ms"
    SHARE = "share"
    PER_SECOND = "per_s"
    RATIO = "ratio"


class Metric(StrEnum):
    """The metrics, as a gate names them."""

    DELAY = "delay"
    EXECUTION = "execution"
    END_TO_END = "end-to-end"
    RESPONSE = "response"
    OVERHEAD = "overhead"
    SUBMIT = "submit"
    FIRST_CHUNK = "first chunk"
    TTFT = "ttft"
    TPOT = "tpot"
    ITL = "itl"
    SEND_LAG = "send lag"
    ERRORS = "errors"
    COLD_STARTS = "cold starts"
    CENSORED = "censored"
    GOODPUT = "goodput"
    THROUGHPUT = "throughput"
    TOKENS = "tokens"
    INPUT_TOKENS = "input tokens"

    @property
    def spec(self) -> MetricSpec:
        """Return the description of the metric."""
        return SPECS[self]

    @property
    def heading(self) -> str:
        """Return its name as a sentence begins with it."""
        return self.value.upper() if self in _ABBREVIATIONS else self.value[0].upper() + self.value[1:]

    @property
    def is_share(self) -> bool:
        """Return whether it is a share of the jobs, from 0 to 1."""
        return self.spec.kind is Kind.SHARE

    @property
    def is_time(self) -> bool:
        """Return whether each job has one, in seconds."""
        return self.spec.kind is Kind.TIME

    @property
    def is_rate(self) -> bool:
        """Return whether it is a number per second."""
        return self.spec.kind is Kind.RATE

    @property
    def more_is_better(self) -> bool:
        """Return whether a gate asks for more than its limit, as of each rate."""
        return self.is_rate or self is Metric.GOODPUT

    @property
    def is_pooled(self) -> bool:
        """Return whether a job has any number of its times, which count together with those of all jobs."""
        return self is Metric.ITL


@dataclass(frozen=True)
class MetricSpec:
    """How a metric is read, from recorded jobs, from a job that has just ended, and from a simulation.

    Of a time: `column` is its column in `analyze.jobs.JobColumns`, in milliseconds. It lies between the columns
    `start` and `end` of the samples, less the columns in `less`; without them the server reported it as `column`.
    `flows` have it. `until_completed`: it ends with the job, so that a job that did not complete has none.
    `per_token`: it is divided by the job's output tokens but the first; a job without that number has none.

    Inter-token latency is between neighbouring arrivals of content: a job has any number of such times, which are in
    `chunks.parquet` (`analyze.gaps`).

    Of a rate: `summed` is the column of which each completed job adds its number; without it, each adds one.

    `abortable`: an abort rule can judge it while the run goes on. `simulated`: the attribute of a simulated
    replication that gives it, empty if the simulation has no such figure. `clause`: the verb phrase for its jobs.
    """

    kind: Kind
    column: str = ""
    start: str = ""
    end: str = ""
    less: tuple[str, ...] = ()
    flows: tuple[FlowName, ...] = FLOWS
    per_token: bool = False
    summed: str = ""
    until_completed: bool = False
    abortable: bool = True
    simulated: str = ""
    clause: str = ""

    @property
    def unit(self) -> Unit:
        """Return the unit of its figures in `summary.json`."""
        return {Kind.TIME: Unit.MILLISECONDS, Kind.SHARE: Unit.SHARE, Kind.RATE: Unit.PER_SECOND}[self.kind]

    def time_s(self, job: Any) -> float | None:
        """Return the time of an ended job (a `record.sample.Sample`) in seconds; None if it has none."""
        values = [getattr(job, name) for name in self.less or (() if self.start else (self.column,))]
        if job.flow not in self.flows or None in values:
            return None
        if not self.start:
            return float(values[0] / 1000)
        start_at, end_at = getattr(job, self.start), getattr(job, self.end)
        if start_at is None or end_at is None or (self.per_token and (job.output_tokens or 0) < 2):
            return None
        return float(end_at - start_at - sum(values) / 1000) / (job.output_tokens - 1 if self.per_token else 1)

    def at_least_s(self, job: Any, at: float) -> float | None:
        """Return the least that this time is of a job that did not complete until `at`; None if that is unknown."""
        if self.less or self.per_token or job.flow not in self.flows:
            return None
        if not self.start:
            reported_ms = getattr(job, self.column)
            return None if reported_ms is None else float(reported_ms / 1000)
        start_at = getattr(job, self.start)
        return None if start_at is None else float(at - start_at)


_ABBREVIATIONS = (Metric.TTFT, Metric.TPOT, Metric.ITL)
_REPORTED: tuple[FlowName, ...] = ("run", "runsync", "stream", "webhook")
"""The flows whose jobs come with the server's own times; an OpenAI answer has none."""
_STREAMED: tuple[FlowName, ...] = ("stream", "openai")
SPECS = {
    Metric.DELAY: MetricSpec(Kind.TIME, "delay_ms", flows=_REPORTED, simulated="delay_s"),
    Metric.EXECUTION: MetricSpec(Kind.TIME, "execution_ms", flows=_REPORTED, until_completed=True),
    Metric.END_TO_END: MetricSpec(
        Kind.TIME, "end_to_end_ms", "intended_at", "finished_at", until_completed=True, simulated="end_to_end_s"
    ),
    Metric.RESPONSE: MetricSpec(
        Kind.TIME, "response_ms", "sent_at", "finished_at", until_completed=True, simulated="end_to_end_s"
    ),
    Metric.OVERHEAD: MetricSpec(
        Kind.TIME,
        "overhead_ms",
        "sent_at",
        "finished_at",
        ("delay_ms", "execution_ms"),
        flows=_REPORTED,
        until_completed=True,
    ),
    Metric.SUBMIT: MetricSpec(Kind.TIME, "submit_ms", "sent_at", "accepted_at", flows=("run", "stream", "webhook")),
    Metric.FIRST_CHUNK: MetricSpec(Kind.TIME, "first_chunk_ms", "intended_at", "first_chunk_at", flows=_STREAMED),
    Metric.TTFT: MetricSpec(Kind.TIME, "ttft_ms", "intended_at", "first_content_at", flows=_STREAMED),
    Metric.TPOT: MetricSpec(
        Kind.TIME,
        "tpot_ms",
        "first_content_at",
        "last_content_at",
        flows=_STREAMED,
        per_token=True,
        until_completed=True,
    ),
    Metric.ITL: MetricSpec(
        Kind.TIME, "itl_ms", "first_content_at", "last_content_at", flows=_STREAMED, until_completed=True
    ),
    Metric.SEND_LAG: MetricSpec(Kind.TIME, "send_lag_ms", "intended_at", "sent_at"),
    Metric.ERRORS: MetricSpec(Kind.SHARE, simulated="failed", clause="failed"),
    Metric.COLD_STARTS: MetricSpec(Kind.SHARE, abortable=False, simulated="cold", clause="met a cold start"),
    Metric.CENSORED: MetricSpec(Kind.SHARE, abortable=False, clause="were unfinished at the end"),
    Metric.GOODPUT: MetricSpec(Kind.SHARE, clause="missed a limit"),
    Metric.THROUGHPUT: MetricSpec(Kind.RATE),
    Metric.TOKENS: MetricSpec(Kind.RATE, summed="output_tokens"),
    Metric.INPUT_TOKENS: MetricSpec(Kind.RATE, summed="input_tokens"),
}
"""Every metric. /runsync and /openai answer with the finished job, so those flows have no time of submission."""
