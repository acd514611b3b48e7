"""The settings of traffic: arrivals, stages, think time, polling."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Discriminator,
    Field,
    PlainSerializer,
    Tag,
    ValidationInfo,
    WithJsonSchema,
    model_validator,
)

from loadtest.units import Seconds, StrictModel, per_second, per_second_text, quoted


class Gamma(StrictModel):
    """Gaps with a gamma distribution of this coefficient of variation: 1 is Poisson, more is burstier."""

    gamma_cv: Annotated[float, Field(gt=0, le=30)]
    """Coefficient of variation of the gaps: their standard deviation over their mean."""


class Trace(StrictModel):
    """Arrivals at recorded times, as many as the stages have time for; the rates of the stages are ignored.

    The requests of Azure's, Mooncake's and BurstGPT's traces have lengths, too. Inputs can use them, by
    `${trace input}` and `${trace output}` in a template.
    """

    file: Path | None = None
    """A file of times in seconds from the start, one per line and in order, or a published trace of LLM requests.

    Named from the scenario's folder.
    """
    trace: Path | None = None
    """The same as `file`."""
    format: Literal["times", "azure-llm", "mooncake", "burstgpt"] | None = None
    """The form of the file. It is found from how the file begins; if you write it, the file must have it."""
    times: tuple[Annotated[float, Field(ge=0)], ...] = ()
    """The times themselves, in place of `file`."""
    input_tokens: tuple[Annotated[int, Field(ge=0)], ...] = ()
    """The length of each request in tokens; you need not write it, a file has it."""
    output_tokens: tuple[Annotated[int, Field(ge=0)], ...] = ()
    """The length of each answer in tokens; the same."""
    speed: Annotated[float, Field(gt=0)] = 1.0
    """At 2 the times pass twice as fast."""

    @model_validator(mode="before")
    @classmethod
    def _filled(cls, value: Any, info: ValidationInfo) -> Any:
        if isinstance(value, dict) and value.get("trace") is not None:
            if value.get("file") is not None:
                raise ValueError("file and trace are two names of one key; keep one")
            value = {key: each for key, each in value.items() if key != "trace"} | {"file": value["trace"]}
        if info.context is None or not isinstance(value, dict) or not isinstance(value.get("file"), str):
            return value
        if "times" in value:
            return value
        found = info.context("trace", value["file"])
        asked = value.get("format")
        if asked not in (None, found["format"]):
            raise ValueError(f"the file is in the form {found['format']}, not {asked}; leave format out")
        return {**value, **found}

    @model_validator(mode="after")
    def _times_in_order(self) -> Trace:
        if not len(self.input_tokens) == len(self.output_tokens) in (0, len(self.times)):
            raise ValueError("a trace needs the lengths of all of its requests, or of none")
        if not self.times:
            raise ValueError("a trace has no times; name a file with one time per line")
        if any(later < earlier for earlier, later in pairwise(self.times)):
            raise ValueError("the times of a trace are not in order; sort them")
        return self


def _arrival_kind(value: object) -> str:
    if isinstance(value, Gamma) or (isinstance(value, dict) and "gamma_cv" in value):
        return "gamma"
    return "trace" if isinstance(value, (Trace, dict)) else "named"


Arrivals = Annotated[
    Annotated[Literal["constant", "poisson"], Tag("named")]
    | Annotated[Gamma, Tag("gamma")]
    | Annotated[Trace, Tag("trace")],
    Discriminator(_arrival_kind),
]
"""How gaps between jobs vary: `constant`, `poisson`, `{gamma_cv: 2}`, or `{file: times.csv}`."""


class Ramp(StrictModel):
    """A rate (per second) or a number of users that changes linearly from one value to another."""

    start: float
    """The value at the start."""
    end: float
    """The value at the end; the same as `start` if it is constant."""

    def at(self, share: float) -> float:
        """Return the value when this share (0 to 1) of the stage has passed."""
        return self.start + (self.end - self.start) * share


def _rates(text: object) -> object:
    if isinstance(text, Ramp):
        return text
    first, to, last = str(text).partition(" to ")
    start = per_second(first if isinstance(text, str) else text)
    return Ramp(start=start, end=per_second(last) if to else start)


def _rates_text(ramp: Ramp) -> str:
    start, end = per_second_text(ramp.start), per_second_text(ramp.end)
    return start if start == end else f"{start} to {end}"


_WHOLE = re.compile(r"\s*[0-9]{1,6}\s*")


def _user_counts(text: object) -> object:
    if isinstance(text, Ramp):
        return text
    parts = str(text).split(" to ")
    if isinstance(text, (bool, float)) or len(parts) > 2 or not all(_WHOLE.fullmatch(part) for part in parts):
        raise ValueError(f'{quoted(text)} is not a number of users; write it like "10" or "10 to 50"')
    return Ramp(start=int(parts[0]), end=int(parts[-1]))


def _user_counts_text(ramp: Ramp) -> str | int:
    return int(ramp.start) if ramp.start == ramp.end else f"{ramp.start:g} to {ramp.end:g}"


Rate = Annotated[
    Ramp,
    BeforeValidator(_rates),
    PlainSerializer(_rates_text),
    WithJsonSchema({"type": "string", "examples": ["20/s", "20/s to 50/s"]}),
]
UserCount = Annotated[
    Ramp,
    BeforeValidator(_user_counts),
    PlainSerializer(_user_counts_text),
    WithJsonSchema({"type": ["string", "integer"], "examples": [10, "10 to 50"]}),
]


class Stage(StrictModel):
    """A part of the time of a load."""

    duration: Annotated[Seconds, Field(alias="for", gt=0, le=7 * 86_400)]
    """How long the stage lasts."""
    name: str = ""
    """The name of the stage in the report."""

    def label(self, number: int) -> str:
        """Return the stage's name, or "stage 2" if the second of its load has none; numbers start at 1."""
        return self.name or f"stage {number}"


class RateStage(Stage):
    """A part of the load with one rate or one ramp; "5/s to 20/s" ramps."""

    rate: Rate
    """Jobs per second, or a ramp from one rate to another."""


class UserStage(Stage):
    """A part of the load with one number of users or one ramp; "10 to 50" ramps."""

    users: UserCount
    """How many users, or a ramp from one number to another."""


def _known_model(name: object) -> object:
    if name != "open":
        raise ValueError(f'{quoted(name)} is not a load model; write "open" or "closed"')
    return name


class OpenLoad(StrictModel):
    """Open model: jobs arrive on a schedule, whatever the endpoint does; latency counts from the schedule."""

    model: Annotated[Literal["open"], BeforeValidator(_known_model)] = "open"
    """`open`: arrivals do not wait for responses."""
    arrivals: Arrivals = "poisson"
    """How the gaps between jobs vary: `constant`, `poisson`, `{gamma_cv: 2}`, or a trace, `{file: times.txt}`."""
    stages: Annotated[tuple[RateStage, ...], Field(min_length=1, examples=[[{"rate": "20/s", "for": "60s"}]])]
    """One after the other, without a pause."""
    max_in_flight: Annotated[int, Field(ge=1, le=200_000)] = 10_000
    """The most jobs that may be unfinished at once; arrivals beyond it wait, which shows as send lag."""

    @model_validator(mode="after")
    def _has_a_rate(self) -> OpenLoad:
        if all(stage.rate.start == 0 and stage.rate.end == 0 for stage in self.stages):
            raise ValueError("every stage has rate 0/s, so nothing would be sent; give one of them a rate")
        return self

    @property
    def duration_s(self) -> float:
        """Return how long jobs arrive, all stages together."""
        return sum(stage.duration for stage in self.stages)


class Locustfile(StrictModel):
    """The locustfile whose tasks the users run; `locust -f` writes it into the scenario of its run, you do not."""

    name: str
    """The name of the file."""
    hash: str
    """The hash of its content: runs of different tasks are not compared."""


class ClosedLoad(StrictModel):
    """Closed model: users who wait for their job, think, and submit the next."""

    model: Literal["closed"]
    """`closed`: a user submits the next job after the last has ended."""
    think: Seconds = 0.0
    """The pause between a user's jobs."""
    think_distribution: Literal["constant", "exponential"] = "constant"
    """`constant`: each pause is `think`; `exponential`: pauses vary, with the mean `think`."""
    stages: Annotated[tuple[UserStage, ...], Field(min_length=1, examples=[[{"users": 10, "for": "60s"}]])]
    """One after the other, without a pause."""
    locustfile: Locustfile | None = None
    """The locustfile whose tasks the users run, in place of one job after another; `locust -f` writes it."""

    @model_validator(mode="after")
    def _has_users(self) -> ClosedLoad:
        if all(stage.users.start == 0 and stage.users.end == 0 for stage in self.stages):
            raise ValueError("every stage has 0 users, so nothing would be sent; give one of them users")
        return self

    @property
    def duration_s(self) -> float:
        """Return how long users work, all stages together."""
        return sum(stage.duration for stage in self.stages)


def trace_lengths(load: OpenLoad | ClosedLoad) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the lengths of the requests and of the answers in a load's trace, in tokens; both empty without one."""
    trace = load.arrivals if isinstance(load, OpenLoad) else None
    return (trace.input_tokens, trace.output_tokens) if isinstance(trace, Trace) else ((), ())


class Polling(StrictModel):
    """The policy by which a job's status is asked for.

    `fixed`: each `every`. `backoff`: gaps grow by `factor` from `every` to `max_interval`. `shared`: each `every`,
    and less often if the polls of all jobs in flight would exceed the status limit. `long`: by `/status-sync`, whose
    response the endpoint holds until the job ends; as `shared` if the endpoint has no such operation, or while as
    many responses are held as its limit allows at once.
    """

    policy: Literal["fixed", "backoff", "shared", "long"] = "shared"
    """How the gap between two polls of a job is chosen."""
    every: Annotated[Seconds, Field(ge=0.001)] = 0.2
    """The gap; for `backoff` the first one."""
    factor: Annotated[float, Field(gt=1, le=10)] = 1.5
    """For `backoff`: the ratio of each gap to the one before."""
    max_interval: Annotated[Seconds, Field(ge=0.001)] = 5.0
    """For `backoff`: the longest gap."""
    give_up_after: Annotated[Seconds, Field(gt=0)] = 30.0
    """How long all polls of a job may fail before it is given up and cancelled; a 429 is not a failure."""
