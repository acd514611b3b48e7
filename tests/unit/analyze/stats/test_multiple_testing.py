from __future__ import annotations

import pytest

from loadtest.analyze.stats.multiple_testing import holm_levels, rejected


def test_levels_step_down_from_the_least_p_value() -> None:
    assert holm_levels([0.04, 0.001], 0.05) == pytest.approx([0.05, 0.025])
    assert holm_levels([0.04, 0.03], 0.05) == pytest.approx([0.025, 0.025])


def test_what_lies_below_its_level_is_rejected() -> None:
    assert rejected([0.01, 0.04, 0.03, 0.005], 0.05) == [0, 3]
    assert rejected([0.012, 0.001], 0.025) == [0, 1]
    assert rejected([], 0.05) == []
