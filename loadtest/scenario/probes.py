"""The probes of a search: the scenario's load at another rate, and the reasons not to send one."""

from __future__ import annotations

from loadtest.scenario.loading.feasibility import find_issues
from loadtest.scenario.model import Scenario
from loadtest.scenario.preview import preview
from loadtest.traffic.arrivals import peak_rates
from loadtest.traffic.settings import OpenLoad, Ramp, RateStage
from loadtest.units import seconds_text


def first_rate(scenario: Scenario) -> float:
    """Return the rate of the load as written, in jobs per second: the highest of its stages."""
    return max(peak_rates(_open(scenario)))


def scaled_to(scenario: Scenario, rate_per_s: float, stretch: int, seed: int) -> Scenario:
    """Return a probe: all rates scaled so that the highest is this one, every stage `stretch` times as long."""
    load = _open(scenario)
    factor = rate_per_s / first_rate(scenario)
    stages = tuple(_scaled(stage, factor, stretch) for stage in load.stages)
    changed = {"load": load.model_copy(update={"stages": stages}), "seed": seed, "search": None}
    return scenario.model_copy(update=changed)


def blocking_reason(probe: Scenario) -> str | None:
    """Return why a probe must not be sent, a limit or a ceiling that it would exceed; None if it may."""
    error = next(find_issues(probe), None)
    if error is not None:
        return error.text.partition(";")[0]
    previewed = preview(probe)
    for operation in previewed.operations:
        limit, peak = operation.limit, operation.peak
        if limit is not None and peak is not None and peak > limit.requests:
            within = seconds_text(limit.per_s)
            return f"{peak} jobs fall into the fullest {within} of /{operation.op}, its limit is {limit}"
    ceiling = probe.ceilings.jobs
    if ceiling is not None and previewed.jobs is not None and previewed.jobs > ceiling:
        return f"it would submit {previewed.jobs} jobs, ceilings.jobs leaves {ceiling}"
    cost = probe.ceilings.cost
    if cost is not None and cost <= 0:
        return "ceilings.cost is spent"
    if cost is not None and previewed.cost is not None and previewed.cost > cost:
        return f"it would cost about {previewed.cost:.3g} US dollars, ceilings.cost leaves {cost:.3g}"
    return None


def _open(scenario: Scenario) -> OpenLoad:
    assert isinstance(scenario.load, OpenLoad)  # `find_issues` refuses a search of any other load
    return scenario.load


def _scaled(stage: RateStage, factor: float, stretch: int) -> RateStage:
    start, end = (float(f"{rate * factor:.6g}") for rate in (stage.rate.start, stage.rate.end))
    rate = Ramp(start=start, end=end)
    return stage.model_copy(update={"rate": rate, "duration": stage.duration * stretch})
