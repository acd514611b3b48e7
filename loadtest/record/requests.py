"""The requests of one operation in one process: its fullest window, and latencies by second and status."""

from __future__ import annotations

from array import array
from collections import defaultdict

import numpy as np

from loadtest.protocol.operations import Op
from loadtest.traffic.rate_limit import PeakWindow
from loadtest.units import nearest_rank

RequestRow = tuple[float, int, Op, int, int, float, float, float, float, int]
"""The columns of `requests.parquet`, in their order."""


class RequestLog:
    """The requests of one operation, counted as they go out and as they are answered.

    With `keep_sends`, `sends` holds when they went out, since it was last emptied.
    """

    def __init__(self, operation: Op, keep_sends: bool) -> None:
        self._operation = operation
        self._keep_sends = keep_sends
        self._latencies_s: dict[tuple[int, int], array[float]] = defaultdict(_doubles)
        self._second = self._status = -1
        self._latest_s = _doubles()
        self.sends = _doubles()
        self.peak = PeakWindow()

    def sent(self, at: float) -> None:
        """Count a request that goes out."""
        self.peak.add(at)
        if self._keep_sends:
            self.sends.append(at)

    def answered(self, status: int, sent_at: float, answered_at: float) -> None:
        """Count a request that has its response, or none (status 0)."""
        second = int(answered_at)
        if second != self._second or status != self._status:
            self._second, self._status = second, status
            self._latest_s = self._latencies_s[second, status]
        self._latest_s.append(answered_at - sent_at)

    def rows_before(self, now: float, process: int) -> list[RequestRow]:
        """Return the rows of all seconds that are over."""
        return [self._row(process, *key, self._latencies_s[key]) for key in sorted(self._over(now))]

    def drop_before(self, now: float) -> None:
        """Drop all seconds that are over."""
        for key in self._over(now):
            del self._latencies_s[key]
        self._second = -1

    def _over(self, now: float) -> list[tuple[int, int]]:
        return [key for key in self._latencies_s if key[0] + 1 <= now]

    def _row(self, process: int, second: int, status: int, latencies_s: array[float]) -> RequestRow:
        latencies_ms = np.sort(np.frombuffer(latencies_s)) * 1000
        n = len(latencies_ms)
        p50, p95 = (float(latencies_ms[nearest_rank(n, per_mille) - 1]) for per_mille in (500, 950))
        mean, max_ms, peak = float(latencies_ms.mean()), float(latencies_ms[-1]), self.peak.peak
        return float(second), process, self._operation, status, n, mean, p50, p95, max_ms, peak


def _doubles() -> array[float]:
    return array("d")
