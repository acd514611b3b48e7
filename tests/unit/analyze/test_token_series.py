"""The data of the charts of tokens, counted by hand."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from loadtest.analyze.series import Series, series
from loadtest.analyze.token_series import TokenSeries
from loadtest.record.sample import CHUNKS
from tests.unit.analyze.rows import START_AT, job, run, run_data, samples

SCENARIO_RUN = run()


def streamed(seq: int, at: float, tokens: int | None, first: float = 0.2, **changes: Any) -> dict[str, Any]:
    """Return a streamed job with its first content `first` seconds after its start, and its end at 0.36 s."""
    row = job(seq, at, flow="stream", first_chunk_at=START_AT + at + 0.1, first_content_at=START_AT + at + first)
    return row | {"input_tokens": 10 * tokens if tokens else None, "output_tokens": tokens} | changes


def chunks(*rows: tuple[int, float, int | None], process: int = 0) -> pa.Table:
    plain = [{"seq": seq, "process": process, "at": START_AT + at, "pieces": pieces} for seq, at, pieces in rows]
    return pa.Table.from_pylist(plain, CHUNKS)


def drawn(*rows: dict[str, Any], seen: pa.Table | None = None) -> Series:
    return series(run_data(SCENARIO_RUN, samples(*rows), chunks=chunks() if seen is None else seen))


def tokens_of(*rows: dict[str, Any], seen: pa.Table | None = None) -> TokenSeries:
    found = drawn(*rows, seen=seen).tokens
    assert found is not None
    return found


def test_a_run_whose_jobs_report_no_tokens_has_no_series_of_them() -> None:
    seen = chunks((0, 0.1, 1), (0, 0.2, 1))
    assert drawn(streamed(0, 0.0, None), streamed(1, 1.0, None), seen=seen).tokens is None
    assert drawn().tokens is None


def test_time_to_first_token_is_of_completed_jobs_in_the_bin_of_their_intended_start() -> None:
    found = tokens_of(
        streamed(0, 0.0, 5), streamed(1, 0.5, 5, first=0.3), streamed(2, 2.0, 5, first=0.25, outcome="failed"),
        streamed(3, 3.0, 5, first=0.35), job(4, 4.0, output_tokens=7),
    )  # fmt: skip
    assert found.ttft_ms is not None
    assert found.ttft_ms.counts == [2, 0, 0, 1, *[0] * 6]
    assert found.ttft_ms.percentiles.p50[:4] == [pytest.approx(200, abs=0.01), None, None, None]
    assert found.ttft_ms.points_at_s == [0.0, 0.5, 3.0]
    assert found.ttft_ms.points_ms == pytest.approx([200, 300, 350], abs=0.01)


def test_gaps_are_between_arrivals_of_content_of_one_completed_job() -> None:
    seen = chunks(
        (0, 0.2, 1), (0, 0.25, 1), (0, 0.25, 2), (0, 0.31, 0), (0, 0.33, 1),  # read together; a role without content
        (1, 1.2, 1), (1, 1.9, None), (2, 2.2, 1), (2, 2.9, 1), (1, 11.0, 1),  # a failed job; after the load
    )  # fmt: skip
    found = tokens_of(streamed(0, 0.0, 5), streamed(1, 1.0, 3), streamed(2, 2.0, 2, outcome="failed"), seen=seen)
    assert found.gap_ms is not None
    assert found.gap_ms.counts == [2, 1, *[0] * 8]
    assert found.gap_ms.percentiles.p50[0] == pytest.approx(50, abs=0.01)


def test_gaps_of_processes_that_number_alike_are_apart() -> None:
    seen = pa.concat_tables([chunks((0, 0.2, 1), (0, 0.3, 1)), chunks((0, 0.25, 1), (0, 0.45, 1), process=1)])
    found = tokens_of(streamed(0, 0.0, 2), streamed(0, 0.0, 2, process=1), seen=seen)
    assert found.gap_ms is not None
    assert found.gap_ms.counts[0] == 2
    assert found.gap_ms.percentiles.p50[0] == pytest.approx(100, abs=0.01)


def test_output_tokens_come_with_their_chunks_or_else_when_the_job_ends() -> None:
    seen = chunks((0, 0.5, 1), (0, 1.5, 1), (0, 1.6, 1))
    found = tokens_of(
        streamed(0, 0.0, 9, finished_at=START_AT + 1.6),
        job(1, 3.0, output_tokens=4),
        streamed(2, 4.0, 8, outcome="failed"),
        seen=seen,
    )
    assert found.output_per_s[:6] == [3.0, 6.0, 0.0, 4.0, 0.0, 0.0]
    assert sum(found.output_per_s) == 13


def test_lengths_and_times_of_answers_are_by_flow() -> None:
    found = tokens_of(
        streamed(0, 0.0, 5), streamed(1, 1.0, 50), streamed(2, 2.0, 8, outcome="failed"),
        job(3, 3.0, output_tokens=500), job(4, 4.0),
    )  # fmt: skip
    assert found.answers["stream"].output_tokens == [5, 50]
    assert found.answers["run"].output_tokens == [500]
    assert found.answers["run"].end_to_end_ms == pytest.approx([360], abs=0.01)
    assert {flow: each.n for flow, each in found.output_tokens.items()} == {"run": 1, "stream": 2}
    assert {flow: each.n for flow, each in found.input_tokens.items()} == {"stream": 2}
    assert (found.output_tokens["run"].edges_ms[0], found.output_tokens["run"].edges_ms[-1]) == (5, 500)
