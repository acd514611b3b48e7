"""Settings of a run beyond its load: validity limits, the search for a rate, abort rules, ceilings."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, WithJsonSchema

from loadtest.scenario.gates import Gate, GateText, gate_text
from loadtest.units import Fraction, Seconds, StrictModel, per_second, per_second_text


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


PerSecond = Annotated[
    float,
    BeforeValidator(per_second),
    PlainSerializer(per_second_text),
    WithJsonSchema({"type": "string", "examples": ["100/s"]}),
]


class Search(StrictModel):
    """Looks for the highest rate at which the gates hold, by running the load again and again.

    The load as it is written is the first probe; each other one has all its rates multiplied by the same factor. A
    probe's rate is the highest of its stages.
    """

    max_rate: Annotated[PerSecond, Field(gt=0)]
    """No probe has a higher rate than this; limits and ceilings hold beside it."""
    within: Annotated[Fraction, Field(ge=0.02, le=0.5)] = 0.05
    """How close the highest passing and the lowest failing rate are to come."""
    empty_timeout: Annotated[Seconds, Field(gt=0)] = 120.0
    """How long the endpoint may take to finish all its jobs between two probes."""


def _judged_on_the_way(gate: Gate) -> Gate:
    if not gate.metric.spec.abortable:
        raise ValueError(f'"{gate}" is known only after the run; an abort gate speaks of times, errors or throughput')
    if gate.during is not None or gate.per_worker:
        text = gate_text(gate.model_copy(update={"during": None, "per_worker": False}))
        raise ValueError(f'an abort gate looks back from now, at all workers; write "{text}"')
    return gate


AbortGate = Annotated[GateText, AfterValidator(_judged_on_the_way)]


class AbortRule(StrictModel):
    """Stops the run when more than `errors` of the jobs ended in the last `over`, at least `jobs`, failed.

    It also stops when one of `gates` does not hold for them and chance does not explain it.
    """

    errors: Fraction = 0.5
    """The share of failed jobs above which the run stops."""
    over: Annotated[Seconds, Field(gt=0)] = 30.0
    """How far back it looks."""
    jobs: Annotated[int, Field(ge=1)] = 20
    """With fewer jobs than this in that time it does not judge."""
    gates: tuple[AbortGate, ...] = ()
    """Objectives such as `delay p95 < 30s`, held against the jobs that ended in the last `over`."""


class Ceilings(StrictModel):
    """What a run may not exceed: jobs submitted, and US dollars spent on execution at `price`."""

    jobs: Annotated[int, Field(ge=1)] | None = None
    """Jobs submitted at most; needed for a target that is not on this machine."""
    cost: Annotated[float, Field(gt=0)] | None = None
    """US dollars at most, as execution time at `price`."""
