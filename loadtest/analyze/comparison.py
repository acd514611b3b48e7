"""How a run compares with one or more before it: better, worse, or cannot tell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from loadtest.analyze.jobs import Floats
from loadtest.errors import UsageError

Answer = Literal["better", "worse", "cannot tell", "same within tolerance"]


@dataclass(frozen=True)
class RunSeries:
    """What of a run is compared: times of completed jobs in milliseconds, in the order of their intended start.

    `times` has a name such as "run delay" for each; `finished_at` are epoch seconds, `duration_s` is the load's.
    """

    times: dict[str, Floats]
    finished_at: Floats
    duration_s: float


@dataclass(frozen=True)
class MetricComparison:
    """One metric of the candidate over that of the baseline: the ratio, its interval, and what it answers."""

    metric: str
    ratio: float | None
    low: float | None
    high: float | None
    p_value: float | None
    least_detectable: float | None
    answer: Answer
    n_baseline: int
    n_candidate: int
    detail: str


def compare(
    baselines: Sequence[RunSeries], candidate: RunSeries, tolerance: float, seed: int
) -> list[MetricComparison]:
    """Every metric of the candidate against the baselines; UsageError, since no comparison is built in yet."""
    raise UsageError("--baseline: this version cannot compare runs yet; leave the option out")
