"""The steady window, in which times depend on the endpoint alone and no longer on the time since the start.

It is chosen by intended starts, so that the drain never enters it, and lies within one stage of constant load.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from loadtest.analyze.backlog import backlog_in
from loadtest.analyze.jobs import JobColumns, LoadWindow
from loadtest.analyze.stats.effective_number import effective_number
from loadtest.analyze.stats.hypothesis_tests import Trend, trend
from loadtest.arrays import Floats
from loadtest.scenario.metrics import Metric
from loadtest.scenario.model import Scenario
from loadtest.traffic.settings import OpenLoad, RateStage, Trace

MIN_JOBS = 200
"""The fewest completed jobs of a stage from which a steady window is determined."""
SIGNIFICANT = 0.01
"""The probability of taking chance for a trend."""
STRICT_LEVEL = 0.05
"""The same after a trend was found before: it must be clearly over."""
LARGE = 0.25
LARGE_LEVEL = 0.02
"""A trend this large needs less evidence: a window with a change of level is not steady."""
RELEVANT = 0.05
"""The change over the window from which a trend matters: among millions of jobs any trend is significant."""
MIN_EFFECTIVE = 12
"""The fewest independent jobs in the window, by their effective number, that show a slow fluctuation from a trend."""
_SHORTEST = 0.1
_DECIMALS = 2
"""Of a time in milliseconds: epoch seconds in floats resolve no more, and rounding must not look like a trend."""
_BATCH = 5
_MAX_BATCHES = 400
_TREND_BATCHES = 25
_FILLED = 0.95
"""The share of the first jobs that have ended before the backlog is watched."""


@dataclass(frozen=True)
class SteadyWindow:
    """The window, or None without a steady state, and a sentence that explains it.

    `too_short` says that jobs were too few, or resembled each other too much, to judge whether there is one.
    """

    window: LoadWindow | None
    detail: str
    too_short: bool = False


def steady_window(scenario: Scenario, jobs: JobColumns, load: LoadWindow) -> SteadyWindow:
    """Return the longest stage of constant load without its warm-up, unless times show a trend all through it.

    The warm-up is cut by MSER (White 1997, Simulation 69, p. 323) over means of at least 5 jobs (MSER-5: White, Cobb
    and Spratt 2000, Winter Simulation Conference, p. 755) of the logarithm of end-to-end times, in which a few long
    times do not outweigh all others. A Mann–Kendall test over 25 batch means, which allows for the dependence between
    jobs (see `trend`), can reject the rest: at 1 % if times change by more than 5 %, at 2 % if by more than 25 %. If
    it finds the end of a warm-up, twice as much is cut and the test repeated at a stricter level: times that moved
    before must now be clearly steady.

    A queue that grows looks for a while like one that fluctuates slowly, and the test then finds nothing. But a
    stationary queue keeps coming back to its shortest times, and one that grows does not. So a stage is also rejected
    if none of its shortest tenth of times lies in its later half. If the window is worth fewer than `MIN_EFFECTIVE`
    independent jobs, or the cut lies in the later half without a trend, the stage is too short to judge.
    """
    stage = _constant_stage(scenario, load)
    if stage is None:
        return SteadyWindow(None, "No stage has a constant load, so there can be no steady state.")
    due = jobs.completed & (jobs.intended_at >= stage.start_at) & (jobs.intended_at < stage.end_at)
    order = np.argsort(jobs.intended_at[due], kind="stable")
    at, times_ms = jobs.intended_at[due][order], jobs.times_ms(Metric.END_TO_END)[due][order]
    known = ~np.isnan(times_ms)
    at, logs = at[known], np.log(np.maximum(np.round(times_ms[known], _DECIMALS), 1.0))
    if len(at) < MIN_JOBS:
        return SteadyWindow(None, f"n too small: {len(at)} jobs completed in the stage, {MIN_JOBS} are needed.", True)
    found = _settled(stage, at, logs)
    if isinstance(scenario.load, OpenLoad) and found.window is not None:
        return _without_growth(found, found.window, jobs)
    return found


def _without_growth(found: SteadyWindow, window: LoadWindow, jobs: JobColumns) -> SteadyWindow:
    """Return what was found, unless more jobs arrived in the window than ended in it (see `backlog_in`).

    The window may start with an idle endpoint. So counting starts once nearly all of the first jobs have ended, and
    nothing is said if that takes more than half of the window.
    """
    due = window.contains(jobs.intended_at) & ~np.isnan(jobs.finished_at)
    order = np.argsort(jobs.intended_at[due], kind="stable")
    first = order[: max(1, len(order) // 10)]
    took_s = float(np.quantile((jobs.finished_at - jobs.intended_at)[due][first], _FILLED)) if len(order) else 0.0
    if took_s > window.duration_s / 2:
        return found
    counted = LoadWindow(window.start_at + took_s, window.end_at)
    backlog = backlog_in(jobs.intended_at, jobs.finished_at, counted)
    if not backlog.grows:
        return found
    return SteadyWindow(
        None, f"The backlog grew: {backlog.arrived} jobs arrived, and {backlog.ended} ended in the same time."
    )


def _settled(stage: LoadWindow, at: Floats, logs: Floats) -> SteadyWindow:
    """Return the stage from its cut on; times are in the order of `at`."""
    if not _shortest_return(logs):
        return SteadyWindow(None, "End-to-end times rose: the shortest tenth of them lie in the stage's first half.")
    cut, half = warm_up_length(logs), len(logs) // 2
    if cut > half:
        if _vetoes(_trend_after(0, logs), SIGNIFICANT):
            return SteadyWindow(
                None, "End-to-end times became steady, if at all, only in the later half of the stage."
            )
        return _too_short(logs)
    left, level = _trend_after(cut, logs), SIGNIFICANT
    if cut and _vetoes(left, level):
        cut = min(2 * cut, half)
        left, level = _trend_after(cut, logs), STRICT_LEVEL
    if effective_number(_without_line(logs[cut:])) < MIN_EFFECTIVE:
        return _too_short(logs[cut:])
    if _vetoes(left, level):
        word = "rose" if left.change > 0 else "fell"
        return SteadyWindow(None, f"End-to-end times {word} by {abs(left.change):.0%} after the warm-up.")
    start_at = float(at[cut]) if cut else stage.start_at
    window = LoadWindow(start_at, stage.end_at)
    warm = f"after a warm-up of {start_at - stage.start_at:.1f} s" if cut else "from its start"
    return SteadyWindow(
        window, f"The longest stage of constant load is steady {warm}, for {window.duration_s:.1f} s."
    )


def _too_short(logs: Floats) -> SteadyWindow:
    worth = effective_number(_without_line(logs))
    return SteadyWindow(
        None,
        f"The stage is too short to judge a trend from slow fluctuations: {len(logs)} jobs that resemble their "
        f"neighbours are worth {worth:.0f} independent ones.",
        True,
    )


def _shortest_return(logs: Floats) -> bool:
    """Return whether any of the shortest tenth of times lies in the later half."""
    return bool(logs[len(logs) // 2 :].min() <= np.quantile(logs, _SHORTEST))


def _constant_stage(scenario: Scenario, load: LoadWindow) -> LoadWindow | None:
    """Return the longest stage of constant load that the run reached; a trace counts whole."""
    asked = scenario.load
    if isinstance(asked, OpenLoad) and isinstance(asked.arrivals, Trace):
        return load
    constant, start_at = [], load.start_at
    for stage in asked.stages:
        amount = stage.rate if isinstance(stage, RateStage) else stage.users
        if amount.start == amount.end > 0:
            constant.append(LoadWindow(start_at, min(start_at + stage.duration, load.end_at)))
        start_at += stage.duration
    longest = max(constant, key=lambda span: span.duration_s, default=None)
    return longest if longest is not None and longest.duration_s > 0 else None


def warm_up_length(values: Floats) -> int:
    """Return the number of first values to cut: MSER over batch means, a multiple of the batch's size.

    The cut d of m means is where Σ (y_i − ȳ)² / (m − d)², both over i > d, is least: the squared standard error of
    the rest, which falls while warm-up is cut away and rises once good data is.
    """
    size = max(_BATCH, -(-len(values) // _MAX_BATCHES))
    means = batch_means(values, len(values) // size)
    left = np.arange(len(means), 0, -1)
    centred = means - means.mean()
    sums, squares = (np.cumsum(each[::-1])[::-1] for each in (centred, centred**2))
    errors = (squares - sums**2 / left) / left**2
    # The last few means say little about a spread; beyond three fifths the result is the same: not steady.
    return int(np.argmin(errors[: 3 * len(means) // 5])) * size


def batch_means(values: Floats, batches: int) -> Floats:
    """Return the means of `batches` batches of neighbours of equal size; a remainder at the end is left out."""
    size = len(values) // batches
    means: Floats = values[: size * batches].reshape(batches, size).mean(axis=1)
    return means


def _trend_after(cut: int, logs: Floats) -> Trend:
    """Return the trend of batch means, whose variance is what their jobs are worth.

    Both without a straight line, so that a trend does not hide itself.
    """
    values = logs[cut:]
    means = batch_means(values, _TREND_BATCHES)
    left, left_means = _without_line(values), _without_line(means)
    worth, spread = effective_number(left), float(np.var(left_means, ddof=2))
    dependence = float(np.var(left)) / worth * len(means) / spread if spread else 1.0
    return trend(means, max(1.0, dependence), max(1.0, worth - 2))


def _without_line(values: Floats) -> Floats:
    at = np.arange(len(values)) - (len(values) - 1) / 2
    left: Floats = values - values.mean() - at * (at @ values) / (at @ at)
    return np.round(left, 9)


def _vetoes(found: Trend, level: float) -> bool:
    size = abs(math.log1p(found.change))
    return (found.p_value < level and size > RELEVANT) or (found.p_value < LARGE_LEVEL and size > LARGE)
