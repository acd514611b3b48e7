"""The frames of a run have the documented columns, and its percentiles are those of the report."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import loadtest
from loadtest.analyze.stats.quantiles import PER_MILLE
from loadtest.analyze.summary import FlowSummary, Quantiles
from loadtest.errors import RunDirectoryError, UsageError
from loadtest.frames.columns import FRAMES, JOBS, reference
from loadtest.record.directory import RunDirectory
from loadtest.record.run import StageSpan
from loadtest.record.sample import REQUESTS, SAMPLES, Outcome
from loadtest.scenario.metrics import Metric
from tests.conftest import made_up_run
from tests.unit.analyze.rows import START_AT, job, run, samples, ten_jobs

ROOT = Path(__file__).parents[3]
TIMES = [metric for metric in Metric if metric.is_time and not metric.is_pooled]


def recorded(folder: Path, *row_groups: pa.Table) -> loadtest.Run:
    """Return a run of these row groups that recorded nothing else."""
    folder.mkdir(exist_ok=True)
    stages = [StageSpan("warm-up", 5), StageSpan("measured", 5)]
    RunDirectory(folder).write_run(msgspec.structs.replace(run(), stages=stages))
    pq.write_table(REQUESTS.empty_table(), folder / "requests.parquet")
    with pq.ParquetWriter(folder / "samples.parquet", SAMPLES) as writer:
        for rows in row_groups:
            writer.write_table(rows)
    return loadtest.read(folder)


@pytest.mark.parametrize("name", FRAMES)
def test_frames_have_the_documented_columns_even_if_nothing_was_recorded(reports: Path, name: str) -> None:
    documented = {column.name: column.dtype for column in FRAMES[name]}
    full, empty = getattr(loadtest.read("reports/a"), name), getattr(recorded(reports / "empty"), name)
    for frame in (full, empty):
        assert {column: str(dtype) for column, dtype in frame.dtypes.items()} == documented
    assert (len(full) > 0, len(empty)) == (True, 0)


def test_the_reference_in_the_repository_is_what_the_columns_give() -> None:
    assert (ROOT / "docs/reference/data-frames.md").read_text() == reference(), (
        "regenerate it: python -m loadtest.frames.columns > docs/reference/data-frames.md"
    )


def test_every_sample_column_and_every_time_is_a_column_of_jobs() -> None:
    needed = {*SAMPLES.names, *(metric.spec.column for metric in TIMES)}
    assert needed - {column.name for column in JOBS} == set()


def test_a_job_has_its_times_categories_and_missing_values(tmp_path: Path) -> None:
    unfinished = job(
        1, 1.0, outcome="censored", finished_at=None, delay_ms=None, worker_id=None, http_status=None, stage=1
    )
    first, second = recorded(tmp_path, samples(job(0, 0.5)), samples(unfinished)).jobs.itertuples()
    assert first.intended_at == pd.Timestamp(START_AT + 0.5, unit="s", tz="UTC")
    assert (first.stage_name, first.worker_id, first.outcome) == ("warm-up", "w1", "completed")
    assert first.end_to_end_ms == pytest.approx(360, abs=1e-6)
    assert first.overhead_ms == pytest.approx(50, abs=1e-6)
    assert (second.stage_name, second.outcome, second.flow) == ("measured", "censored", "run")
    missing = (second.finished_at, second.delay_ms, second.end_to_end_ms, second.worker_id, second.http_status)
    assert all(pd.isna(value) for value in missing)
    assert pd.isna(first.error)


def test_categories_are_every_known_value(tmp_path: Path) -> None:
    jobs = recorded(tmp_path, ten_jobs()).jobs
    assert list(jobs.outcome.cat.categories) == [str(outcome) for outcome in Outcome]
    assert list(jobs.start.cat.categories) == ["warm", "revived", "cold"]


def test_workers_keep_their_names_over_row_groups(tmp_path: Path) -> None:
    groups = [samples(*(job(seq, float(seq), worker_id=name) for seq, name in pairs)) for pairs in
              ([(0, "z"), (1, "b")], [(2, "a"), (3, "z")], [(4, None), (5, "")])]  # fmt: skip
    jobs = recorded(tmp_path, *groups).jobs
    assert jobs.worker_id.dropna().tolist() == ["z", "b", "a", "z"]
    assert list(jobs.worker_id.cat.categories) == ["a", "b", "z"]


@pytest.mark.parametrize("name", ["a", "b", "c"])
def test_percentiles_are_those_of_the_report(reports: Path, name: str) -> None:
    opened = loadtest.read(f"reports/{name}")
    (reports / name / "summary.json").unlink()  # an earlier version wrote it, with narrower intervals
    for flow, summary in opened.summary.flows.items():
        for metric in TIMES:
            if metric.spec.column in FlowSummary.__struct_fields__:
                same_percentiles(opened, metric, flow, getattr(summary, metric.spec.column))


def same_percentiles(
    opened: loadtest.Run, metric: Metric, flow: str, expected: Quantiles, steady: bool = False
) -> None:
    where = opened.jobs.steady if steady else None
    for name, per_mille in PER_MILLE.items():
        found = opened.percentile(metric, per_mille / 1000, flow=flow, where=where)
        assert (found.value_ms, found.ci95_ms, found.n, found.effective_n) == (
            getattr(expected, name), expected.ci95.get(name), expected.n, expected.effective_n,
        ), (metric, flow, name)  # fmt: skip


def test_percentiles_of_the_steady_window_are_those_of_the_report(tmp_path: Path) -> None:
    made = made_up_run(workers=40, first_worker_at=0.0)
    RunDirectory(tmp_path).write_run(made.run)
    pq.write_table(made.samples, tmp_path / "samples.parquet")
    pq.write_table(made.requests, tmp_path / "requests.parquet")
    opened = loadtest.read(tmp_path)
    assert opened.summary.steady.found
    same_percentiles(opened, Metric.DELAY, "run", opened.summary.steady.flows["run"].delay_ms, steady=True)
    assert 0 < opened.jobs.steady.sum() < len(opened.jobs)


def test_percentile_accepts_all_flows_a_column_name_and_a_mask(reports: Path) -> None:
    opened = loadtest.read("reports/a")
    jobs = opened.jobs
    every = opened.percentile("delay_ms", 0.5)
    assert every.n == jobs[jobs.outcome == "completed"].delay_ms.count()
    worker = jobs.worker_id.cat.categories[0]
    own = opened.percentile("delay", 0.5, where=jobs[jobs.outcome == "completed"].worker_id == worker)
    assert own.n == ((jobs.worker_id == worker) & (jobs.outcome == "completed")).sum()
    assert opened.percentile("delay", 0.95, flow="openai") == loadtest.PercentileMs(None, None, 0, None)


@pytest.mark.parametrize("name", FRAMES)
def test_frames_can_be_written_to_without_changing_the_run(reports: Path, name: str) -> None:
    opened = loadtest.read("reports/a")
    before = opened.percentile("delay", 0.5, flow="run")
    frame = getattr(opened, name)
    for column in frame.columns:
        frame.loc[0, column] = frame.loc[1, column]
        frame.iloc[2:, frame.columns.get_loc(column)] = frame.loc[1, column]
    assert (frame.iloc[0].dropna() == frame.iloc[1].dropna()).all()
    assert opened.percentile("delay", 0.5, flow="run") == before


def test_percentiles_by_a_column_are_those_of_each_mask_the_longest_first(reports: Path) -> None:
    opened = loadtest.read("reports/a")
    table = opened.percentiles("execution", 0.5, by="worker_id", flow="run")
    assert table.index.name == "worker_id"
    assert table.value_ms.dropna().is_monotonic_decreasing
    for worker, row in table.iterrows():
        own = opened.percentile("execution", 0.5, flow="run", where=opened.jobs.worker_id == worker)
        low, high = own.ci95_ms or (None, None)
        same = pd.Series([own.value_ms, low, high, own.n, own.effective_n], row.index, "float64", worker)
        pd.testing.assert_series_equal(row, same)
    assert opened.percentiles("ttft", 0.5, by="stage_name", flow="openai").empty
    with pytest.raises(UsageError, match='"worker" is not a column of jobs'):
        opened.percentiles("delay", 0.5, by="worker")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("latency", 0.95), '"latency" is not a time of jobs; write one of: delay, '),
        (("errors", 0.95), '"errors" is not a time'),
        (("itl", 0.95), "take it from summary.flows"),
        (("delay", 95), "95 is not the share of a percentile; write one of 0.001 to 0.999, 0.95 for the p95"),
        (("delay", 0.99999), "0.99999 is not the share"),
    ],
)
def test_what_percentile_does_not_take_is_named(tmp_path: Path, arguments: tuple[str, float], text: str) -> None:
    opened = recorded(tmp_path, ten_jobs())
    with pytest.raises(UsageError, match=text):
        opened.percentile(*arguments)
    with pytest.raises(UsageError, match='"walk" is not a flow'):
        opened.percentile("delay", 0.5, flow="walk")


def test_summary_is_read_and_else_computed(reports: Path) -> None:
    written = msgspec.json.decode((reports / "a" / "summary.json").read_bytes())
    written["schema"] = 3
    written["reason"] = "As it was written."
    (reports / "a" / "summary.json").write_bytes(msgspec.json.encode(written | {"gates": []}))
    assert loadtest.read("reports/a").summary.reason == "As it was written."
    (reports / "a" / "summary.json").write_bytes(b"{")
    assert loadtest.read("reports/a").summary.jobs["completed"] == written["jobs"]["completed"]


def test_a_directory_without_a_run_is_an_error_of_loadtest(tmp_path: Path) -> None:
    with pytest.raises(loadtest.LoadtestError, match="not a run directory"):
        loadtest.read(tmp_path)
    opened = recorded(tmp_path, ten_jobs())
    (tmp_path / "samples.parquet").write_bytes(b"PAR1")
    with pytest.raises(RunDirectoryError, match=r"samples\.parquet: cannot be read"):
        _ = opened.jobs
    assert repr(opened) == f"<loadtest.Run '{tmp_path}' of made>"
