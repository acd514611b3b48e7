"""How long workers were up, as `/health` told it: no job's answer says what was paid for."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from loadtest.analyze.jobs import LoadWindow, floats

LEAST_ASKINGS = 10
"""Over fewer askings what lies between them is most of the figure."""
_UP = ("initializing", "idle", "running")


def worker_seconds(health: pa.Table, window: LoadWindow) -> float | None:
    """Worker-seconds from start to stop within the window: workers that were starting, idle or running.

    The area under a straight line from each asking of the health to the next: a worker that starts or stops
    between two of them counts for half of that time, which is right on average, and wrong by half of it at most.
    Nothing is rounded up. None where there were too few askings, none for a tenth of the window, or where an
    endpoint does not tell of workers that are starting.
    """
    at = floats(health, "at")
    up = sum((floats(health, name) for name in _UP), np.zeros(len(at)))
    told = ~np.isnan(up) & window.holds(at)
    at, up = at[told], up[told]
    if len(at) < LEAST_ASKINGS:
        return None
    edges = np.concatenate([[window.start_at], at, [window.end_at]])
    if np.diff(edges).max() > window.duration_s / LEAST_ASKINGS:
        return None
    return float(np.trapezoid(np.interp(edges, at, up), edges))
