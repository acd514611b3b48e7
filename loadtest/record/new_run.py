"""The beginning of a run directory: where it is made, and its first record with the scenario as resolved."""

from __future__ import annotations

import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from loadtest.record.directory import RunDirectory
from loadtest.record.run import RunRecord, StageSpan
from loadtest.scenario.model import Scenario

PACKAGES = ("loadtest", "locust", "gevent", "httptools", "numpy", "pyarrow")


def default_path(scenario: Scenario) -> Path:
    """Return the path of a run directory that the user did not name: the scenario's name and the time."""
    return Path("reports", f"{scenario.name}-{datetime.now(UTC):%Y%m%d-%H%M%S}")


def create_run(scenario: Scenario, path: Path, command: str) -> RunDirectory:
    """Make the directory of a run, with the first `run.json`: what the processes of the run read their scenario from.

    Raises RunDirectoryError if the directory exists or cannot be made, RecordingError if the disk is full.
    """
    directory = RunDirectory(path)
    directory.create()
    schedule = scenario.schedule()
    directory.write_first_record(
        RunRecord(
            id=path.name,
            scenario=scenario.resolved(),
            scenario_hash=scenario.hash(),
            seed=scenario.seed,
            target=scenario.target_name,
            command=command,
            versions={"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
            started_at=datetime.now(UTC).timestamp(),
            payloads={name: flow.payload_hash for name, flow in scenario.flows.items()},
            stages=[StageSpan(stage.label(n), stage.duration) for n, stage in enumerate(scenario.load.stages, 1)],
            offered={} if schedule is None else {flow: schedule.per_second(flow) for flow in scenario.flows},
        )
    )
    return directory
