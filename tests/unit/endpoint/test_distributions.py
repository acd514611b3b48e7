"""Sampled times have the requested distribution."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest
from pydantic import TypeAdapter

from loadtest.endpoint.distributions import BLOCK, Constant, Distribution, Empirical, LogNormal, sample, sample_stream

distribution = TypeAdapter[Constant | LogNormal | Empirical](Distribution).validate_python


def test_a_constant_does_not_vary() -> None:
    assert sample(distribution("200ms"), 5, np.random.default_rng(1)).tolist() == [0.2] * 5


def test_a_log_normal_has_its_median_and_the_sigma_of_its_logarithm() -> None:
    times = sample(distribution({"median": "2s", "sigma": 0.5}), 100_000, np.random.default_rng(1))
    assert np.median(times) == pytest.approx(2.0, rel=0.01)
    assert np.std(np.log(times)) == pytest.approx(0.5, rel=0.01)


def test_measured_values_come_equally_often() -> None:
    times = sample(distribution(["1s", "2s", "4s"]), 30_000, np.random.default_rng(1))
    values, counts = np.unique(times, return_counts=True)
    assert values.tolist() == [1.0, 2.0, 4.0]
    assert counts == pytest.approx([10_000] * 3, rel=0.03)


def test_a_sample_stream_continues_over_its_blocks() -> None:
    times = list(
        islice(sample_stream(distribution({"median": "2s", "sigma": 0.5}), np.random.default_rng(1)), 2 * BLOCK + 10)
    )
    assert len(set(times)) == 2 * BLOCK + 10
