from __future__ import annotations

import time

import pytest

from loadtest.clock import WallClock


@pytest.mark.parametrize("counts_suspension", [False, True])
def test_a_step_of_the_wall_clock_moves_no_clock_that_was_read_before(
    monkeypatch: pytest.MonkeyPatch, counts_suspension: bool
) -> None:
    clock = WallClock(counts_suspension)
    assert clock.now() == pytest.approx(time.time(), abs=1.0)
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 3600.0)
    assert clock.now() == pytest.approx(real(), abs=1.0)
    assert clock.shifted(-75.0).now() == pytest.approx(clock.now() - 75.0, abs=1.0)
    assert clock.shifted(10.0).shifted(-10.0).now() == pytest.approx(clock.now(), abs=1.0)


def test_a_clock_that_counts_suspension_goes_on_while_the_machine_is_suspended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = time.clock_gettime
    steady, counting = WallClock(), WallClock(counts_suspension=True)
    monkeypatch.setattr(time, "clock_gettime", lambda clock: real(clock) + 600.0)
    assert steady.now() == pytest.approx(time.time(), abs=1.0)
    if hasattr(time, "CLOCK_BOOTTIME"):
        assert counting.now() == pytest.approx(time.time() + 600.0, abs=1.0)
