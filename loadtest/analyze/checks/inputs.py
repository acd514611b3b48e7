"""What the checks of a measurement look at."""

from __future__ import annotations

from dataclasses import dataclass

from loadtest.analyze.summary import (
    Arrivals,
    FlowSummary,
    LittlesLaw,
    OperationSummary,
    Quantiles,
    Steady,
)
from loadtest.record.run import RunRecord
from loadtest.scenario.model import Scenario
from loadtest.scenario.settings import ValidityLimits

SHARE_OF_MEDIAN = 0.05
"""Of the median end-to-end time, the share by which a time of ours may be wrong."""


@dataclass(frozen=True)
class CheckInputs:
    """The figures of a run as far as checks need them.

    `load_s` is how long load was offered. `parts` holds the arrivals of each stage and of the steady window by
    name, `ramp_ends` those of the last part of each ramp to a higher rate; `held_back` says which bound on jobs
    under way the load came to, if any. `wave` is by how much more jobs waited for a worker's start in the worst
    tenth of the steady window than in the middle one, None where too few did.
    """

    run: RunRecord
    scenario: Scenario
    load_s: float
    arrivals: Arrivals
    parts: dict[str, Arrivals]
    ramp_ends: dict[str, Arrivals]
    concurrency_cap: str
    jobs: dict[str, int]
    flows: dict[str, FlowSummary]
    operations: dict[str, OperationSummary]
    steady: Steady
    littles_law: LittlesLaw
    cold_start_wave: float | None

    @property
    def limits(self) -> ValidityLimits:
        """What the scenario sets."""
        return self.scenario.validity

    def tolerance_ms(self, min_s: float) -> float:
        """An error in time that is sound: the floor, or a share of the shortest flow's median where that is more."""
        medians = [flow.end_to_end_ms.p50 for flow in self.flows.values() if flow.end_to_end_ms.p50 is not None]
        return max(min_s * 1000, SHARE_OF_MEDIAN * min(medians, default=0.0))


def highest_supported(q: Quantiles) -> tuple[str, float | None]:
    """The highest of p99, p95, p90 and p50 that n supports, else the largest value: its name and itself."""
    for name in ("p99", "p95", "p90", "p50"):
        value: float | None = getattr(q, name)
        if value is not None:
            return name, value
    return "the latest", q.max
