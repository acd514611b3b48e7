"""The figures that the validity checks read."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from loadtest.analyze.impossible_times import ImpossibleTimes
from loadtest.analyze.jobs import JobColumns
from loadtest.analyze.summary import Arrivals, FlowSummary, LittlesLaw, OperationSummary, Quantiles, Steady, Users
from loadtest.record.run import RunRecord
from loadtest.scenario.flows import ANSWERED_BY_SUBMISSION, SUBMIT_OPERATION
from loadtest.scenario.model import Scenario, ValidityLimits
from loadtest.traffic.settings import OpenLoad

SHARE_OF_MEDIAN = 0.05
"""The share of the median end-to-end time by which a time that the generator adds may be wrong."""


@dataclass(frozen=True)
class CheckInputs:
    """The figures of a run as far as checks need them.

    `load_s` is how long load was offered. `parts` holds the arrivals of each stage and of the steady window by
    name, `ramp_ends` those of the last part of each ramp to a higher rate. `concurrency_cap` names the bound on
    unfinished jobs that the load reached, if any. `cold_start_wave` is by how much more jobs waited for a worker's
    start in the worst tenth of the steady window than in the middle one, None if too few did. `users` holds the users
    of a closed load by parts of it. `repeated_ids` counts the jobs with the id of another.
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
    impossible_times: ImpossibleTimes
    littles_law: LittlesLaw
    cold_start_wave: float | None
    users: dict[str, Users]
    repeated_ids: int = 0

    @property
    def limits(self) -> ValidityLimits:
        """Return the limits that the scenario sets."""
        return self.scenario.validity

    def tolerance_ms(self, min_s: float) -> float:
        """Return the allowed error of a time: the minimum, or a share of the shortest median if that is more."""
        medians = [flow.end_to_end_ms.p50 for flow in self.flows.values() if flow.end_to_end_ms.p50 is not None]
        return max(min_s * 1000, SHARE_OF_MEDIAN * min(medians, default=0.0))


def highest_supported(q: Quantiles) -> tuple[str, float | None]:
    """Return the name and value of the highest of p99, p95, p90 and p50 that n supports, else of the maximum."""
    for name in ("p99", "p95", "p90", "p50"):
        value: float | None = getattr(q, name)
        if value is not None:
            return name, value
    return "the latest", q.max


def concurrency_cap_reached(scenario: Scenario, jobs: JobColumns) -> str:
    """Return the bound on unfinished jobs that an open load reached, if any: "… at once (load.max_in_flight)"."""
    if not isinstance(scenario.load, OpenLoad):
        return ""
    bounds = [("load.max_in_flight", scenario.load.max_in_flight, jobs)]
    for flow in ANSWERED_BY_SUBMISSION:
        limit = scenario.limit(SUBMIT_OPERATION[flow])
        if limit is not None and limit.concurrent is not None:
            bounds.append((f"limits.{SUBMIT_OPERATION[flow]}", limit.concurrent, jobs.where(jobs.of_flow(flow))))
    for name, bound, some in bounds:
        if _max_concurrent(some, scenario.job_timeout) >= bound:
            return f"no more than {bound} at once ({name})"
    return ""


def _max_concurrent(jobs: JobColumns, job_timeout_s: float) -> int:
    """Return the most jobs unfinished at any time; a job without an end counts until its timeout."""
    sent = jobs.where(jobs.sent)
    if not len(sent):
        return 0
    begun = np.sort(sent.sent_at)
    ended = np.sort(np.where(np.isnan(sent.finished_at), sent.intended_at + job_timeout_s, sent.finished_at))
    return int((np.arange(1, len(begun) + 1) - np.searchsorted(ended, begun, side="right")).max())
