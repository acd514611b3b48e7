from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.traffic.arrivals import draw_schedule, max_in_window
from loadtest.traffic.settings import OpenLoad


def load(*stages: tuple[str, str], arrivals: Any = "poisson") -> OpenLoad:
    return OpenLoad.model_validate({"arrivals": arrivals, "stages": [{"rate": r, "for": d} for r, d in stages]})


def times(*stages: tuple[str, str], arrivals: Any = "poisson", seed: int = 1) -> Any:
    return draw_schedule(load(*stages, arrivals=arrivals), {"run": 1.0}, seed).at_s


def cv(gaps: Any) -> float:
    return float(np.std(gaps) / np.mean(gaps))


def test_constant_arrivals_are_exact() -> None:
    assert times(("4/s", "1s"), arrivals="constant").tolist() == [0.0, 0.25, 0.5, 0.75]
    assert len(times(("50/s", "60s"), arrivals="constant")) == 3000


def test_a_constant_ramp_crosses_each_count_when_the_rate_says() -> None:
    # rate t, so t^2/2 jobs by t: the n-th (from 0) comes at sqrt(2 n)
    ramp = times(("0/s to 10/s", "10s"), arrivals="constant")
    assert ramp == pytest.approx(np.sqrt(2 * np.arange(50)))


def test_a_ramp_down_to_nothing_keeps_its_count() -> None:
    assert len(times(("10/s to 0/s", "10s"), arrivals="constant")) == 50


@pytest.mark.parametrize(
    ("arrivals", "expected"), [("poisson", 1.0), ({"gamma_cv": 0.5}, 0.5), ({"gamma_cv": 2}, 2.0)]
)
def test_gaps_have_the_requested_variation(arrivals: Any, expected: float) -> None:
    at_s = times(("1000/s", "100s"), arrivals=arrivals)
    assert cv(np.diff(at_s)) == pytest.approx(expected, rel=0.03)
    assert len(at_s) == pytest.approx(100_000, rel=0.02)


def test_a_stage_without_a_rate_has_no_arrivals() -> None:
    at_s = times(("10/s", "5s"), ("0/s", "5s"), ("10/s", "5s"))
    assert not ((at_s > 5) & (at_s < 10)).any()
    assert (at_s >= 10).any()


def test_a_trace_is_played_at_its_speed_until_the_load_is_over() -> None:
    trace = {"file": "t.csv", "times": [0, 1, 2, 30], "speed": 2}
    assert times(("1/s", "10s"), arrivals=trace).tolist() == [0, 0.5, 1.0]


def test_shares_assign_the_flows_and_do_not_change_the_times() -> None:
    one = draw_schedule(load(("100/s", "100s")), {"run": 1.0}, seed=7)
    two = draw_schedule(load(("100/s", "100s")), {"run": 0.25, "runsync": 0.75}, seed=7)
    assert (one.at_s == two.at_s).all()
    assert (two.flow == 1).mean() == pytest.approx(0.75, abs=0.02)
    assert sum(two.per_second("run")) + sum(two.per_second("runsync")) == len(two)


def test_each_arrival_has_the_stage_of_its_time() -> None:
    plan = draw_schedule(load(("10/s", "5s"), ("20/s", "5s")), {"run": 1.0}, seed=1)
    assert (plan.stage == (plan.at_s >= 5)).all()


rates = st.integers(0, 50).map(lambda rate: f"{rate}/s")
spans = st.integers(1, 20).map(lambda span: f"{span}s")
kinds = st.sampled_from(["constant", "poisson", {"gamma_cv": 0.3}, {"gamma_cv": 3}])


@given(st.lists(st.tuples(rates, rates, spans), min_size=1, max_size=4), kinds, st.integers(0, 2**40))
def test_a_schedule_is_in_order_within_the_load_and_drawn_from_its_seed(stages: Any, kind: Any, seed: int) -> None:
    stages = [*((f"{a} to {b}", span) for a, b, span in stages), ("1/s", "1s")]
    whole = load(*stages, arrivals=kind)
    at_s = draw_schedule(whole, {"run": 1.0}, seed).at_s
    assert (np.diff(at_s) >= 0).all()
    assert not len(at_s) or (at_s[0] >= 0 and at_s[-1] < whole.duration_s + 1e-6)
    assert (draw_schedule(whole, {"run": 1.0}, seed).at_s == at_s).all()


def test_a_ramp_from_nothing_stays_in_order_through_rounding() -> None:
    at_s = times(("0/s to 47/s", "9s"), ("1/s", "1s"), arrivals={"gamma_cv": 3}, seed=0)
    assert (np.diff(at_s) >= 0).all()


def test_another_seed_is_another_schedule() -> None:
    assert times(("10/s", "10s"), seed=1).tolist() != times(("10/s", "10s"), seed=2).tolist()


@given(st.lists(st.floats(0, 100), max_size=60), st.floats(0.1, 50))
def test_max_in_window_counts_every_half_open_interval(at: list[float], span: float) -> None:
    ordered = np.sort(np.array(at, dtype=float))
    counted = max((sum(start <= other < start + span for other in at) for start in at), default=0)
    assert max_in_window(ordered, span) == counted
