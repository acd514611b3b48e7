"""Offered against achieved load: over the whole load, and over any part of it."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from loadtest.analyze.jobs import LoadWindow, offered_by_second
from loadtest.analyze.run_data import RunData
from loadtest.analyze.stats.quantiles import quantiles
from loadtest.analyze.summary import Arrivals
from loadtest.scenario.metrics import Metric
from loadtest.traffic.settings import OpenLoad, Trace

LATE_S = 0.25
"""A job sent this long after the end of its span still counts: send lag has a check of its own."""
RAMP_END_SHARE = 0.1
"""The last part of a ramp, whose sends show whether it reached its end; at least a second."""
_ROUNDING_S = 1e-5
"""The precision of epoch seconds; an arrival at a whole second must not fall before it."""


def arrivals_by_stage(data: RunData) -> dict[str, Arrivals]:
    """Return the arrivals of each stage, under its name, as far as the load went."""
    end_at = data.load.end_at
    return {
        name: arrivals_in(data, LoadWindow(span.start_at, min(span.end_at, end_at)))
        for name, span in stage_spans(data)
        if span.start_at < end_at
    }


def ramp_ends(data: RunData) -> dict[str, Arrivals]:
    """Return the arrivals in the last part of each stage that ramped to a higher rate and reached its end."""
    load = data.scenario.load
    if not isinstance(load, OpenLoad) or isinstance(load.arrivals, Trace):
        return {}
    found = {}
    for (name, span), stage in zip(stage_spans(data), load.stages, strict=False):
        if stage.rate.end > stage.rate.start and span.end_at <= data.load.end_at + LATE_S:
            last_s = max(1.0, RAMP_END_SHARE * span.duration_s)
            end = LoadWindow(max(span.start_at, span.end_at - last_s), span.end_at)
            found[f"{name}, a ramp to {stage.rate.end:.3g}/s,"] = arrivals_in(data, end)
    return found


def stage_spans(data: RunData) -> Iterator[tuple[str, LoadWindow]]:
    """Yield each stage's name and its planned span."""
    start_at = data.load.start_at
    for number, stage in enumerate(data.run.stages, 1):
        label = f"stage {number}"
        name = label if stage.name in ("", label) else f"{label} ({stage.name})"
        yield name, LoadWindow(start_at, start_at + stage.duration_s)
        start_at += stage.duration_s


def arrivals_in(data: RunData, window: LoadWindow | None = None) -> Arrivals:
    """Return what was due and what was sent of it, in the whole load or in the whole seconds of a window within it.

    The achieved rate counts all jobs sent in that time, also those due before it. Offered load is known by seconds
    from the start of the load. A closed load offers what it starts.
    """
    jobs, load = data.jobs, data.load
    due, span = offered_by_second(data.run, load), load
    mine = jobs.sent
    if window is not None:
        first = math.ceil(window.start_at - load.start_at - _ROUNDING_S)
        last = max(first, math.floor(window.end_at - load.start_at + _ROUNDING_S))
        due, span = due[first:last], LoadWindow(load.start_at + first, load.start_at + last)
        inside_s = jobs.intended_at - span.start_at + _ROUNDING_S
        mine &= (inside_s >= 0) & (inside_s < span.duration_s)
    sent_at = jobs.sent_at[mine]
    started = len(sent_at)
    offered = round(float(due.sum())) if data.run.offered else started
    return Arrivals(
        offered=offered,
        started=started,
        offered_per_s=span.per_second(offered),
        achieved_per_s=span.per_second(span.count(jobs.sent_at[jobs.sent])),
        send_lag_ms=quantiles(jobs.times_ms(Metric.SEND_LAG)[mine]),
        delivered=int(np.count_nonzero(sent_at <= span.end_at + LATE_S)),
    )
