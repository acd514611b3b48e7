"""The metrics by name, which a scraper and a receiver of pushes get in two forms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import NamedTuple

from loadtest.drive.metrics.counts import TIMES, JobCounts, RunCounts, TimeCounts


class Kind(Enum):
    """The kind of a metric."""

    COUNTER = auto()
    GAUGE = auto()
    HISTOGRAM = auto()


_SUFFIXES = {"s": "_seconds", "1": "_ratio"}


class Point(NamedTuple):
    """A value of a metric, with its labels."""

    labels: Mapping[str, str]
    value: float | TimeCounts


class Family(NamedTuple):
    """A metric by OpenTelemetry's name and unit, with all its values."""

    name: str
    kind: Kind
    unit: str
    text: str
    points: list[Point]

    @property
    def prometheus_name(self) -> str:
        """Return the name in Prometheus, by OpenTelemetry's rules; that of a counter gets `_total` as well."""
        return self.name.replace(".", "_") + _SUFFIXES.get(self.unit, "")


@dataclass(frozen=True)
class Snapshot:
    """The figures of a run at one moment; `limits_used` are shares of the limits that the last 10 s held."""

    counts: RunCounts
    in_flight: int = 0
    limits_used: Mapping[str, float] = field(default_factory=dict)


_TIME_TEXTS = {
    "delay": "How long jobs waited in the queue, as the endpoint reported it.",
    "execution": "How long handlers ran, as the endpoint reported it.",
    "end_to_end": "The time from the intended start of jobs until the client saw their end.",
    "send_lag": "How much later than intended jobs were sent.",
}


def families(snapshot: Snapshot) -> list[Family]:
    """Return every metric of a run."""
    counts = snapshot.counts
    labels = [{"flow": row.flow, "outcome": row.outcome} for row in counts.jobs]
    rows = list(zip(labels, counts.jobs, strict=True))
    jobs = [Point(label, row.jobs) for label, row in rows]
    requests = [
        Point({"operation": operation, "status": str(status)}, count)
        for operation, by_status in counts.requests.items()
        for status, count in by_status.items()
    ]
    used = [Point({"operation": operation}, share) for operation, share in snapshot.limits_used.items()]
    in_flight = [Point({}, snapshot.in_flight)]
    return [
        Family("loadtest.jobs", Kind.COUNTER, "{job}", "Jobs that are over, by how they ended.", jobs),
        Family("loadtest.jobs.in_flight", Kind.GAUGE, "{job}", "Jobs that are not over.", in_flight),
        *(
            Family(f"loadtest.job.{name}", Kind.HISTOGRAM, "s", _TIME_TEXTS[name], _times(rows, name))
            for name in TIMES
        ),
        Family("loadtest.requests", Kind.COUNTER, "{request}", "Requests, by HTTP status; 0: no response.", requests),
        Family(
            "loadtest.limit.used", Kind.GAUGE, "1", "The share of its limit that an operation used in 10 s.", used
        ),
    ]


def _times(rows: Sequence[tuple[dict[str, str], JobCounts]], name: str) -> list[Point]:
    times = [(label, getattr(row, name)) for label, row in rows]
    return [Point(label, each) for label, each in times if each.count]
