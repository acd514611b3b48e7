"""Distributions of times, and samples of them in blocks, since one call per value costs more than the value."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from loadtest.units import FromFile, Seconds, StrictModel

BLOCK = 4096  # the number of values that are drawn at once


class Constant(StrictModel):
    """A time that is always the same."""

    constant: Seconds
    """The time."""

    def mean_s(self) -> float:
        """Return the mean in seconds."""
        return self.constant


class LogNormal(StrictModel):
    """A log-normal time, by its median and `sigma`, the standard deviation of its natural logarithm."""

    median: Seconds
    """Half of the times are shorter."""
    sigma: Annotated[float, Field(gt=0, le=4, examples=[0.3])]
    """The standard deviation of the time's natural logarithm; 0.5 puts the p95 at 2.3 medians."""

    def mean_s(self) -> float:
        """Return the mean in seconds: median · exp(sigma² / 2)."""
        return self.median * math.exp(self.sigma**2 / 2)


class Empirical(FromFile):
    """Times drawn with equal probability from measured values."""

    content = "values"
    values: tuple[Seconds, ...] = ()
    """The measured times, in place of `file`."""
    file: Path | None = None
    """A file of times with units, one per line, named from the scenario's folder."""

    @model_validator(mode="after")
    def _has_values(self) -> Empirical:
        if not self.values:
            raise ValueError('no times to draw from; write values like ["1.2s", "0.9s"], or name a file of them')
        return self

    def mean_s(self) -> float:
        """Return the mean in seconds."""
        return float(np.mean(self.values))


def from_plain(value: object) -> object:
    """Return a plain value as the settings of a constant, and a list as those of measured values."""
    if isinstance(value, (str, int, float)):
        return {"constant": value}
    if isinstance(value, (list, tuple)):
        return {"values": value}
    return value


def kind_of(value: object) -> str:
    """Return the tag of the settings that these are: constant, log-normal or measured."""
    keys = value if isinstance(value, dict) else getattr(value, "__dict__", {})
    if "values" in keys or "file" in keys:
        return "measured"
    return "log-normal" if "median" in keys or "sigma" in keys else "constant"


Distribution = Annotated[
    Annotated[Constant, Tag("constant")]
    | Annotated[LogNormal, Tag("log-normal")]
    | Annotated[Empirical, Tag("measured")],
    Discriminator(kind_of),
    BeforeValidator(
        from_plain,
        json_schema_input_type=Seconds | tuple[Seconds, ...] | Constant | LogNormal | Empirical,
    ),
]
"""How a time varies: "200ms", `{median: 200ms, sigma: 0.5}`, a list of measured times, or a file of them."""


def sample(distribution: Distribution, count: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return `count` times in seconds: constant, median · exp(sigma · Z), Z standard normal, or drawn from values."""
    match distribution:
        case Constant():
            return np.full(count, distribution.constant)
        case LogNormal():
            return distribution.median * np.exp(distribution.sigma * rng.standard_normal(count))
        case Empirical():
            return np.array(distribution.values)[rng.integers(len(distribution.values), size=count)]


def sample_stream(distribution: Distribution, rng: np.random.Generator) -> Iterator[float]:
    """Yield times in seconds; the sequence depends on nothing but the generator."""
    while True:
        yield from sample(distribution, BLOCK, rng).tolist()
