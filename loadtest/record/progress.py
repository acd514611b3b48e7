"""What a run tells while it goes on: one line a half second from the process that drives it."""

from __future__ import annotations

import msgspec


class Progress(msgspec.Struct, frozen=True):
    """The run at one moment. Rates over the last 5 s, percentiles (p50, p95; milliseconds) over the last 10 s.

    `limit_used` is, for each operation, the share of its limit that the last 10 s held.
    """

    phase: str
    stage: str
    elapsed_s: float
    left_s: float
    offered_per_s: float | None
    achieved_per_s: float
    in_flight: int
    ended: int
    not_completed: int
    throttled: int
    delay_ms: tuple[int, int] | None
    execution_ms: tuple[int, int] | None
    limit_used: dict[str, float]
