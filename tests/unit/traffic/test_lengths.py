"""Lengths drawn for jobs: the distribution of the scenario, within its limits."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError

from loadtest.traffic.lengths import Lengths, draw_length

READ: TypeAdapter[Lengths] = TypeAdapter(Lengths)


def drawn(described: object, count: int = 4000) -> np.ndarray:
    rng = np.random.default_rng(7)
    lengths = READ.validate_python(described)
    return np.array([draw_length(lengths, rng) for _ in range(count)])


def test_log_normal_lengths_have_the_median_and_the_sigma_that_are_asked_for() -> None:
    logs = np.log(drawn({"median": 400, "sigma": 0.8}))
    assert np.exp(np.median(logs)) == pytest.approx(400, rel=0.05)
    assert logs.std() == pytest.approx(0.8, rel=0.05)


def test_lengths_outside_the_limits_are_never_drawn_and_do_not_gather_at_them() -> None:
    lengths = drawn({"median": 400, "sigma": 1, "min": 100, "max": 800})
    assert lengths.min() >= 100
    assert lengths.max() <= 800
    # Cut off at its limits, the distribution would have a quarter of its lengths at the upper one.
    assert np.mean(lengths == 800) < 0.01
    assert np.mean(lengths == 100) < 0.01


@pytest.mark.parametrize("limits", [{"min": 900_000, "max": 900_010}, {"min": 1, "max": 2}])
def test_limits_far_out_in_a_tail_are_kept(limits: dict[str, int]) -> None:
    for median in (1, 1_000_000):
        lengths = drawn({"median": median, "sigma": 0.01, **limits}, 50)
        assert set(lengths) <= set(range(limits["min"], limits["max"] + 1))


def test_other_forms_of_lengths() -> None:
    assert set(drawn(128, 20)) == {128}
    assert set(drawn({"min": 3, "max": 5}, 200)) == {3, 4, 5}
    assert set(drawn([7, 70, 700], 200)) == {7, 70, 700}


@pytest.mark.parametrize(
    ("described", "says"),
    [
        ({"min": 9, "max": 3}, "min is 9 and max is 3"),
        ({"median": 9, "sigma": 1, "min": 9, "max": 3}, "write the smaller number as min"),
        ({"median": 9}, "sigma"),
        (0, "greater than or equal to 1"),
        ([], "at least 1 item"),
    ],
)
def test_what_is_no_distribution_of_lengths_is_refused(described: object, says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        READ.validate_python(described)
