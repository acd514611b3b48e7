from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.analyze.series import MAX_BINS, Series, series
from loadtest.analyze.stats.bins import bins_over, distribution, highest_supported, histogram_edges_ms
from loadtest.record.run import Ending, StageSpan
from loadtest.record.sample import HEALTH, REQUESTS, SAMPLES
from tests.unit.analyze.rows import START_AT, job, requests, run, run_data, samples, ten_jobs

NO_REQUESTS = REQUESTS.empty_table()


def test_rates_by_second() -> None:
    table = samples(
        job(0, 0.0),
        job(1, 0.5, finished_at=START_AT + 2.5),
        job(2, 1.0, outcome="failed", finished_at=START_AT + 3.2),
        job(3, 3.0, outcome="unreachable", finished_at=None, accepted_at=None),
        job(4, 4.0, outcome="censored", finished_at=None),
    )
    asked = requests((1000, 0, "status", 200, 4, 4), (1001, 1, "status", 200, 6, 6), (1001, 1, "status", 429, 1, 7))
    rates = series(run_data(run(offered={"run": [2, 1, 0, 1, 1], "stream": [1]}), table, asked)).rates
    assert rates.at_s == list(range(10))
    assert rates.offered[:6] == [3, 1, 0, 1, 1, 0]
    assert rates.sent[:6] == [2, 1, 0, 1, 1, 0]
    assert rates.completed[:4] == [1, 0, 1, 0]
    assert rates.failed[:5] == [0, 0, 0, 2, 0]
    assert rates.in_flight[:6] == [1, 2, 1, 0, 1, 1]
    assert rates.requests == {"status": [4.0, 7.0, *[0.0] * 8]}
    assert rates.throttled == {"status": [0.0, 1.0, *[0.0] * 8]}


def test_use_of_a_limit_is_the_fullest_10_seconds_that_end_in_a_bin() -> None:
    table = samples(job(0, 0.0), job(1, 25.0))
    asked = requests((1000, 0, "run", 200, 100, 100), (1005, 0, "run", 429, 50, 150), (1014, 0, "run", 200, 200, 250))
    rates = series(run_data(run(offered={"run": [1]}), table, asked)).rates
    use = [0.1] * 5 + [0.15] * 5 + [0.05] * 4 + [0.25] + [0.2] * 9
    assert rates.limit_use["run"][:24] == use
    assert rates.limit_use["run"][24:26] == [0.0, 0.0]


def test_an_operation_without_a_limit_has_no_use_of_one() -> None:
    rates = series(run_data(run(), samples(job(0, 0.0)), requests((1000, 0, "health", 200, 1, 1)))).rates
    assert rates.limit_use == {}
    assert list(rates.requests) == ["health"]


def test_a_run_that_was_cut_short_offered_nothing_after_its_end() -> None:
    cut = run(ending=Ending.INTERRUPTED, load_ended_at=START_AT + 2.5, ended_at=START_AT + 2.5,
              offered={"run": [4] * 10})  # fmt: skip
    rates = series(run_data(cut, samples(job(0, 0.0), job(1, 1.0)))).rates
    assert rates.offered == [4, 4, 4]


@pytest.mark.parametrize("into_second_s", [0.0, 0.25, 0.9])
def test_requests_count_in_each_bin_that_their_second_of_the_epoch_overlaps(into_second_s: float) -> None:
    starts_at = START_AT + into_second_s
    asked = requests(*((START_AT + second, 0, "status", 200, 100, 0) for second in range(11)))
    shifted = run(load_started_at=starts_at, load_ended_at=starts_at + 10, ended_at=starts_at + 10)
    reported = series(run_data(shifted, SAMPLES.empty_table(), asked)).rates.requests["status"]
    assert reported[1:9] == [100] * 8
    assert sum(reported) == 1100


def test_times_count_in_the_bin_of_their_intended_start() -> None:
    rows = [job(i, i / 100, delay_ms=i, finished_at=START_AT + 8) for i in range(100)]
    lone = job(100, 5.0, delay_ms=7)
    latencies = series(run_data(run(), samples(*rows, lone))).latencies
    assert latencies.jobs == [100, 0, 0, 0, 0, 1, 0, 0, 0, 0]
    assert (latencies.delay_ms.p50[0], latencies.delay_ms.p95[0], latencies.delay_ms.p99[0]) == (49, 94, 98)
    assert (latencies.delay_ms.p50[5], latencies.delay_ms.p50[1]) == (None, None)


def test_the_parts_of_the_mean_make_up_the_whole() -> None:
    mean = series(run_data(run(), ten_jobs())).latencies.mean
    assert {name: values[3] for name, values in mean.items()} == pytest.approx(
        {"send_lag": 10, "delay": 100, "execution": 200, "overhead": 50}
    )


@given(st.floats(0.01, 1e7))
def test_bins_are_few_and_cover_the_span(span_s: float) -> None:
    bins = bins_over(START_AT, span_s, MAX_BINS)
    assert 1 <= bins.count <= MAX_BINS
    assert bins.count * bins.width_s >= span_s - 0.01 * bins.width_s
    assert bins.lengths_s.min() > 0


@given(st.lists(st.floats(0, 100), min_size=1, max_size=50))
def test_every_event_is_in_one_bin(at: list[float]) -> None:
    bins = bins_over(0.0, 100.0, 7)
    rates = bins.per_second(np.array(at))
    assert sum(np.array(rates) * bins.lengths_s) == pytest.approx(len(at), abs=0.2)


def test_health_and_stages() -> None:
    health = HEALTH.empty_table().from_pylist([{"at": START_AT + 2, "in_queue": 3, "running": 1}], HEALTH)
    stages = [StageSpan("warm", 4), StageSpan("stage 2", 6)]
    drawn = series(run_data(run(stages=stages), ten_jobs(), health=health))
    assert [(stage.name, stage.start_s) for stage in drawn.stages] == [("warm", 0), ("stage 2", 4)]
    assert drawn.health is not None
    assert (drawn.health.at_s, drawn.health.in_queue, drawn.health.idle) == ([2.0], [3], [0])


def test_starts_count_in_the_bin_of_their_jobs_intended_start() -> None:
    rows = [job(seq, float(seq), worker_id="a", delay_ms=0) for seq in range(9)]
    starting = job(9, 4.5, worker_id="b", delay_ms=3000)
    starts = series(run_data(run(), samples(*rows, starting))).starts
    assert starts is not None
    assert (starts.warm, starts.cold) == ([1] * 9 + [0], [0] * 4 + [1] + [0] * 5)
    assert series(run_data(run(), samples(job(0, 0.0, worker_id=None)))).starts is None


def test_nothing_recorded_can_still_be_written() -> None:
    drawn = series(run_data(run(), SAMPLES.empty_table(), health=HEALTH.empty_table()))
    assert (drawn.outcomes, drawn.health, drawn.throughput_per_s) == ({}, None, 0)
    assert msgspec.json.decode(msgspec.json.encode(drawn), type=Series) == drawn


@pytest.mark.parametrize("n", [1, 5, 6, 100, 5000])
def test_percentile_curve_ends_at_the_highest_that_n_supports(n: int) -> None:
    values = np.arange(1.0, n + 1)
    drawn = distribution(values, histogram_edges_ms(values))
    assert sum(drawn.counts) == drawn.n == n
    assert len(drawn.percent) <= 200
    if n < 6:
        assert drawn.value_ms == []
    else:
        assert drawn.percent[-1] / 100 == pytest.approx(highest_supported(n), abs=1e-6)
        assert drawn.percent == sorted(drawn.percent)


@given(st.integers(2, 100_000))
def test_the_highest_supported_percentile_is_the_one_that_n_bounds(n: int) -> None:
    assert highest_supported(n) ** n == pytest.approx(0.025)


@given(st.lists(st.floats(0, 1e6) | st.just(math.nan), min_size=1, max_size=200))
def test_a_histogram_loses_no_job(values: list[float]) -> None:
    array = np.array(values)
    edges = histogram_edges_ms(array)
    drawn = distribution(array, edges)
    assert sum(drawn.counts) == np.count_nonzero(~np.isnan(array))
    assert np.all(np.diff(edges) > 0)
