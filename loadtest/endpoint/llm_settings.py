"""The settings of a simulated LLM: its speeds, alone and with other jobs in hand, and how long its answers are."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Annotated

import numpy as np
from pydantic import BeforeValidator, Discriminator, Field, Tag

from loadtest.endpoint.distributions import BLOCK, from_plain, kind_of
from loadtest.endpoint.slowdown import Slowdown
from loadtest.units import Seconds, StrictModel

MAX_TOKENS = 100_000
"""The most tokens of an answer."""
TokenCount = Annotated[int, Field(ge=1, le=MAX_TOKENS)]


class FixedTokens(StrictModel):
    """A number of tokens that is always the same."""

    constant: TokenCount
    """The number."""

    def mean(self) -> float:
        """Return the mean."""
        return float(self.constant)


class LogNormalTokens(StrictModel):
    """A log-normal number of tokens, by its median and `sigma`, the standard deviation of its natural logarithm."""

    median: Annotated[float, Field(ge=1, le=MAX_TOKENS, examples=[128])]
    """Half of the numbers are smaller."""
    sigma: Annotated[float, Field(gt=0, le=4, examples=[0.6])]
    """The standard deviation of the number's natural logarithm."""

    def mean(self) -> float:
        """Return the mean, before rounding: median · exp(sigma² / 2)."""
        return self.median * math.exp(self.sigma**2 / 2)


class MeasuredTokens(StrictModel):
    """Numbers of tokens drawn with equal probability from measured values."""

    values: Annotated[tuple[TokenCount, ...], Field(min_length=1)]
    """The measured numbers."""

    def mean(self) -> float:
        """Return the mean."""
        return float(np.mean(self.values))


TokenCounts = Annotated[
    Annotated[FixedTokens, Tag("constant")]
    | Annotated[LogNormalTokens, Tag("log-normal")]
    | Annotated[MeasuredTokens, Tag("measured")],
    Discriminator(kind_of),
    BeforeValidator(
        from_plain, json_schema_input_type=int | tuple[int, ...] | FixedTokens | LogNormalTokens | MeasuredTokens
    ),
]
"""How a number of tokens varies: 128, `{median: 128, sigma: 0.6}`, or a list of measured numbers."""


class Llm(StrictModel):
    """A simulated LLM behind each worker, which answers and streams as a worker of vLLM does.

    A job is in prefill for `overhead` and `prefill` for each token of its input; then its first token comes, and each
    other one `decode` later. Both are slower while its worker has other jobs. A token of an input is a word.
    """

    model: Annotated[str, Field(min_length=1, max_length=200)] = "simulated"
    """The name in the list of models, and in answers to requests that name none."""
    overhead: Seconds = 0.0
    """From the start of the work to prefill."""
    prefill: Seconds = 0.0001
    """The time in prefill for each token of the input, if the job is alone."""
    decode: Annotated[Seconds, Field(gt=0)] = 0.02
    """From one token of the output to the next, if the job is alone."""
    prefill_slowdown: Slowdown = {}
    """How many times as long overhead and prefill take while the worker has 1, 2 … jobs, such as `{"8": 2.1}`."""
    decode_slowdown: Slowdown = {}
    """How many times as long decoding takes while the worker has 1, 2 … jobs, such as `{"8": 1.05}`."""
    output_tokens: TokenCounts = LogNormalTokens(median=128, sigma=0.6)
    """The length of an answer, cut at the request's `max_tokens`, which it reaches with `ignore_eos: true`."""

    def mean_s(self) -> float:
        """Return the mean time of a job alone, without the prefill of its input, in seconds."""
        return self.overhead + (self.output_tokens.mean() - 1) * self.decode


def output_lengths(counts: TokenCounts, rng: np.random.Generator) -> Iterator[int]:
    """Yield numbers of tokens, at least 1; the sequence depends on nothing but the generator."""
    while True:
        match counts:
            case FixedTokens():
                drawn = np.full(BLOCK, counts.constant)
            case LogNormalTokens():
                drawn = counts.median * np.exp(counts.sigma * rng.standard_normal(BLOCK))
            case MeasuredTokens():
                drawn = np.array(counts.values)[rng.integers(len(counts.values), size=BLOCK)]
        yield from np.maximum(1, np.rint(drawn)).astype(int).tolist()
