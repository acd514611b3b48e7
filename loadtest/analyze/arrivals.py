"""Offered against achieved: over the whole load, and over any part of it."""

from __future__ import annotations

import math

import numpy as np

from loadtest.analyze.jobs import Jobs, LoadWindow, offered_by_second
from loadtest.analyze.quantiles import quantiles
from loadtest.analyze.summary import Arrivals
from loadtest.record.run import Run

LATE_S = 0.25
"""A send so long after the end of what it was due in still counts: send lag is a question of its own."""
_HAIR_S = 1e-5
"""Epoch seconds have no more digits than this; an arrival at a whole second must not fall before it."""


def arrivals_by_part(run: Run, jobs: Jobs, load: LoadWindow) -> dict[str, Arrivals]:
    """The arrivals of each stage, under its name, as far as the load went."""
    parts: dict[str, Arrivals] = {}
    start_at = load.start_at
    for number, stage in enumerate(run.stages, 1):
        end_at = min(start_at + stage.duration_s, load.end_at)
        if end_at > start_at:
            name = f"stage {number}" + (f" ({stage.name})" if stage.name else "")
            parts[name] = arrivals_in(run, jobs, load, LoadWindow(start_at, end_at))
        start_at += stage.duration_s
    return parts


def arrivals_in(run: Run, jobs: Jobs, load: LoadWindow, window: LoadWindow | None = None) -> Arrivals:
    """What was due and what was sent of it, in the whole load or in the whole seconds of a window within it.

    Offered load is known by seconds from the start of the load. A closed load offers what it starts.
    """
    due, span = offered_by_second(run, load), load
    mine = jobs.sent
    if window is not None:
        first = math.ceil(window.start_at - load.start_at - _HAIR_S)
        last = max(first, math.floor(window.end_at - load.start_at + _HAIR_S))
        due, span = due[first:last], LoadWindow(load.start_at + first, load.start_at + last)
        inside_s = jobs.intended_at - span.start_at + _HAIR_S
        mine &= (inside_s >= 0) & (inside_s < span.duration_s)
    sent_at = jobs.sent_at[mine]
    started = len(sent_at)
    offered = round(float(due.sum())) if run.offered else started
    return Arrivals(
        offered=offered,
        started=started,
        offered_per_s=span.per_second(offered),
        achieved_per_s=span.per_second(span.count(sent_at)),
        send_lag_ms=quantiles(jobs.send_lag_ms[mine]),
        delivered=int(np.count_nonzero(sent_at <= span.end_at + LATE_S)),
    )
