"""Warnings about a scenario that can be sent: each is one line with a remedy."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil, log

from loadtest.protocol.operations import Op
from loadtest.scenario.flows import FlowName
from loadtest.scenario.gates import Gate, default_gates
from loadtest.scenario.model import Scenario
from loadtest.scenario.preview import Preview
from loadtest.scenario.target import is_remote
from loadtest.traffic.inputs import never_differ
from loadtest.traffic.polling import POLICIES
from loadtest.traffic.settings import ClosedLoad, OpenLoad
from loadtest.units import seconds_text


def warnings(preview: Preview) -> list[str]:
    """Return every warning about what a scenario would send."""
    kinds = (_of_budget, _of_stops, _of_gates, _of_inputs, _of_endpoint, _of_polling)
    return [text for kind in kinds for text in kind(preview)]


def _of_budget(preview: Preview) -> Iterator[str]:
    for operation in preview.operations:
        limit = operation.limit
        if limit is not None and operation.peak is not None and operation.peak > limit.requests:
            late = operation.peak - limit.requests
            yield (
                f"{operation.peak} jobs fall into the fullest {seconds_text(limit.per_s)} of /{operation.op}, "
                f"{late} more than its limit; they wait for the limit and show as send lag"
            )


def _of_stops(preview: Preview) -> Iterator[str]:
    scenario, ceilings = preview.scenario, preview.scenario.ceilings
    if preview.jobs is not None and ceilings.jobs is not None and ceilings.jobs < preview.jobs:
        yield f"ceilings.jobs stops the run after {ceilings.jobs} of {preview.jobs} jobs"
    if preview.cost is not None and ceilings.cost is not None and ceilings.cost < preview.cost:
        yield f"ceilings.cost is {ceilings.cost:g} US dollars, but execution would cost about {preview.cost:.4g}"
    if preview.jobs is not None and scenario.abort is not None and scenario.abort.jobs > preview.jobs:
        yield f"abort.jobs is {scenario.abort.jobs}, so with {preview.jobs} jobs the abort rule never applies"
    within_s = scenario.drain.cancel_within
    if is_remote(scenario.target) and within_s is not None and within_s < preview.cancelling_s:
        yield (
            f"cancelling {preview.cancels_at_most} unfinished jobs takes {seconds_text(preview.cancelling_s)}, "
            f"drain.cancel_within allows {seconds_text(within_s)}; the rest would stay on the endpoint, leave it out"
        )


def _of_gates(preview: Preview) -> Iterator[str]:
    """Yield gates that cannot pass, too low a rate or so few jobs that pⁿ is above 1 %; and the default gate."""
    for default in default_gates(preview.scenario.gates):
        yield f'gates on times lack one on errors, so "{default}" applies; write it, or one that allows more'
    for gate in preview.scenario.gates:
        if gate.metric.is_rate and not gate.metric.spec.summed and preview.peak_per_s is not None:
            offered_per_s = preview.peak_per_s * (1.0 if gate.flow is None else preview.scenario.share(gate.flow))
            if offered_per_s <= gate.limit:
                yield f'"{gate}" cannot pass, at most {offered_per_s:.4g}/s are offered; lower it or raise the rate'
        jobs = _jobs_of(preview, gate)
        share = gate.share_over
        if jobs is None or share is None:
            continue
        least = ceil(log(0.01) / log(1 - share))
        if jobs < least:
            yield f'"{gate}" cannot pass with {jobs} jobs, {least} are needed; it will be inconclusive or fail'


def _jobs_of(preview: Preview, gate: Gate) -> int | None:
    """Return the most jobs that a gate can apply to; None if that is not known before the run."""
    counts = [preview.jobs]
    counts += [flow.jobs for flow in preview.flows if flow.flow == gate.flow]
    named = [stage.jobs for stage in preview.stages if stage.name == gate.during]
    counts += [None if None in named else sum(filter(None, named))] if named else []
    return min((count for count in counts if count is not None), default=None)


def _of_inputs(preview: Preview) -> Iterator[str]:
    """Yield each flow that sends one input again and again to an endpoint that may keep what it has answered."""
    for name in fixed_inputs(preview.scenario) if preview.jobs != 1 else []:
        yield (
            f"flows.{name} sends the same input with each job, so a cache of prompts or of responses on the endpoint "
            f"makes it look faster than it is; write flows.{name}.inputs, such as a template with ${{uuid}}"
        )


def fixed_inputs(scenario: Scenario) -> list[FlowName]:
    """Return the flows whose jobs all have one input, if the target is on another machine."""
    if isinstance(scenario.load, ClosedLoad) and scenario.load.locustfile is not None:
        return []  # its tasks give the inputs
    return [name for name, flow in scenario.flows.items() if never_differ(flow.inputs) and is_remote(scenario.target)]


def _of_endpoint(preview: Preview) -> Iterator[str]:
    """Yield consequences of the embedded endpoint's settings."""
    scenario, service_s = preview.scenario, preview.service_s
    if service_s is None:
        return
    if preview.peak_per_s is not None:
        busy, workers = preview.peak_per_s * service_s, scenario.endpoint.workers
        if busy >= workers.most * workers.concurrency:
            each = f", with {workers.concurrency} jobs at once each" if workers.concurrency > 1 else ""
            most = f"there are at most {workers.most} workers{each}"
            yield f"the peak keeps {busy:.3g} jobs at work and {most}, so the queue grows"
        if isinstance(scenario.load, OpenLoad) and busy > scenario.load.max_in_flight:
            yield f"about {busy:.3g} jobs would be in flight at the peak, load.max_in_flight is less"
    text = f"a job takes about {seconds_text(round(service_s, 3))}"
    if service_s >= scenario.job_timeout:
        yield f"{text} and is abandoned after {seconds_text(scenario.job_timeout)}; raise job_timeout"
    if service_s >= scenario.drain.within:
        yield f"{text}, so the drain ends before the last jobs do; raise drain.within"
    for op in Op:
        kept, allowed = scenario.limit(op), scenario.endpoint.limit(op)
        if kept is not None and allowed is not None and kept.per_second > allowed.per_second:
            yield f"the run keeps to {kept} of /{op}, the endpoint allows {allowed}; expect 429s"


def _of_polling(preview: Preview) -> Iterator[str]:
    """Yield a warning if the polls of all jobs in flight, by Little's law, exceed the limit of /status."""
    limit = preview.scenario.limit(Op.STATUS)
    if limit is None or preview.peak_per_s is None or preview.service_s is None:
        return
    for flow in preview.flows:
        polling = preview.scenario.flows[flow.flow].polling
        if flow.flow == "run" and not POLICIES[polling.policy].shares_limit:
            polls = POLICIES[polling.policy].expected_polls(polling, preview.service_s)
            polls_per_s = preview.peak_per_s * flow.share * polls
            if polls_per_s > limit.per_second:
                yield (
                    f"{polling.policy} polling asks {polls_per_s:.4g} times a second at the peak, /status allows "
                    f'{limit.per_second:.4g}; polls will be late, write "policy: shared" or a longer every'
                )
