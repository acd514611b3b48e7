"""What the runs of a calibration do not show, and the assumptions made in its place."""

from __future__ import annotations

from collections.abc import Sequence

from loadtest.capacity.calibration.measurements import (
    MeasuredRun,
    Measurements,
    MissingMeasurement,
    endpoint_of,
)
from loadtest.capacity.calibration.start_times import MIN_STARTS, StartSource
from loadtest.capacity.calibration.starts import Starts
from loadtest.protocol.json_values import canonical_json

_LET_STOP = (
    "a scenario whose workers stop between jobs, such as scenarios/cold-start.yaml: active 0, gaps {} "
    "than the idle timeout"
)


def _revives(runs: Sequence[MeasuredRun]) -> bool:
    """Return whether the endpoints may revive workers, as far as is known."""
    return any(endpoint_of(run.scenario).revival is not None for run in runs)


def missing_times(runs: Sequence[MeasuredRun], measured: Measurements, starts: Starts) -> list[MissingMeasurement]:
    """Return the times that a prediction may need and that these runs do not show."""
    missing = []
    if starts.cold.mean_ms is None:
        missing.append(MissingMeasurement("cold start time", _LET_STOP.format("much longer"), starts.cold.why))
    if starts.revived.mean_ms is None and _revives(runs):
        missing.append(MissingMeasurement("revival time", _LET_STOP.format("a little longer")))
    if len(measured.dispatch_ms) == 0:
        measure = (
            "a scenario at a low rate, so that jobs meet workers that are up and idle, such as scenarios/smoke.yaml"
        )
        missing.append(MissingMeasurement("delay at an idle worker", measure))
    return missing


def assumptions(runs: Sequence[MeasuredRun], measured: Measurements, starts: Starts) -> list[str]:
    """Return the assumptions made, each as a sentence."""
    notes = [warning for run in runs for warning in run.warnings]
    if len({canonical_json(run.scenario.resolved()["flows"]) for run in runs}) > 1:
        notes.append("The runs sent different jobs; their execution times are mixed in the same proportions.")
    if not all(run.scenario.starts_endpoint for run in runs) and starts.threshold_assumed:
        notes.append(
            "The endpoint's scaler is not known: the default queue delay of 4 s was taken off the delay of starts."
        )
    for name, found in (("cold starts", starts.cold), ("revivals", starts.revived)):
        if found.source is StartSource.OWN and found.n < MIN_STARTS:
            notes.append(f"Only {found.n} {name} were seen; they represent all.")
    if starts.cold.mean_ms is not None and starts.revived.mean_ms is None and _revives(runs):
        notes.append("No revival was seen, so every start is taken to be cold.")
    if len(measured.unfinished_ms):
        notes.append(
            f"{len(measured.unfinished_ms)} jobs did not end by themselves but were stopped or given up. How long "
            "they would have taken beyond that is an estimate from all jobs."
        )
    new_host_ms = measured.cold.new_host_ms
    if len(new_host_ms):
        notes.append(
            f"{len(new_host_ms)} jobs waited {new_host_ms.min() / 1000:.0f} s or more for a first start on a new "
            "host, which downloads the image; plans know nothing of such starts."
        )
    return notes
