"""What can be set of a measured search: how far it goes, and how closely it looks."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field, PlainSerializer, WithJsonSchema

from loadtest.units import Fraction, Seconds, StrictModel, per_second, per_second_text

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
