from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from loadtest.analyze.jobs import JobColumns, LoadWindow, jobs_of
from loadtest.analyze.stats.hypothesis_tests import trend
from loadtest.analyze.steady import SteadyWindow, steady_window, warm_up_length
from loadtest.analyze.summarize import summarize
from loadtest.record.sample import REQUESTS, SAMPLES
from loadtest.scenario.model import Scenario
from tests.unit.analyze.noise import autoregressive
from tests.unit.analyze.rows import START_AT, job, run, run_data, samples, scenario

LENGTH_S = 100.0
SEEDS = 200
STEADY = scenario(load={"stages": [{"rate": "20/s", "for": "100s"}]})


def jobs_with(times_ms: NDArray[np.float64], length_s: float = LENGTH_S) -> JobColumns:
    """Completed jobs, evenly spaced over the load, that took so long from their intended start."""
    empty = jobs_of(SAMPLES.empty_table())
    n = len(times_ms)
    columns: dict[str, Any] = {name: np.full(n, np.nan) for name in vars(empty)}
    columns |= {
        "seq": np.arange(n),
        "flow": np.zeros(n, int),
        "outcome": np.zeros(n, int),
        "accepted": np.ones(n, bool),
    }
    columns["intended_at"] = START_AT + np.arange(n) * length_s / n
    columns["finished_at"] = columns["intended_at"] + times_ms / 1000
    return JobColumns(**columns)


def found(times_ms: NDArray[np.float64], asked: Scenario = STEADY) -> SteadyWindow:
    return steady_window(asked, jobs_with(times_ms), LoadWindow(START_AT, START_AT + LENGTH_S))


def noisy(seed: int, rho: float, middle_ms: NDArray[np.float64] | float, n: int = 2000) -> NDArray[np.float64]:
    times: NDArray[np.float64] = middle_ms * np.exp(0.4 * autoregressive(np.random.default_rng(seed), n, rho))
    return times


@pytest.mark.parametrize("n", [480, 2000])
@pytest.mark.parametrize("rho", [0.0, 0.5])
def test_noise_is_steady_in_nearly_every_run(rho: float, n: int) -> None:
    windows = [found(noisy(seed, rho, 300.0, n)).window for seed in range(SEEDS)]
    kept = [window.duration_s / LENGTH_S for window in windows if window is not None]
    assert len(kept) / SEEDS >= 0.95
    assert np.median(kept) > 0.97


@pytest.mark.parametrize("rho", [0.0, 0.5])
def test_a_warm_up_is_cut_and_what_follows_is_steady(rho: float) -> None:
    at_s = np.arange(2000) * LENGTH_S / 2000
    warming = 300 * (1 + 5 * np.exp(-at_s / 5))
    windows = [found(noisy(seed, rho, warming)).window for seed in range(SEEDS)]
    starts_s = [window.start_at - START_AT for window in windows if window is not None]
    assert len(starts_s) / SEEDS >= 0.95
    # At 8 s times are still twice what they will be, and from 25 s on within 4 % of it.
    assert np.quantile(starts_s, 0.05) > 8
    assert np.quantile(starts_s, 0.95) < 30


@pytest.mark.parametrize("times", [3, 1 / 3])
@pytest.mark.parametrize("rho", [0.0, 0.5])
def test_a_trend_all_through_is_no_steady_state(rho: float, times: float) -> None:
    drifting = 300 * times ** np.linspace(0, 1, 2000)
    answers = [found(noisy(seed, rho, drifting)) for seed in range(SEEDS)]
    assert sum(answer.window is not None for answer in answers) / SEEDS <= 0.05
    assert all(answer.detail.endswith(".") for answer in answers)


def test_a_trend_too_small_to_matter_is_none_however_many_jobs_show_it() -> None:
    assert found(noisy(1, 0.0, 300 * np.linspace(1, 1.02, 200_000), 200_000)).window is not None


def test_a_queue_that_grows_names_its_growth() -> None:
    answer = found(noisy(3, 0.5, 300 * np.linspace(1, 40, 2000)))
    assert answer.window is None
    assert answer.detail.startswith("End-to-end times ")


def queued(seed: int, load: float, n: int) -> NDArray[np.float64]:
    """Times in a queue that starts empty and has one worker (Lindley 1952), in milliseconds; `n` jobs in 100 s."""
    rng = np.random.default_rng(seed)
    gap_ms = LENGTH_S * 1000 / n
    each_ms = rng.exponential(load * gap_ms, n)
    steps = np.concatenate([[0.0], np.cumsum(each_ms[:-1] - rng.exponential(gap_ms, n - 1))])
    times: NDArray[np.float64] = steps - np.minimum.accumulate(steps) + each_ms
    return times


def test_a_queue_that_keeps_up_is_steady_in_nearly_every_run() -> None:
    answers = [found(queued(seed, 0.8, 5000)) for seed in range(SEEDS)]
    assert sum(answer.window is not None for answer in answers) / SEEDS >= 0.95


def test_a_queue_with_a_twentieth_too_much_is_hardly_ever_steady() -> None:
    answers = [found(queued(seed, 1.05, 5000)) for seed in range(SEEDS)]
    assert sum(answer.window is not None for answer in answers) / SEEDS <= 0.1


def test_times_that_hardly_change_within_a_run_are_too_short_to_judge_rather_than_a_trend() -> None:
    answers = [found(noisy(seed, 0.99, 300.0)) for seed in range(SEEDS)]
    assert sum(answer.too_short for answer in answers) / SEEDS >= 0.2
    assert sum(answer.window is None and not answer.too_short for answer in answers) / SEEDS <= 0.05
    assert all("independent" in answer.detail for answer in answers if answer.too_short)


def test_jobs_that_never_end_are_no_steady_state() -> None:
    jobs = jobs_with(noisy(1, 0.0, 300.0))
    never = jobs.seq % 10 == 0
    jobs = replace(jobs, outcome=np.where(never, -1, 0), finished_at=np.where(never, np.nan, jobs.finished_at))
    answer = steady_window(STEADY, jobs, LoadWindow(START_AT, START_AT + LENGTH_S))
    assert (answer.window, answer.detail[:17]) == (None, "The backlog grew:")


def test_the_window_lies_in_the_longest_stage_of_constant_load() -> None:
    stages = [{"rate": "5/s", "for": "20s"}, {"rate": "5/s to 20/s", "for": "40s"}, {"rate": "20/s", "for": "40s"}]
    window = found(noisy(1, 0.0, 300.0), scenario(load={"stages": stages})).window
    assert window is not None
    assert window.end_at == START_AT + LENGTH_S
    assert window.start_at >= START_AT + 60


@pytest.mark.parametrize(
    "load",
    [
        {"stages": [{"rate": "1/s to 20/s", "for": "100s"}]},
        {"model": "closed", "stages": [{"users": "1 to 20", "for": "100s"}]},
        {"stages": [{"rate": "0/s", "for": "50s"}, {"rate": "1/s to 20/s", "for": "50s"}]},
    ],
)
def test_a_ramp_has_no_steady_state(load: dict[str, Any]) -> None:
    answer = found(noisy(1, 0.0, 300.0), scenario(load=load))
    assert (answer.window, answer.detail[:31]) == (None, "No stage has a constant load, s")


def test_a_closed_load_and_a_trace_can_be_steady() -> None:
    for load in (
        {"model": "closed", "stages": [{"users": 9, "for": "100s"}]},
        {"arrivals": {"times": [1.0, 2.0]}, "stages": [{"rate": "1/s to 2/s", "for": "100s"}]},
    ):
        assert found(noisy(1, 0.0, 300.0), scenario(load=load)).window is not None


def test_a_few_jobs_tell_nothing() -> None:
    answer = found(noisy(1, 0.0, 300.0, 199))
    assert (answer.window, answer.detail, answer.too_short) == (
        None, "n too small: 199 jobs completed in the stage, 200 are needed.", True,
    )  # fmt: skip


def test_cut_has_the_least_squared_standard_error() -> None:
    values = np.concatenate([np.linspace(9, 1, 50), np.tile([0.9, 1.1], 75)])
    means = values.reshape(-1, 5).mean(axis=1)
    errors = [np.var(means[d:]) / (len(means) - d) for d in range(24)]
    assert warm_up_length(values) == 5 * int(np.argmin(errors))


def test_trend_is_reported_with_its_size() -> None:
    rising = trend(np.log(np.linspace(100, 150, 25)))
    assert rising.p_value < 1e-3
    assert rising.change == pytest.approx(0.5, abs=0.03)
    level = trend(np.zeros(25))
    assert (level.p_value, level.change) == (pytest.approx(1.0), 0.0)


def test_summary_has_the_whole_run_and_the_steady_window() -> None:
    rng = np.random.default_rng(1)
    rows = []
    for seq in range(1000):
        wait_s = 3.0 if seq < 100 else float(rng.uniform(0.3, 0.4))
        at = seq / 10
        rows.append(job(seq, at, finished_at=START_AT + at + wait_s))
    asked = scenario(load={"stages": [{"rate": "10/s", "for": "100s"}]})
    of = run(asked, offered={"run": [10] * 100}, load_ended_at=START_AT + 100, ended_at=START_AT + 103)
    summary = summarize(run_data(of, samples(*rows), REQUESTS.empty_table()))
    steady = summary.steady
    assert steady.found
    assert steady.start_s == pytest.approx(10, abs=1)
    assert steady.end_s == 100
    assert summary.flows["run"].end_to_end_ms.max == pytest.approx(3000)
    whole, part = summary.flows["run"], steady.flows["run"]
    assert part.end_to_end_ms.max == pytest.approx(400, abs=1)
    assert part.jobs == pytest.approx(900, abs=5)
    # Jobs that were meant for before complete in the window, and count for its throughput over its own time.
    assert part.throughput_per_s > 10 > whole.throughput_per_s > 9.9
    assert steady.arrivals is not None
    assert (steady.arrivals.offered_per_s, steady.arrivals.achieved_per_s) == (10, 10)
