"""A recorded run as the analysis reads it: made once, for summary, charts, gates and comparisons."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pyarrow as pa

from loadtest.analyze.job_table import JobTable
from loadtest.analyze.jobs import JobColumns, LoadWindow, last_event_at, load_window
from loadtest.analyze.steady import SteadyWindow, steady_window
from loadtest.arrays import Floats
from loadtest.record.run import RunRecord
from loadtest.record.sample import CHUNKS, HEALTH, REQUESTS
from loadtest.scenario.model import Scenario


@dataclass(frozen=True)
class RunData:
    """A run's record, its scenario, its jobs, and its other tables, in the schemas of `record.sample`.

    Any table may be empty: the run had nothing to record there, or the reader did not ask for it.
    """

    run: RunRecord
    scenario: Scenario
    table: JobTable
    requests: pa.Table = field(default_factory=REQUESTS.empty_table)
    chunks: pa.Table = field(default_factory=CHUNKS.empty_table)
    health: pa.Table = field(default_factory=HEALTH.empty_table)

    @property
    def jobs(self) -> JobColumns:
        """Return the run's jobs."""
        return self.table.jobs

    @cached_property
    def load(self) -> LoadWindow:
        """Return the span in which load was offered."""
        return load_window(self.run, self.jobs)

    @cached_property
    def steady(self) -> SteadyWindow:
        """Return the steady window, or why there is none."""
        return steady_window(self.scenario, self.jobs, self.load)

    def followed_until_at(self) -> Floats:
        """Return until when the client would have followed each job: its timeout or the run's end, in epoch seconds.

        If the record lacks the run's end, that is the last event in the record or the samples. Computed at each
        call: of ten million jobs it takes 80 MB.
        """
        ended_at, jobs = self.run.ended_at, self.jobs
        if ended_at is None:
            ended_at = max(self.load.end_at, last_event_at(jobs, default=self.load.end_at))
        until: Floats = np.minimum(jobs.intended_at + self.scenario.job_timeout, ended_at)
        return np.maximum(until, jobs.intended_at, out=until)
