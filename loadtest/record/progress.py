"""The progress of a run while it goes on: the counts of each process, and of all of them together."""

from __future__ import annotations

import msgspec


class ProcessCounts(msgspec.Struct, frozen=True):
    """The counts of one process at one moment.

    `started` and `offered` are those of the last 5 s; `requests_in_window` counts, for each operation, the requests
    of the last 10 s; `times` are (finished at, delay, execution; milliseconds) of jobs that ended since the last
    counts, or a sample of them if they are many.
    """

    sent: int
    in_flight: int
    ended: int
    not_completed: int
    throttled: int
    started: int
    offered: int | None
    requests_in_window: dict[str, int]
    times: list[tuple[float, int, int]]


class Progress(msgspec.Struct, frozen=True):
    """The run at one moment. Rates over the last 5 s, percentiles (p50, p95; milliseconds) over the last 10 s.

    `limit_used` is, for each operation, the share of its limit that the last 10 s held. `processes` counts those
    that send, `lost` those that fell silent.
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
    processes: int
    lost: int
