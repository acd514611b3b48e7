"""The preview of a scenario and of its search's probes: what they would send, for how long, at what cost."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from math import ceil

import numpy as np

from loadtest.protocol.operations import Limit, Op
from loadtest.scenario.flows import FLOWS_BY_OPERATION, SUBMIT_OPERATION, FlowName
from loadtest.scenario.loading.feasibility import find_issues
from loadtest.scenario.model import Flow, Scenario
from loadtest.traffic.arrivals import Schedule, max_in_window, peak_rates
from loadtest.traffic.partition import max_users
from loadtest.traffic.polling import POLICIES
from loadtest.traffic.settings import ClosedLoad, OpenLoad, Ramp, RateStage
from loadtest.units import seconds_text


@dataclass(frozen=True)
class StagePreview:
    """A stage: its length in seconds, its peak (jobs per second, or users), its jobs (None: no schedule)."""

    name: str
    duration_s: float
    peak: float
    jobs: int | None


@dataclass(frozen=True)
class FlowPreview:
    """A flow: its share of all jobs (0 to 1), its jobs, and the polls that a job needs without queueing."""

    flow: FlowName
    share: float
    jobs: int | None
    polls_per_job: int | None


@dataclass(frozen=True)
class OperationPreview:
    """An operation that submits: its limit, and the most jobs meant for it in any interval as long as the limit's."""

    op: Op
    limit: Limit | None
    peak: int | None


@dataclass(frozen=True)
class Preview:
    """What would be sent. None if it cannot be known before the run.

    `jobs` is exact for an open load; for a closed one it is the most that its users can do without queueing, or that
    the limits allow, whichever is less. `service_s` is the mean time in the handler and `cost` US dollars of
    execution, both of the embedded endpoint. `longest_s` counts the load and all of the drain, `polls_at_most`
    is what the limits allow in that time. `cancels_at_most` is how many jobs may be unfinished at once, and
    `cancelling_s` how long their cancelling takes by its limit.
    """

    scenario: Scenario
    jobs: int | None
    stages: tuple[StagePreview, ...]
    flows: tuple[FlowPreview, ...]
    operations: tuple[OperationPreview, ...]
    polls: int | None
    polls_at_most: int | None
    longest_s: float
    cancels_at_most: int
    cancelling_s: float
    service_s: float | None
    cost: float | None
    schedule: str | None

    @property
    def peak_per_s(self) -> float | None:
        """Return the highest mean rate of an open load, in jobs per second."""
        return max(stage.peak for stage in self.stages) if isinstance(self.scenario.load, OpenLoad) else None


def preview(scenario: Scenario) -> Preview:
    """Return what a scenario would send, from the schedule that its seed gives."""
    load, price = scenario.load, scenario.price
    drawn = scenario.schedule()
    service_s = mean_service_s(scenario)
    jobs = len(drawn) if drawn is not None else _max_jobs(scenario, service_s)
    unfinished, limit = _max_unfinished(load, jobs), scenario.limit(Op.CANCEL)
    cancelling_s = 0.0 if limit is None else limit.shortest_s(unfinished)
    cancel_within_s = scenario.drain.cancel_within
    longest_s = load.duration_s + scenario.drain.within
    longest_s += cancelling_s if cancel_within_s is None else cancel_within_s
    flows = tuple(_flow(scenario, flow, drawn, service_s) for flow in scenario.flows)
    submitting = {SUBMIT_OPERATION[flow] for flow in scenario.flows}
    return Preview(
        scenario=scenario,
        jobs=jobs,
        stages=_stages(load, drawn),
        flows=flows,
        operations=tuple(_operation(scenario, op, drawn) for op in FLOWS_BY_OPERATION if op in submitting),
        polls=_polls(flows),
        polls_at_most=_max_polls(scenario, longest_s),
        longest_s=longest_s,
        cancels_at_most=unfinished,
        cancelling_s=cancelling_s,
        service_s=service_s,
        cost=None if jobs is None or service_s is None or price is None else jobs * service_s * price,
        schedule=None if drawn is None else hashlib.sha256(drawn.at_s.tobytes()).hexdigest()[:12],
    )


def max_connections(scenario: Scenario) -> int:
    """Return the most connections to the endpoint at once, one for each job in flight, of all processes together."""
    load, drawn = scenario.load, scenario.schedule()
    if isinstance(load, ClosedLoad):
        return max_users(load)
    return load.max_in_flight if drawn is None else min(load.max_in_flight, len(drawn))


def mean_service_s(scenario: Scenario) -> float | None:
    """Return the mean time in the embedded endpoint's handler, in seconds; None for another target."""
    if scenario.target != "embedded":
        return None
    chunks, llm = scenario.endpoint.chunks, scenario.endpoint.llm
    if llm is not None:
        return llm.mean_s()
    if chunks is not None:
        return chunks.first.mean_s() + (chunks.count - 1) * chunks.gap.mean_s()
    return scenario.endpoint.service_time.mean_s()


def _stages(load: OpenLoad | ClosedLoad, drawn: Schedule | None) -> tuple[StagePreview, ...]:
    if isinstance(load, ClosedLoad):
        peaks = [max(stage.users.start, stage.users.end) for stage in load.stages]
    else:
        peaks = peak_rates(load)
    counts = None if drawn is None else np.bincount(drawn.stage, minlength=len(load.stages))
    return tuple(
        StagePreview(stage.label(index + 1), stage.duration, peak, None if counts is None else int(counts[index]))
        for index, (stage, peak) in enumerate(zip(load.stages, peaks, strict=True))
    )


def _flow(scenario: Scenario, name: FlowName, drawn: Schedule | None, service_s: float | None) -> FlowPreview:
    jobs = None if drawn is None else int((drawn.flow == drawn.flows.index(name)).sum())
    polls = None if service_s is None else polls_of(name, scenario.flows[name], service_s)
    return FlowPreview(name, scenario.share(name), jobs, polls)


def polls_of(name: FlowName, flow: Flow, service_s: float) -> int | None:
    """Return how many polls a job without queueing needs; None for a stream, whose reads follow its chunks."""
    if name == "stream":
        return None
    left_s = service_s - flow.wait if name == "runsync" else service_s
    if name in ("webhook", "openai") or (name == "runsync" and left_s <= 0):
        return 0
    return POLICIES[flow.polling.policy].expected_polls(flow.polling, left_s)


def _polls(flows: tuple[FlowPreview, ...]) -> int | None:
    total = 0
    for flow in flows:
        if flow.jobs is None or flow.polls_per_job is None:
            return None
        total += flow.jobs * flow.polls_per_job
    return total


def _operation(scenario: Scenario, op: Op, drawn: Schedule | None) -> OperationPreview:
    limit = scenario.limit(op)
    if drawn is None or limit is None:
        return OperationPreview(op, limit, None)
    indices = [index for index, flow in enumerate(drawn.flows) if flow in FLOWS_BY_OPERATION[op]]
    # A rate that is the limit itself must not be one job over it for the rounding of two sums.
    just_under_s = limit.per_s * (1 - 1e-9)
    return OperationPreview(op, limit, max_in_window(drawn.at_s[np.isin(drawn.flow, indices)], just_under_s))


def _max_jobs(scenario: Scenario, service_s: float | None) -> int | None:
    """Return the most jobs of a load: by its users' mean cycles and by the limits, whichever is less."""
    load = scenario.load
    bounds = []
    for op, flows in FLOWS_BY_OPERATION.items():
        share, limit = sum(scenario.share(flow) for flow in scenario.flows if flow in flows), scenario.limit(op)
        if share and limit is not None:
            bounds.append(_allowed(limit, load.duration_s) / share)
    if isinstance(load, ClosedLoad) and service_s is not None and service_s + load.think > 0:
        cycle_s = service_s + load.think
        bounds.append(
            sum((s.users.start + s.users.end) / 2 * s.duration / cycle_s + s.users.end for s in load.stages)
        )
    return min((int(bound) for bound in bounds), default=None)


def _max_unfinished(load: OpenLoad | ClosedLoad, jobs: int | None) -> int:
    """Return the most jobs of a load that may be unfinished at once."""
    if isinstance(load, ClosedLoad):
        at_once = max(ceil(max(stage.users.start, stage.users.end)) for stage in load.stages)
    else:
        at_once = load.max_in_flight
    return at_once if jobs is None else min(at_once, jobs)


def _allowed(limit: Limit, for_s: float) -> float:
    return limit.requests * (for_s / limit.per_s + 1)


def _max_polls(scenario: Scenario, longest_s: float) -> int | None:
    """Return the polls that the limits of /status and, if used, /stream and /status-sync allow; None if unlimited."""
    asked = [Op.STATUS, Op.STREAM] if "stream" in scenario.flows else [Op.STATUS]
    if any(POLICIES[flow.polling.policy].long_polls for flow in scenario.flows.values()):
        asked.append(Op.STATUS_SYNC)
    limits = [limit for op in asked if (limit := scenario.limit(op)) is not None]
    return int(sum(_allowed(limit, longest_s) for limit in limits)) if len(limits) == len(asked) else None


def first_rate(scenario: Scenario) -> float:
    """Return the rate of the load as written, in jobs per second: the highest of its stages."""
    return max(peak_rates(_open(scenario)))


def scaled_to(scenario: Scenario, rate_per_s: float, stretch: int, seed: int) -> Scenario:
    """Return a probe: all rates scaled so that the highest is this one, every stage `stretch` times as long."""
    load = _open(scenario)
    factor = rate_per_s / first_rate(scenario)
    stages = [stage.model_copy(update=_scaled(stage, factor, stretch)) for stage in load.stages]
    changed = {"load": load.model_copy(update={"stages": tuple(stages)}), "seed": seed, "search": None}
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


def _scaled(stage: RateStage, factor: float, stretch: int) -> dict[str, object]:
    start, end = (float(f"{rate * factor:.6g}") for rate in (stage.rate.start, stage.rate.end))
    return {"rate": Ramp(start=start, end=end), "duration": stage.duration * stretch}
