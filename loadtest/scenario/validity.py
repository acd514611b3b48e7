"""What can be set of when a measurement counts as sound."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from loadtest.units import Fraction, Seconds, StrictModel


class ValidityLimits(StrictModel):
    """How far a run may be from what was asked for and its figures still be believed; beyond, it is invalid."""

    send_lag: Seconds = 0.025
    """Sends may be late by this, or by 5 % of the median end-to-end time where that is more."""
    started: Fraction = 0.99
    """Of the jobs due, over all of the load and in each stage, the share that must have been sent in time."""
    censored: Fraction = 0.05
    """Of the jobs sent, the share that may be unfinished at the end."""
    throttled: Fraction = 0.01
    """Of all requests, the share that may be answered 429."""
    completed: Annotated[int, Field(ge=1)] = 1
    """Jobs that must have completed; p95 needs 72, p99 368."""
    cpu: Fraction = 0.9
    """How much of one core a sending process may use, or wait for, in any 5 s of the load."""
    clock: Seconds = 0.005
    """By how much clocks may be uncertain, or by 5 % of the median end-to-end time where that is more."""
    cold_start_wave: Fraction = 0.2
    """By how much the share of jobs that waited for a worker to start may rise in any tenth of the steady window."""
    littles_law: Fraction = 0.05
    """By how much the jobs in flight of `/health` and of the samples may differ."""
