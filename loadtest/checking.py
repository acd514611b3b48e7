"""`loadtest capacity --check`: runs that were not calibrated from, as a prediction is held against them."""

from __future__ import annotations

from collections.abc import Sequence

from loadtest.analyze.jobs import load_window
from loadtest.analyze.worker_seconds import workers_up
from loadtest.capacity.calibrate import MeasuredRun
from loadtest.capacity.held_out import HeldOut
from loadtest.capacity.setting import Setting, setting_of
from loadtest.errors import UsageError
from loadtest.record.directory import RunDirectory
from loadtest.record.run import Ending
from loadtest.results import Recorded, judged_summary, read
from loadtest.scenario.model import Scenario


def held_out(directory: RunDirectory, calibrated: Sequence[MeasuredRun], named: Setting | None) -> HeldOut:
    """A run as it was measured; its workers are those of its scenario, or `named` where its endpoint is elsewhere.

    Raises UsageError where they are not known; RunDirectoryError for a bad run.
    """
    recorded = read(directory)
    run, jobs = recorded.run, recorded.samples.jobs
    window = load_window(run, jobs)
    return HeldOut(
        name=run.id,
        scenario=recorded.scenario,
        setting=_setting(directory, recorded.scenario, named),
        jobs=jobs,
        window=window,
        complete=run.ending is Ending.COMPLETE,
        workers=workers_up(recorded.tables["health"], window),
        doubts=_doubts(recorded, calibrated),
    )


def _setting(directory: RunDirectory, scenario: Scenario, named: Setting | None) -> Setting:
    if scenario.scaled_here:
        return setting_of(scenario.endpoint)
    if named is None:
        raise UsageError(
            f"--check {directory.path}: its endpoint is elsewhere, so its workers are not known; name them with "
            "--workers, --scaler and --idle-timeout"
        )
    return named


def _doubts(recorded: Recorded, calibrated: Sequence[MeasuredRun]) -> tuple[str, ...]:
    doubts = [
        f"The run is not sound: {check.name}: {check.detail}"
        for check in judged_summary(recorded, ()).validity.checks
        if not check.ok
    ]
    if any(_sent(each.scenario) != _sent(recorded.scenario) for each in calibrated):
        doubts.append("It sent other jobs than the runs that were calibrated from.")
    return tuple(doubts)


def _sent(scenario: Scenario) -> list[tuple[str, float, str]]:
    return sorted((name, scenario.share(name), flow.payload_hash) for name, flow in scenario.flows.items())
