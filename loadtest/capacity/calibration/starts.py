"""The cold starts and revivals of a calibration, each by the best evidence that its runs hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from loadtest.analyze.littles_law import arrival_times
from loadtest.capacity.calibration.measurements import MeasuredRun, Measurements, endpoint_of, subsample
from loadtest.capacity.calibration.start_fit import RecordedDelays, agrees, fitted_start_time
from loadtest.capacity.calibration.start_times import (
    StartSource,
    StartTime,
    StartWaits,
    own_start_times,
    start_time_by_health,
)
from loadtest.capacity.estimates import Estimate
from loadtest.capacity.simulation.workload import Workload, constant, revival, setting_of
from loadtest.endpoint.distributions import Distribution, Empirical

_NORMAL_QUANTILE = 1.96
_REVIVED_WITHIN_S = 60.0


@dataclass(frozen=True)
class Starts:
    """What is known of cold starts and of revivals."""

    cold: StartTime
    revived: StartTime

    @property
    def threshold_assumed(self) -> bool:
        """Return whether a scaler's threshold was taken off measured delays."""
        return any(each.source in (StartSource.OWN, StartSource.ALL) for each in (self.cold, self.revived))


def with_starts(
    workload: Workload, runs: Sequence[MeasuredRun], measured: Measurements, simulated: bool = True
) -> tuple[Workload, Starts]:
    """Return the workload with its cold starts and revivals, as far as they are known, and where they are from.

    Without `simulated`, no run is simulated to compare its delays.
    """
    duration, revived = _revivals(runs, measured.revived)
    if duration is not None:
        known = endpoint_of(runs[-1].scenario).revival
        workload = replace(workload, revival=revival(duration, _REVIVED_WITHIN_S if known is None else known.within))
    cold_start, cold = _cold_starts(runs if simulated else (), measured.cold, workload)
    # Times that were measured one by one are resampled instead.
    error = 0.0 if isinstance(cold_start, Empirical) else cold.relative_error / _NORMAL_QUANTILE
    return replace(workload, cold_start=cold_start, cold_start_error=error), Starts(cold, revived)


def _revivals(runs: Sequence[MeasuredRun], waits: StartWaits) -> tuple[Distribution | None, StartTime]:
    times_ms, found = own_start_times(waits)
    if len(times_ms):
        return subsample(times_ms), found
    if len(waits.all_ms) == 0:
        return None, StartTime()
    known = runs[-1].scenario.endpoint.revival
    if runs[-1].scenario.target == "embedded" and known is not None:
        return known.duration, _set(known.duration, len(waits.all_ms))
    interval = Estimate(float(waits.all_ms.mean()), 0.0, float(waits.all_ms.max()))
    return subsample(waits.all_ms), StartTime(interval, StartSource.ALL, len(waits.all_ms))


def _cold_starts(
    runs: Sequence[MeasuredRun], waits: StartWaits, workload: Workload
) -> tuple[Distribution | None, StartTime]:
    if len(waits.all_ms) == 0:
        return None, StartTime()
    times_ms, found = own_start_times(waits)
    if len(times_ms):
        return subsample(times_ms), found
    by_runs = [_of_run(run, waits, workload) for run in runs]
    known = [each for each in by_runs if each[1].mean_ms is not None]
    if known:
        return min(known, key=lambda each: each[1].relative_error)
    times_ms, found = own_start_times(waits, at_least=1)
    if len(times_ms):
        return subsample(times_ms), found
    why = f"{len(waits.all_ms)} jobs waited for one, but too few for one that began for them alone"
    return None, StartTime(
        n=len(waits.all_ms), why=", and ".join([why, *(each.why for _, each in by_runs[-1:] if each.why)])
    )


def _of_run(run: MeasuredRun, waits: StartWaits, workload: Workload) -> tuple[Distribution | None, StartTime]:
    """Return the surest estimate of cold starts by a run's scenario, its simulation and its health."""
    cold_start, found = None, StartTime()
    recorded = _recorded(run, waits)
    pause_s = max(workload.take_pause.duration, workload.take_pause.after_job)
    simulated = not recorded.setting.fixed and not 0 < pause_s >= recorded.setting.idle_timeout_s
    if run.scenario.starts_endpoint and simulated and not np.isnan(recorded.delay_ms).all():
        set_to = run.scenario.endpoint.cold_start
        if run.scenario.target == "embedded" and agrees(recorded, workload, set_to):
            return set_to, _set(set_to, len(waits.all_ms))
        cold_start, found = fitted_start_time(recorded, workload)
    by_health = start_time_by_health(run.health)
    if by_health.mean_ms is not None and by_health.relative_error < found.relative_error:
        return constant(by_health.mean_ms.value / 1000), by_health
    return cold_start, found


def _set(times: Distribution, n: int) -> StartTime:
    mean_ms = times.mean_s() * 1000
    return StartTime(Estimate(mean_ms, mean_ms, mean_ms), StartSource.SCENARIO, n)


def _recorded(run: MeasuredRun, waits: StartWaits) -> RecordedDelays:
    entered = arrival_times(run.jobs)
    order = np.argsort(entered, kind="stable")[: int(np.count_nonzero(~np.isnan(entered)))]
    return RecordedDelays(
        at_s=entered[order] - (entered[order[0]] if len(order) else 0.0),
        delay_ms=run.jobs.delay_ms[order],
        setting=setting_of(endpoint_of(run.scenario)),
        longest_ms=float(waits.all_ms.max()),
        n=len(waits.all_ms),
    )
