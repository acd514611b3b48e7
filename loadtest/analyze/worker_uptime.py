"""How long workers were up, by `/health`: no job reports the billed time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from loadtest.analyze.jobs import LoadWindow, floats
from loadtest.arrays import Floats

MIN_HEALTH_PROBES = 10
"""With fewer probes, most of the figure would be interpolation."""
_UP = ("initializing", "idle", "running")


@dataclass(frozen=True)
class WorkerUptime:
    """Workers that were starting, idle or running at each probe, in seconds from the load's start."""

    at_s: Floats
    up: Floats
    duration_s: float

    @property
    def worker_s(self) -> float:
        """Return worker-seconds from start to stop: the area under straight lines from each probe to the next.

        A worker that starts or stops between two probes counts for half of that time, which is right on average,
        and wrong by half of it at most. Nothing is rounded up.
        """
        at_s = np.concatenate([[0.0], self.at_s, [self.duration_s]])
        return float(np.trapezoid(np.interp(at_s, self.at_s, self.up), at_s))


def worker_uptime(health: pa.Table, window: LoadWindow) -> WorkerUptime | None:
    """Return the workers that were up while load was offered, from the health probes.

    None if there were too few probes or none for a tenth of the time, or if the endpoint does not report workers that
    are starting.
    """
    at = floats(health, "at")
    up = sum((floats(health, name) for name in _UP), np.zeros(len(at)))
    known = ~np.isnan(up) & window.contains(at)
    found = WorkerUptime(at[known] - window.start_at, up[known], window.duration_s)
    if len(found.at_s) < MIN_HEALTH_PROBES:
        return None
    gaps_s = np.diff(np.concatenate([[0.0], found.at_s, [window.duration_s]]))
    return None if gaps_s.max() > window.duration_s / MIN_HEALTH_PROBES else found
