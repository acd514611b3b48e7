"""How lengths of inputs and of answers vary: the settings, and a length drawn for a job."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Annotated, Any, TypeVar

import numpy as np
from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from loadtest.units import StrictModel

MAX_LENGTH = 1_000_000
Length = Annotated[int, Field(ge=1, le=MAX_LENGTH)]
_NORMAL = NormalDist()


class FixedLength(StrictModel):
    """A length that is always the same."""

    constant: Length
    """The length."""

    def __str__(self) -> str:
        return f"{self.constant:,}"


class UniformLengths(StrictModel):
    """Lengths between two limits, each as likely as the others."""

    min: Length
    """The shortest."""
    max: Length
    """The longest."""

    @model_validator(mode="after")
    def _has_a_range(self) -> UniformLengths:
        return _with_range(self)

    def __str__(self) -> str:
        return f"{self.min:,} to {self.max:,}"


class LogNormalLengths(StrictModel):
    """Log-normal lengths within limits, by the median and `sigma`, the standard deviation of the natural logarithm.

    Lengths outside the limits are never drawn, so that limits close to the median change the median as well.
    """

    median: Annotated[float, Field(ge=1, le=MAX_LENGTH, examples=[400])]
    """Half of the lengths are shorter, without the limits."""
    sigma: Annotated[float, Field(gt=0, le=4, examples=[0.8])]
    """The standard deviation of the length's natural logarithm."""
    min: Length = 1
    """The shortest."""
    max: Length = MAX_LENGTH
    """The longest."""

    @model_validator(mode="after")
    def _has_a_range(self) -> LogNormalLengths:
        return _with_range(self)

    def __str__(self) -> str:
        return f"log-normal of median {self.median:g} and sigma {self.sigma:g}, {self.min:,} to {self.max:,}"


class MeasuredLengths(StrictModel):
    """Lengths drawn with equal probability from measured ones."""

    values: Annotated[tuple[Length, ...], Field(min_length=1)]
    """The measured lengths."""

    def __str__(self) -> str:
        return f"one of {len(self.values):,} measured, mean {float(np.mean(self.values)):.4g}"


Range = TypeVar("Range", UniformLengths, LogNormalLengths)


def _with_range(lengths: Range) -> Range:
    if lengths.min > lengths.max:
        raise ValueError(f"min is {lengths.min} and max is {lengths.max}; write the smaller number as min")
    return lengths


def _from_plain(value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool):
        return {"constant": value}
    return {"values": value} if isinstance(value, (list, tuple)) else value


def _kind(value: Any) -> str:
    keys = value if isinstance(value, dict) else getattr(value, "__dict__", {})
    for key, kind in (("constant", "constant"), ("values", "measured"), ("median", "log-normal")):
        if key in keys:
            return kind
    return "log-normal" if "sigma" in keys else "uniform"


Lengths = Annotated[
    Annotated[FixedLength, Tag("constant")]
    | Annotated[UniformLengths, Tag("uniform")]
    | Annotated[LogNormalLengths, Tag("log-normal")]
    | Annotated[MeasuredLengths, Tag("measured")],
    Discriminator(_kind),
    BeforeValidator(
        _from_plain,
        json_schema_input_type=(
            int | tuple[int, ...] | FixedLength | UniformLengths | LogNormalLengths | MeasuredLengths
        ),
    ),
]
"""How lengths vary: 400, `{median: 400, sigma: 0.8, max: 8000}`, `{min: 16, max: 512}`, or a list."""


def draw_length(lengths: Lengths, rng: np.random.Generator) -> int:
    """Return one length; of a log-normal one by the inverse of its distribution between the limits."""
    match lengths:
        case FixedLength():
            return lengths.constant
        case UniformLengths():
            return int(rng.integers(lengths.min, lengths.max, endpoint=True))
        case MeasuredLengths():
            return lengths.values[int(rng.integers(len(lengths.values)))]
    # A length is rounded, so its limits reach half a token further.
    low, high = (
        _NORMAL.cdf(math.log(limit / lengths.median) / lengths.sigma)
        for limit in (lengths.min - 0.5, lengths.max + 0.5)
    )
    share = low + (high - low) * rng.random()
    if not 0 < share < 1:  # limits so far out in a tail that all of it is one number
        return lengths.max if lengths.median > lengths.max else lengths.min
    length = round(lengths.median * math.exp(lengths.sigma * _NORMAL.inv_cdf(share)))
    return min(max(length, lengths.min), lengths.max)
