"""Settings of a run beyond its load: validity limits, the search for a rate, abort rules, ceilings."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, WithJsonSchema

from loadtest.scenario.gates import Gate, GateText, gate_text
from loadtest.units import Fraction, Seconds, StrictModel, per_second, per_second_text


class ValidityLimits(StrictModel):
    """How far a run may deviate from its scenario before it is invalid."""

    send_lag: Seconds = 0.025
    """Sends may be late by this, or by 5 % of the median end-to-end time if that is more."""
    started: Fraction = 0.99
    """The share of due jobs that must be sent in time, over the whole load and in each stage."""
    censored: Fraction = 0.05
    """The share of sent jobs that may be unfinished at the end."""
    throttled: Fraction = 0.01
    """The share of all requests that may be answered 429."""
    completed: Annotated[int, Field(ge=1)] = 1
    """The number of jobs that must complete; p95 needs 72, p99 368."""
    cpu: Fraction = 0.9
    """How much of one core a generator process may use, or wait for, in any 5 s of the load."""
    clock: Seconds = 0.005
    """By how much clocks may be uncertain, or by 5 % of the median end-to-end time if that is more."""
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
    """Searches the highest rate at which the gates pass, with repeated runs of the load.

    The first probe is the load as written; every other probe has all its rates multiplied by the same factor. A
    probe's rate is the highest of its stages.
    """

    max_rate: Annotated[PerSecond, Field(gt=0)]
    """The highest rate of a probe; limits and ceilings apply as well."""
    within: Annotated[Fraction, Field(ge=0.02, le=0.5)] = 0.05
    """The relative gap between the highest passing and the lowest failing rate at which the search ends."""
    empty_timeout: Annotated[Seconds, Field(gt=0)] = 120.0
    """How long the endpoint may take to finish all its jobs between two probes."""


def _require_live_gate(gate: Gate) -> Gate:
    if not gate.metric.spec.abortable:
        raise ValueError(f'"{gate}" is known only after the run; an abort gate is about times, errors or throughput')
    if gate.during is not None or gate.per_worker:
        text = gate_text(gate.model_copy(update={"during": None, "per_worker": False}))
        raise ValueError(f'an abort gate judges recent jobs of all workers; write "{text}"')
    return gate


AbortGate = Annotated[GateText, AfterValidator(_require_live_gate)]


class AbortRule(StrictModel):
    """Stops the run when more than `errors` of the jobs that ended in the last `over`, at least `jobs`, failed.

    It also stops when one of `gates` fails for them beyond doubt.
    """

    errors: Fraction = 0.5
    """The share of failed jobs above which the run stops."""
    over: Annotated[Seconds, Field(gt=0)] = 30.0
    """The time before now whose jobs count."""
    jobs: Annotated[int, Field(ge=1)] = 20
    """The fewest jobs in that time that are judged."""
    gates: tuple[AbortGate, ...] = ()
    """Objectives such as `delay p95 < 30s` for the jobs that ended in the last `over`."""


class Ceilings(StrictModel):
    """Limits of a run: jobs submitted, and US dollars spent on execution at `price`."""

    jobs: Annotated[int, Field(ge=1)] | None = None
    """The most jobs to submit; required for a target on another machine."""
    cost: Annotated[float, Field(gt=0)] | None = None
    """The most US dollars to spend, as execution time at `price`."""
