"""The runs of `loadtest capacity`: those to calibrate from, and those of `--check`, as measured."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa

from loadtest.analyze.jobs import JobColumns, floats
from loadtest.analyze.run_data import RunData
from loadtest.analyze.start_kinds import WARM, start_kinds
from loadtest.analyze.summarize import failed_checks
from loadtest.analyze.summary import CheckId
from loadtest.analyze.workers import UP, UP_BEFORE_SCHEMA_3, worker_uptime
from loadtest.capacity.backtest.backtest import HeldOut, UnpredictableRunError
from loadtest.capacity.calibration.measurements import MeasuredRun
from loadtest.capacity.calibration.start_times import WorkerCounts
from loadtest.capacity.simulation.workload import WorkerConfig, fixed, setting_of
from loadtest.commands.read_run import read_run
from loadtest.errors import UsageError
from loadtest.record.directory import RunDirectory
from loadtest.record.run import Ending
from loadtest.scenario.model import Scenario


def load_held_out_run(
    directory: RunDirectory, calibrated: Sequence[MeasuredRun], named: WorkerConfig | None
) -> HeldOut:
    """Return a run as measured, with `named` workers if its endpoint is remote; raises UsageError without any."""
    data = read_run(directory)
    setting = setting_of(data.scenario.endpoint) if data.scenario.starts_endpoint else named
    if setting is None:
        raise UsageError(
            f"--check {directory.path}: its endpoint is remote, so its workers are unknown; name them with "
            "--workers, --scaler and --idle-timeout"
        )
    return HeldOut(
        name=data.run.id,
        scenario=data.scenario,
        setting=setting,
        jobs=data.jobs,
        window=data.load,
        complete=data.run.ending is Ending.COMPLETE,
        workers=worker_uptime(data.health, data.load, _up_states(data)),
        warnings=_warnings(data, calibrated),
    )


def _retried(health: pa.Table) -> int | None:
    """Return how many jobs the endpoint gave back to its queue while its health was asked; None if it was not."""
    counts = health.column("retried").drop_null().to_pylist()
    return max(0, counts[-1] - counts[0]) if counts else None


def load_calibration_run(directory: RunDirectory, calibrated: Sequence[MeasuredRun]) -> HeldOut:
    """Return a run to calibrate from as measured; raises UnpredictableRunError if its workers are not known.

    Workers of a remote endpoint are those that the samples name, if none of them started during the run.
    """
    data = read_run(directory)
    setting = None if data.scenario.starts_endpoint else _seen_workers(data.jobs)
    return load_held_out_run(directory, calibrated, setting)


def _seen_workers(jobs: JobColumns) -> WorkerConfig:
    if np.any(start_kinds(jobs).kind > WARM):
        raise UnpredictableRunError("its workers start on demand, and a remote endpoint does not say by what rule")
    workers = len(np.unique(jobs.worker[jobs.worker >= 0]))
    if workers == 0:
        raise UnpredictableRunError("its jobs do not name their workers")
    return fixed(workers)


_OF_THE_LOAD = frozenset(
    (
        CheckId.RUN_COMPLETE,  # its reason is that of the ending
        CheckId.STAGES_REACHED,
        CheckId.LOAD_DELIVERED,
        CheckId.RATE_ACHIEVED,
        CheckId.USERS_AT_WORK,
        CheckId.SEND_LAG,
        CheckId.CPU,
        CheckId.JOBS_COMPLETED,
        CheckId.COLD_STARTS,
    )
)
"""Checks of the load that reached the endpoint: whatever it was, the jobs show what they took."""


def measured_run(directory: RunDirectory, allow_invalid: bool) -> MeasuredRun:
    """Return a run to calibrate from; raises UsageError if its jobs do not show what such jobs take.

    With `allow_invalid` the reasons are warnings.
    """
    data = read_run(directory)
    failed = failed_checks(data)
    reasons = [*_unfit(data), *(each.detail for each in failed if each.name not in _OF_THE_LOAD)]
    if reasons and not allow_invalid:
        raise UsageError(
            f"{directory.path}: {reasons[0].rstrip('.')}; name another run, or use it by --allow-invalid"
        )
    warnings = [f"{data.run.id} is used although it is no sound measurement: {reason}" for reason in reasons]
    warnings += [f"{data.run.id} is invalid: {each.detail}" for each in failed if each.name in _OF_THE_LOAD]
    return MeasuredRun(
        data.run.id, data.scenario, data.jobs, _retried(data.health), _worker_counts(data), tuple(warnings)
    )


def _unfit(data: RunData) -> Iterator[str]:
    """Yield why a run does not show what its scenario's jobs take: it did not end, or most of its jobs failed."""
    if data.run.ending is not Ending.COMPLETE:
        how = "has no end on record" if data.run.ending is None else f"was {data.run.ending.value}"
        yield f"The run {how}" + (f": {data.run.reason}" if data.run.reason else ".")
    submitted, completed = np.count_nonzero(data.jobs.sent), np.count_nonzero(data.jobs.completed)
    if completed < submitted / 2:
        yield f"Only {completed} of {submitted} jobs completed."


def _worker_counts(data: RunData) -> WorkerCounts:
    """Return the workers that each look at /health showed while load was offered."""
    at = floats(data.health, "at")
    inside = data.load.contains(at)
    up = [floats(data.health, state) for state in _up_states(data) if state != "initializing"]
    return WorkerCounts(at[inside], floats(data.health, "initializing")[inside], np.sum(up, axis=0)[inside])


def _up_states(data: RunData) -> tuple[str, ...]:
    return UP_BEFORE_SCHEMA_3 if data.run.schema < 3 and data.scenario.starts_endpoint else UP


def _warnings(data: RunData, calibrated: Sequence[MeasuredRun]) -> tuple[str, ...]:
    warnings = [f"The run is invalid: {check.name}: {check.detail}" for check in failed_checks(data)]
    if any(_job_mix(each.scenario) != _job_mix(data.scenario) for each in calibrated):
        warnings.append("It sent other jobs than the runs to calibrate from.")
    return tuple(warnings)


def _job_mix(scenario: Scenario) -> list[tuple[str, float, str]]:
    return sorted((name, scenario.share(name), flow.payload_hash) for name, flow in scenario.flows.items())
