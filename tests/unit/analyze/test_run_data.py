"""Rows read in pieces give the same job table as all rows read at once."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from loadtest.analyze.jobs import JobColumns
from loadtest.analyze.run_data import COLUMNS, JobTable, read_job_table
from loadtest.analyze.stats.bins import distribution
from loadtest.analyze.stats.quantiles import PER_MILLE, quantiles
from loadtest.record.directory import RowGroups
from loadtest.record.sample import SAMPLES
from loadtest.units import nearest_rank
from tests.conftest import MadeUpRun
from tests.unit.analyze.rows import job, samples


def whole(table: pa.Table) -> JobTable:
    return read_job_table([table], len(table))


def same(one: JobTable, other: JobTable) -> bool:
    columns = (field.name for field in fields(JobColumns))
    return (one.worker_names, one.causes) == (other.worker_names, other.causes) and all(
        np.array_equal(getattr(one.jobs, name), getattr(other.jobs, name), equal_nan=name not in ("accepted",))
        for name in columns
    )


@pytest.mark.parametrize("group", [1, 7, 500, 10_000])
def test_row_groups_of_any_size_give_what_the_whole_table_gives(
    steady: MadeUpRun, tmp_path: Path, group: int
) -> None:
    table = steady.samples if group > 1 else steady.samples.slice(0, 50)
    pq.write_table(table, tmp_path / "samples.parquet", row_group_size=group)
    pieces = RowGroups(tmp_path / "samples.parquet", SAMPLES, COLUMNS)
    assert same(read_job_table(pieces, pieces.rows), whole(table))


def test_a_table_may_have_no_rows_and_no_workers() -> None:
    for empty in (whole(SAMPLES.empty_table()), read_job_table([], 0)):
        assert (len(empty.jobs), empty.worker_names, empty.causes) == (0, [], [])
    assert whole(samples(job(0, 0.0, worker_id=None))).jobs.worker.tolist() == [-1]


def test_errors_of_all_pieces_are_counted_together_and_the_first_is_named() -> None:
    failed = {"outcome": "failed", "http_status": 200, "error": "out of memory"}
    pieces = [
        samples(job(0, 0.0), job(1, 1.0, **failed, job_id=None)),
        samples(job(2, 2.0, outcome="censored", error=None), job(3, 3.0, **failed)),
    ]
    assert read_job_table(pieces, 4).causes == whole(pa.concat_tables(pieces)).causes
    first = read_job_table(pieces, 4).causes[0]
    assert (first.jobs, first.seq, first.job_id) == (2, 1, None)


@pytest.mark.parametrize("n", [1, 5, 40, 4000])
def test_percentiles_are_those_of_a_full_sort(n: int) -> None:
    values = np.random.default_rng(n).lognormal(5, 1, n).round(1)
    ordered, q = np.sort(values), quantiles(np.append(values, np.nan))
    assert (q.n, q.min, q.max, q.mean) == (n, ordered[0], ordered[-1], pytest.approx(values.mean()))
    for name, per_mille in PER_MILLE.items():
        reported = getattr(q, name)
        assert reported is None or reported == ordered[nearest_rank(n, per_mille) - 1]
        low, high = q.ci95.get(name, (0.0, np.inf))
        assert reported is None or low <= reported <= high


def test_bars_count_what_a_histogram_counts() -> None:
    values, edges = np.random.default_rng(3).integers(0, 60, 5000).astype(float), np.array([2.0, 5.0, 20.0, 50.0])
    counted, _ = np.histogram(np.clip(values, 2, 50), edges)
    assert distribution(values, edges).counts == counted.tolist()
