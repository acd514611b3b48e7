"""The run at one moment, put together for whoever watches it."""

from __future__ import annotations

from loadtest.drive.jobs import Jobs
from loadtest.drive.pulse import RATE_SPAN_S
from loadtest.record.progress import Progress
from loadtest.record.recorder import Recorder
from loadtest.scenario.model import Scenario


def progress(phase: str, jobs: Jobs, recorder: Recorder, scenario: Scenario, now: float) -> Progress:
    """How the run stands at `now` (seconds since the epoch)."""
    elapsed_s = now - jobs.starts_at
    pulse = jobs.pulse
    times = pulse.times_ms(now)
    return Progress(
        phase=phase,
        stage=_stage_at(elapsed_s, scenario),
        elapsed_s=elapsed_s,
        left_s=max(0.0, jobs.ends_at - now),
        offered_per_s=jobs.offered_per_s(RATE_SPAN_S),
        achieved_per_s=pulse.started_per_s(now),
        in_flight=pulse.in_flight,
        ended=pulse.ended,
        not_completed=pulse.not_completed,
        throttled=pulse.throttled,
        delay_ms=times[0] if times is not None else None,
        execution_ms=times[1] if times is not None else None,
        limit_used=_limits_used(recorder, scenario, now),
    )


def _stage_at(elapsed_s: float, scenario: Scenario) -> str:
    stages = scenario.load.stages
    ends_s = 0.0
    for number, stage in enumerate(stages, 1):
        ends_s += stage.duration
        if elapsed_s < ends_s or number == len(stages):
            return stage.name or f"stage {number}"
    return ""


def _limits_used(recorder: Recorder, scenario: Scenario, now: float) -> dict[str, float]:
    """For each operation that has a limit, the share of it that the last 10 s held."""
    used = {}
    for op, window in recorder.fullest.items():
        limit = scenario.limit(op)
        if limit is not None:
            used[str(op)] = window.held(now) / (limit.per_second * window.span_s)
    return used
