"""The gaps between tokens are those between arrivals of content, and a job that lacks some is said to."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.analyze.gaps import TokenGaps, token_gaps
from loadtest.analyze.jobs import jobs_of
from loadtest.analyze.stats.effective_number import effective_pooled
from loadtest.analyze.stats.quantiles import quantiles
from loadtest.record.sample import ChunkSeen
from tests.unit.analyze.rows import NO_CHUNKS, START_AT, chunks, job, samples


def streamed(seq: int, first_s: float | None, last_s: float | None, **changes: Any) -> dict[str, Any]:
    content = {
        "first_content_at": None if first_s is None else START_AT + first_s,
        "last_content_at": None if last_s is None else START_AT + last_s,
    }
    return job(seq, 0.0, flow="openai", **content, **changes)


def seen(seq: int, *arrivals: tuple[float, int]) -> list[tuple[int, ChunkSeen]]:
    return [(seq, ChunkSeen(START_AT + at, pieces)) for at, pieces in arrivals]


def gaps_of(rows: list[dict[str, Any]], table: pa.Table) -> TokenGaps:
    return token_gaps(jobs_of(samples(*rows)), table)


def test_a_gap_is_between_neighbouring_arrivals_of_content_in_any_order_of_the_rows() -> None:
    table = chunks(
        *seen(2, (0.9, 1), (0.5, 2)), *seen(1, (0.1, 0), (0.2, 1), (0.2, 1), (0.25, 5), (0.4, 1), (0.6, 0))
    )
    gaps = gaps_of([streamed(2, 0.5, 0.9), streamed(1, 0.2, 0.4), streamed(3, None, None, output_tokens=1)], table)
    assert gaps.known.values_ms == pytest.approx([400, 50, 150])
    assert gaps.known.counts.tolist() == [1, 2, 0]
    assert gaps.whole.all()


@pytest.mark.parametrize(
    ("row", "why"),
    [
        (streamed(1, 0.2, 0.4, outcome="failed"), "more could have come"),
        (streamed(1, 0.2, 0.9), "a chunk is missing"),
        (streamed(1, None, None), "no chunk says what it holds"),
        (streamed(1, None, None, output_tokens=2), "it was not streamed"),
    ],
)
def test_a_job_with_gaps_that_are_not_known_lacks_as_many_as_others_have(row: dict[str, Any], why: str) -> None:
    others = [streamed(seq, 0.1, 0.5, output_tokens=5) for seq in (2, 3)]
    table = chunks(
        *seen(1, (0.2, 1), (0.4, 1)), *(e for s in (2, 3) for e in seen(s, *((k / 10, 1) for k in range(1, 6))))
    )
    gaps = gaps_of([row, *others], table)
    assert gaps.whole.tolist() == [False, True, True], why
    pooled = gaps.of(np.array([1, 0]))
    known = 0 if row["first_content_at"] is None else 1
    assert pooled.counts.tolist() == [4, 4]
    assert np.isnan(pooled.values_ms).tolist() == [False] * (4 + known) + [True] * (4 - known)


def test_chunks_of_older_runs_say_nothing_of_content() -> None:
    table = chunks(*seen(1, (0.2, 1), (0.4, 1))).drop(["pieces"])
    table = table.append_column("pieces", pa.nulls(2, pa.int32()))
    gaps = gaps_of([streamed(1, 0.2, 0.4)], table)
    assert (len(gaps.known.values_ms), gaps.whole.tolist()) == (0, [False])
    assert gaps_of([], NO_CHUNKS).of(np.array([], int)).jobs == 0


@given(st.lists(st.tuples(st.integers(0, 6), st.booleans()), max_size=8))
def test_each_job_keeps_its_own_gaps(counts: list[tuple[int, bool]]) -> None:
    rows, table = [], []
    for seq, (n, completed) in enumerate(counts):
        arrivals = [(seq + k / 10, 1) for k in range(n + 1)]
        rows.append(streamed(seq, arrivals[0][0], arrivals[-1][0], outcome="completed" if completed else "failed"))
        table += seen(seq, *arrivals)
    gaps = gaps_of(rows, chunks(*table))
    order = np.arange(len(counts))[::-1]
    pooled = gaps.of(order)
    for place, index in enumerate(order):
        n, completed = counts[index]
        start = pooled.starts[place]
        own = pooled.values_ms[start : start + pooled.counts[place]]
        assert own[:n] == pytest.approx([100] * n, abs=0.01)
        assert np.isnan(own[n:]).all()
        assert (len(own) == n) is completed


def test_pooled_values_are_worth_no_more_than_their_jobs() -> None:
    rng = np.random.default_rng(1)
    counts = np.full(500, 40)
    alike, own = rng.exponential(20, 20_000), np.repeat(rng.exponential(20, 500), 40)
    assert effective_pooled(alike, counts).for_upper() == pytest.approx(500)
    assert effective_pooled(own, counts).for_upper() == pytest.approx(500)
    assert effective_pooled(np.full(20_000, 3.0), counts).n == pytest.approx(500)
    assert effective_pooled(np.empty(0), np.zeros(3, int)).n == 0


def test_pooled_values_of_jobs_that_depend_on_each_other_or_differ_in_length_are_worth_less() -> None:
    rng = np.random.default_rng(1)
    wave = np.repeat(2 + np.sin(np.arange(500) / 30), 40) * rng.exponential(20, 20_000)
    worth = effective_pooled(wave, np.full(500, 40))
    assert worth.for_upper() < worth.n < 150
    counts = np.where(np.arange(500) % 50 == 0, 2000, 20)
    long_jobs = np.repeat(rng.exponential(20, 500), counts)
    assert effective_pooled(long_jobs, counts).n < 50


def test_the_interval_of_pooled_values_covers_the_truth_if_whole_jobs_are_slow() -> None:
    rng, held, none = np.random.default_rng(7), 0, 0
    for _ in range(200):
        values = np.repeat(rng.exponential(20, 400), 25) * rng.uniform(0.99, 1.01, 10_000)
        low, high = quantiles(values, effective_pooled(values, np.full(400, 25))).ci95.get("p95", (0.0, 0.0))
        held += low <= 20 * np.log(20) <= high
        none += high == 0.0
    assert none < 5
    assert held >= 0.92 * (200 - none)
