"""The CPU demand of a process: one that uses a whole core, or gets less than it wants, sends late."""

from __future__ import annotations

import time
from collections import deque
from pathlib import Path

WINDOW_S = 5.0
"""A shorter time at full load is a start-up or a flush, and shows as send lag if it matters."""

_SCHEDULED = Path("/proc/self/schedstat")
"""On Linux: how long the process ran, and waited for a core to run on, in nanoseconds."""


def cpu_demand_s() -> float:
    """Return the seconds of a core that this process has used and, if the system reports them, has waited for."""
    try:
        waited_s = int(_SCHEDULED.read_text().split()[1]) / 1e9
    except (OSError, IndexError, ValueError):
        waited_s = 0.0
    return time.process_time() + waited_s


class CpuMonitor:
    """The largest share of one core in any WINDOW_S, as `peak_share`; None until a window is complete."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, float]] = deque()
        self.peak_share: float | None = None

    def add(self, now: float, cpu_s: float) -> None:
        """Add the seconds of CPU demand until this time (seconds)."""
        samples = self._samples
        samples.append((now, cpu_s))
        while len(samples) > 1 and samples[1][0] <= now - WINDOW_S:
            samples.popleft()
        before, cpu_before_s = samples[0]
        if now - before >= WINDOW_S:
            self.peak_share = max(self.peak_share or 0.0, (cpu_s - cpu_before_s) / (now - before))
