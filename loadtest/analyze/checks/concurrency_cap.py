"""What of the scenario itself kept jobs from being sent when they were due."""

from __future__ import annotations

import numpy as np

from loadtest.analyze.jobs import JobColumns
from loadtest.protocol.operations import Op
from loadtest.scenario.model import Scenario
from loadtest.traffic.settings import OpenLoad


def concurrency_cap_reached(scenario: Scenario, jobs: JobColumns) -> str:
    """Which bound on jobs under way an open load came to, if any: "no more than 12 at once (load.max_in_flight)"."""
    if not isinstance(scenario.load, OpenLoad):
        return ""
    runsync = scenario.limit(Op.RUNSYNC)
    bounds = [("load.max_in_flight", scenario.load.max_in_flight, jobs)]
    if runsync is not None and runsync.concurrent is not None:
        bounds.append(("limits.runsync", runsync.concurrent, jobs.where(jobs.of_flow("runsync"))))
    for name, bound, some in bounds:
        if _max_concurrent(some, scenario.job_timeout) >= bound:
            return f"no more than {bound} at once ({name})"
    return ""


def _max_concurrent(jobs: JobColumns, job_timeout_s: float) -> int:
    """The most jobs that were under way at any time; one without an end was until the client's patience was over."""
    sent = jobs.where(jobs.sent)
    if not len(sent):
        return 0
    begun = np.sort(sent.sent_at)
    ended = np.sort(np.where(np.isnan(sent.finished_at), sent.intended_at + job_timeout_s, sent.finished_at))
    return int((np.arange(1, len(begun) + 1) - np.searchsorted(ended, begun, side="right")).max())
