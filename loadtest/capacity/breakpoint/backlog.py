"""The backlog of a probe: the jobs that arrived and have not ended, and whether they become more and more.

Above the capacity the backlog grows by the difference between arrivals and completions. Below, it wanders: after n
jobs by about σ√n, where σ² is the sum of the squared coefficients of variation of the gaps between arrivals and of
the service (the diffusion of a queue in heavy traffic: Whitt, Stochastic-Process Limits, 2002, chapter 9). So n jobs
show a growth by the share s beyond chance if s·n is a few times σ√n.
"""

from __future__ import annotations

import math

import msgspec
import numpy as np

from loadtest.analyze.arrivals import stage_spans
from loadtest.analyze.jobs import LoadWindow
from loadtest.analyze.run_data import RunData
from loadtest.analyze.throughput import completion_window
from loadtest.arrays import Floats
from loadtest.traffic.settings import OpenLoad

SETTLING = 0.25
"""The share of the load in which workers fill, and which is left out."""
DEVIATIONS = 2.0
"""By how many standard deviations of chance a growth must differ from none."""
MIN_VARIATION = 0.1
"""The least σ: a service that does not vary at all still shares a machine."""


class ProbeBacklog(msgspec.Struct, frozen=True):
    """Jobs that arrived after a probe settled, by how many the unfinished ones grew, and completions per second.

    `variation` is σ of this module's text.
    """

    arrived: int
    growth: float
    completed_per_s: float
    variation: float

    def text(self) -> str:
        """Return what was found, as a sentence."""
        return f"The backlog grew: of {self.arrived} jobs that arrived, {self.growth:.0f} more were left than before."

    def grows(self, step: float) -> bool:
        """Return whether more jobs were left over than half of `step`, a share, and than chance explains."""
        chance = DEVIATIONS * self.variation * math.sqrt(self.arrived)
        return self.growth > max(1.0, 0.5 * step * self.arrived, chance)

    @property
    def sustained_per_s(self) -> float:
        """Return the completions per second less one standard deviation of chance."""
        return self.completed_per_s * (1 - self.variation / math.sqrt(max(1, self.arrived)))

    def needed_jobs(self, step: float) -> int:
        """Return how many jobs show a growth of half of `step`, a share, in spite of chance."""
        return math.ceil((DEVIATIONS * self.variation / (0.5 * step)) ** 2)


def backlog_of(data: RunData) -> ProbeBacklog:
    """Return the backlog of a probe, in the longest of the stages with its highest rate; in all if each is a ramp.

    Completions count over a span that is later by the mean execution: while workers fill, nothing can complete.
    """
    jobs, load = data.jobs, _measured_stage(data)
    settled = LoadWindow(load.start_at + SETTLING * load.duration_s, load.end_at)
    arrived_at = np.sort(jobs.intended_at[settled.contains(jobs.intended_at)])
    later = completion_window(jobs, jobs.completed, settled)
    ended = later.count(jobs.finished_at)
    gaps, service = _squared_variation(np.diff(arrived_at)), _squared_variation(jobs.execution_ms[jobs.completed])
    return ProbeBacklog(
        arrived=len(arrived_at),
        growth=float(len(arrived_at) - ended),
        completed_per_s=later.per_second(ended),
        variation=max(MIN_VARIATION, math.sqrt(gaps + service)),
    )


def _measured_stage(data: RunData) -> LoadWindow:
    load, end_at = data.scenario.load, data.load.end_at
    assert isinstance(load, OpenLoad)
    peak_per_s = max(max(stage.rate.start, stage.rate.end) for stage in load.stages)
    flat = [
        LoadWindow(span.start_at, min(span.end_at, end_at))
        for (_, span), stage in zip(stage_spans(data), load.stages, strict=False)
        if stage.rate.start == stage.rate.end == peak_per_s and span.start_at < end_at
    ]
    return max(flat, key=lambda span: span.duration_s, default=data.load)


def _squared_variation(values: Floats) -> float:
    """Return the squared coefficient of variation; 1, that of a process without memory, if it is not known."""
    known = values[~np.isnan(values)]
    mean = float(known.mean()) if len(known) > 1 else 0.0
    return float(known.var()) / mean**2 if mean > 0 else 1.0
