"""One recorded run as data frames and percentiles, each read when it is first used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from loadtest.analyze.accounting import Accounting
from loadtest.analyze.jobs import JobColumns, jobs_of, worker_names
from loadtest.analyze.run_data import COLUMNS, JobTable, RunData
from loadtest.analyze.start_kinds import CLASSES
from loadtest.analyze.stats.quantiles import percentile
from loadtest.analyze.summary import SCHEMA, Summary
from loadtest.arrays import Floats
from loadtest.commands.read_run import read_record, read_run, read_table, readable
from loadtest.errors import UsageError
from loadtest.frames.columns import FRAMES, JOBS, TIME
from loadtest.frames.convert import categorical, frame
from loadtest.record.directory import RunDirectory, run_directory
from loadtest.record.run import RunRecord, StageSpan
from loadtest.record.sample import SAMPLES
from loadtest.scenario.flows import FLOWS
from loadtest.scenario.metrics import Metric
from loadtest.scenario.model import Scenario

_TIMES = {
    metric.spec.column: metric for metric in Metric if metric.is_time and metric.spec.start and not metric.is_pooled
}
"""The times of a job that no column of the samples holds."""


@dataclass(frozen=True)
class PercentileMs:
    """A percentile in milliseconds of n jobs, and its 95 % interval; None if they cannot support it.

    `effective_n` is the number of independent jobs that show as much as these.
    """

    value_ms: float | None
    ci95_ms: tuple[float, float] | None
    n: int
    effective_n: float | None


class Run:
    """One recorded run. Raises RunDirectoryError if its directory holds none, or one that still goes on."""

    def __init__(self, path: str | Path) -> None:
        self._directory = run_directory(Path(path).expanduser())
        self.record, self.scenario = read_record(self._directory)
        self.path = self._directory.path

    record: RunRecord
    """The content of `run.json`."""
    scenario: Scenario
    """The scenario as the run resolved it."""

    def __repr__(self) -> str:
        return f"<loadtest.Run {str(self.path)!r} of {self.scenario.name}>"

    @cached_property
    def summary(self) -> Summary:
        """Return the figures of `summary.json`, computed from the tables if this version cannot read that file."""
        if (written := _read_summary(self._directory)) is not None:
            return written
        # Slow to import, and most summaries need only be read.
        from loadtest.commands.results import summarize_and_judge

        return summarize_and_judge(read_run(self._directory), self.scenario.gates)

    @cached_property
    def jobs(self) -> pd.DataFrame:
        """Return one row per job."""
        recorded = self._samples([column.name for column in JOBS if column.name in SAMPLES.names])
        if "_data" not in vars(self):  # in place of reading the same rows again
            self._data = self._run_data(recorded)
        derived = self._derived_columns()
        columns = {name: recorded.column(name) for name in recorded.column_names}
        return frame(JOBS, columns | derived | {"stage_name": _stage_names(columns["stage"], self.record.stages)})

    @cached_property
    def requests(self) -> pd.DataFrame:
        """Return one row per second, operation and HTTP status."""
        return self._frame("requests")

    @cached_property
    def health(self) -> pd.DataFrame:
        """Return one row per answer of `/health`."""
        return self._frame("health")

    @cached_property
    def chunks(self) -> pd.DataFrame:
        """Return one row per chunk of a streamed job."""
        return self._frame("chunks")

    def percentile(
        self,
        metric: Metric | str,
        share: float,
        *,
        flow: str | None = None,
        where: pd.Series[bool] | None = None,
    ) -> PercentileMs:
        """Return a percentile of a time of completed jobs with its 95 % interval, as the report gives it.

        `share` is 0.95 for the p95. `flow` selects one flow; without it, all flows that have the metric count.
        `where` is a mask of `jobs`, by its index. Raises UsageError for an unknown metric, share or flow.
        """
        per_mille = _per_mille(share)
        _, times_ms = self._times_in_order(metric, flow, where)
        return PercentileMs(*astuple(percentile(times_ms, per_mille)))

    def percentiles(
        self,
        metric: Metric | str,
        share: float,
        *,
        by: str,
        flow: str | None = None,
        where: pd.Series[bool] | None = None,
    ) -> pd.DataFrame:
        """Return that percentile for each value of a column of `jobs`, such as the worker, with the longest first.

        The columns are `value_ms`, `low_ms` and `high_ms` (the 95 % interval), `n` and `effective_n`.
        """
        per_mille = _per_mille(share)
        if by not in self.jobs.columns:
            raise UsageError(f'"{by}" is not a column of jobs; write one of: {", ".join(self.jobs.columns)}')
        indices, times_ms = self._times_in_order(metric, flow, where)
        groups = pd.Series(times_ms).groupby(self.jobs[by].array[indices], observed=True)
        rows = {value: percentile(group.to_numpy(), per_mille) for value, group in groups}
        made = {name: [getattr(row, name) for row in rows.values()] for name in ("value", "n", "effective_n")}
        ends = [row.ci95 or (None, None) for row in rows.values()]
        columns = {
            "value_ms": made["value"],
            "low_ms": [low for low, _ in ends],
            "high_ms": [high for _, high in ends],
            "n": made["n"],
            "effective_n": made["effective_n"],
        }
        types = dict.fromkeys(columns, "float64") | {"n": "int64"}
        table = pd.DataFrame(columns, index=pd.Index(list(rows), name=by)).astype(types)
        return table.sort_values("value_ms", ascending=False, kind="stable")

    def _times_in_order(
        self, metric: Metric | str, flow: str | None, where: pd.Series[bool] | None
    ) -> tuple[NDArray[np.int64], Floats]:
        """Return the indices of the completed jobs that count, by their intended start, and their times."""
        found = _time_metric(metric)
        flows = found.spec.flows if flow is None else [name for name in found.spec.flows if name == _known_flow(flow)]
        jobs = self._data.jobs
        selected = jobs.completed & np.isin(jobs.flow, [FLOWS.index(name) for name in flows])
        if where is not None:
            selected &= where.reindex(range(len(jobs)), fill_value=False).to_numpy(dtype=bool, na_value=False)
        indices = np.flatnonzero(selected)
        indices = indices[np.argsort(jobs.intended_at[indices], kind="stable")]
        return indices, jobs.take(indices).times_ms(found)

    @cached_property
    def _data(self) -> RunData:
        return self._run_data(self._samples(COLUMNS))

    def _samples(self, names: Sequence[str]) -> pa.Table:
        """Return these columns of the samples, with one dictionary for each column of repeated text."""
        with readable(self._directory, "samples", self.record):
            pieces = list(self._directory.pieces("samples", names))
            return pa.concat_tables(pieces).unify_dictionaries() if pieces else SAMPLES.empty_table().select(names)

    def _run_data(self, samples: pa.Table) -> RunData:
        """Return the jobs for starts, windows and times; causes and accounts are in the summary."""
        return RunData(
            self.record, self.scenario, JobTable(jobs_of(samples), worker_names(samples), [], Accounting())
        )

    def _frame(self, name: str) -> pd.DataFrame:
        table = read_table(self._directory, name, self.record)
        return frame(FRAMES[name], {column.name: table.column(column.name) for column in FRAMES[name]})

    def _derived_columns(self) -> dict[str, Any]:
        """Return the columns of `jobs` that the samples do not have, or that the analysis has made of theirs."""
        data, jobs = self._data, self._data.jobs
        window = data.steady.window
        moments = {column.name: getattr(jobs, column.name) for column in JOBS if column.dtype == TIME}
        times = {name: _where_known(jobs, metric) for name, metric in _TIMES.items()}
        return (
            moments
            | times
            | {
                "start": categorical(data.starts.kind, CLASSES),
                "steady": np.zeros(len(jobs), bool) if window is None else window.contains(jobs.intended_at),
            }
        )


def read(path: str | Path) -> Run:
    """Return a recorded run, by its directory or by its name under `reports/baselines`."""
    return Run(path)


def _read_summary(directory: RunDirectory) -> Summary | None:
    """Return the content of `summary.json`; None if it is missing, or was written in another form."""
    try:
        found = msgspec.json.decode(directory.summary.read_bytes(), type=Summary)
    except (OSError, msgspec.MsgspecError):
        return None
    return found if found.schema == SCHEMA else None


def _stage_names(stage: pa.ChunkedArray, stages: Sequence[StageSpan]) -> pd.Categorical:
    """Return the name of the stage with each number."""
    names = list(dict.fromkeys(each.name for each in stages))
    # The last number stands for none.
    by_number = np.array([*(names.index(each.name) for each in stages), -1], np.int32)
    numbers = pc.fill_null(stage, -1).to_numpy()
    return categorical(by_number[np.where(numbers < len(stages), numbers, -1)], names)


def _where_known(jobs: JobColumns, metric: Metric) -> Floats:
    """Return a time of each job, NaN for jobs of flows that do not have it."""
    times_ms = jobs.times_ms(metric)
    # The last one is that of no flow.
    lacks_it = np.array([*(flow not in metric.spec.flows for flow in FLOWS), True])
    if lacks_it[:-1].any() or (jobs.flow < 0).any():
        times_ms[lacks_it[jobs.flow]] = np.nan
    return times_ms


def _time_metric(metric: Metric | str) -> Metric:
    text = str(metric)
    if text in (Metric.ITL, Metric.ITL.spec.column):
        raise UsageError(f'"{text}" is of gaps, of which a job has many; take it from summary.flows[FLOW].itl_ms')
    times = [each for each in Metric if each.is_time and not each.is_pooled]
    for each in times:
        if text in (str(each), each.spec.column):
            return each
    raise UsageError(f'"{text}" is not a time of jobs; write one of: {", ".join(times)}')


def _per_mille(share: float) -> int:
    per_mille = round(share * 1000)
    if not 0 < per_mille < 1000 or abs(share * 1000 - per_mille) > 1e-9:
        raise UsageError(f"{share} is not the share of a percentile; write one of 0.001 to 0.999, 0.95 for the p95")
    return per_mille


def _known_flow(flow: str) -> str:
    if flow not in FLOWS:
        raise UsageError(f'"{flow}" is not a flow; write one of: {", ".join(FLOWS)}')
    return flow
