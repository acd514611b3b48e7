"""Offered against achieved: over the whole load, and over any part of it."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from loadtest.analyze.jobs import JobColumns, LoadWindow, offered_by_second
from loadtest.analyze.stats.quantiles import quantiles
from loadtest.analyze.summary import Arrivals
from loadtest.record.run import RunRecord
from loadtest.scenario.model import Scenario
from loadtest.traffic.settings import OpenLoad, Trace

LATE_S = 0.25
"""A send so long after the end of what it was due in still counts: send lag is a question of its own."""
LAST_PART = 0.1
"""Of a ramp, by whose sends it is told what it came to; at least a second."""
_HAIR_S = 1e-5
"""Epoch seconds have no more digits than this; an arrival at a whole second must not fall before it."""


def arrivals_by_part(run: RunRecord, jobs: JobColumns, load: LoadWindow) -> dict[str, Arrivals]:
    """The arrivals of each stage, under its name, as far as the load went."""
    return {
        name: arrivals_in(run, jobs, load, LoadWindow(span.start_at, min(span.end_at, load.end_at)))
        for name, span in _stages(run, load)
        if span.start_at < load.end_at
    }


def ends_of_ramps(run: RunRecord, scenario: Scenario, jobs: JobColumns, load: LoadWindow) -> dict[str, Arrivals]:
    """Of each stage that ramps to a higher rate, and came to its end, what was due and sent in its last part."""
    asked = scenario.load
    if not isinstance(asked, OpenLoad) or isinstance(asked.arrivals, Trace):
        return {}
    found = {}
    for (name, span), stage in zip(_stages(run, load), asked.stages, strict=False):
        if stage.rate.end > stage.rate.start and span.end_at <= load.end_at + LATE_S:
            last_s = max(1.0, LAST_PART * span.duration_s)
            end = LoadWindow(max(span.start_at, span.end_at - last_s), span.end_at)
            found[f"{name}, a ramp to {stage.rate.end:.3g}/s,"] = arrivals_in(run, jobs, load, end)
    return found


def _stages(run: RunRecord, load: LoadWindow) -> Iterator[tuple[str, LoadWindow]]:
    """Each stage's name and the time that it was to take."""
    start_at = load.start_at
    for number, stage in enumerate(run.stages, 1):
        name = f"stage {number}" + (f" ({stage.name})" if stage.name else "")
        yield name, LoadWindow(start_at, start_at + stage.duration_s)
        start_at += stage.duration_s


def arrivals_in(run: RunRecord, jobs: JobColumns, load: LoadWindow, window: LoadWindow | None = None) -> Arrivals:
    """What was due and what was sent of it, in the whole load or in the whole seconds of a window within it.

    The achieved rate counts all that was sent in that time, also what had been due before it. Offered load is
    known by seconds from the start of the load. A closed load offers what it starts.
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
        achieved_per_s=span.per_second(span.count(jobs.sent_at[jobs.sent])),
        send_lag_ms=quantiles(jobs.send_lag_ms[mine]),
        delivered=int(np.count_nonzero(sent_at <= span.end_at + LATE_S)),
    )
