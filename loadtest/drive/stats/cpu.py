"""How much of a core a process wants: one that takes all it can get, or is given too little, is late."""

from __future__ import annotations

import time
from collections import deque
from pathlib import Path

WINDOW_S = 5.0
"""A shorter stretch at full power is a start-up or a flush, and shows as send lag where it matters."""


_SCHEDULED = Path("/proc/self/schedstat")
"""On Linux: for how long the process ran, and waited in vain for a core to run on, in nanoseconds."""


def cpu_demand_s() -> float:
    """Seconds of a core that this process has had, or has waited for, where the system tells of that."""
    try:
        waited_s = int(_SCHEDULED.read_text().split()[1]) / 1e9
    except (OSError, IndexError, ValueError):
        waited_s = 0.0
    return time.process_time() + waited_s


class CpuMonitor:
    """Remembers the greatest share of one core that any SPAN_S took; None before so long has been seen."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, float]] = deque()
        self.peak_share: float | None = None

    def add(self, now: float, cpu_s: float) -> None:
        """At this time (seconds) the process has had so many seconds of processor time."""
        seen = self._samples
        seen.append((now, cpu_s))
        while len(seen) > 1 and seen[1][0] <= now - WINDOW_S:
            seen.popleft()
        before, had_s = seen[0]
        if now - before >= WINDOW_S:
            self.peak_share = max(self.peak_share or 0.0, (cpu_s - had_s) / (now - before))
