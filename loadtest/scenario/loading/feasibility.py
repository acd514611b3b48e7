"""The feasibility of a scenario before the first request: rates over limits, targets without ceilings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from typing import Any

from loadtest.errors import ScenarioError
from loadtest.protocol.json_values import encode_json
from loadtest.protocol.operations import OPERATIONS, Limit, Op
from loadtest.scenario.flows import FLOWS_BY_OPERATION, SUBMIT_OPERATION, FlowName
from loadtest.scenario.gates import STEADY, Gate
from loadtest.scenario.loading.errors import Issue
from loadtest.scenario.loading.user_functions import load_input_function, load_output_function
from loadtest.scenario.loading.yaml_document import Path
from loadtest.scenario.model import Flow, Scenario, Search
from loadtest.scenario.openai_body import openai_body
from loadtest.scenario.target import is_remote
from loadtest.traffic.arrivals import expected_jobs, peak_rates
from loadtest.traffic.inputs import Function, JsonLines, Template, input_source, never_differ, uses_trace
from loadtest.traffic.settings import ClosedLoad, OpenLoad, Trace, trace_lengths

MAX_JOBS = 20_000_000
"""The schedule is drawn ahead and held in memory, at 11 bytes a job."""
MAX_STAGES = 1_000
"""More than a report can name; a sample holds its stage in 16 bits."""

_SUBMISSION = {"id", "input", "webhook", "policy", "s3Config"}
"""The keys of a submission's body."""
_TRIED = 3
"""The number of inputs that are made as a test."""

_POLLED_BY: dict[Op, tuple[str, ...]] = {Op.STATUS: ("run", "stream"), Op.STREAM: ("stream",)}
"""The flows that need an operation at least once per job, in addition to the submission."""


def find_issues(scenario: Scenario) -> Iterator[Issue]:
    """Yield everything that keeps a scenario from being sent, each with its path in the file."""
    yield from _of_target(scenario)
    yield from _of_flows(scenario)
    yield from _of_gates(scenario, ("gates",), scenario.gates)
    if scenario.abort is not None:
        yield from _of_gates(scenario, ("abort", "gates"), scenario.abort.gates)
    if scenario.ceilings.cost is not None and scenario.price is None and not is_remote(scenario.target):
        yield Issue(("ceilings", "cost"), "a cost ceiling needs a price; add price, in US dollars per worker-second")
    if scenario.search is not None:
        yield from _of_search(scenario, scenario.search)
    stages = len(scenario.load.stages)
    if stages > MAX_STAGES:
        text = f"{stages} stages, but a load has at most {MAX_STAGES}; use a ramp or a trace"
        yield Issue(("load", "stages"), text)
    if isinstance(scenario.load, OpenLoad):
        yield from _of_rates(scenario, scenario.load)


def _of_target(scenario: Scenario) -> Iterator[Issue]:
    target = scenario.target
    if not is_remote(target):
        return
    if target.url.startswith("http://") and not target.allow_plain_http:
        text = "the key would go to another machine unencrypted; write https://"
        hint = 'or, for a host in your own cluster, target: {url: "http://…", allow_plain_http: true}'
        yield Issue(("target",), f"{text}, {hint}")
    examples = {"jobs: 1000": scenario.ceilings.jobs, "cost: 5": scenario.ceilings.cost}
    ceilings = ", ".join(example for example, given in examples.items() if given is None)
    missing = ["price: 0.00031"] if scenario.price is None else []
    if ceilings:
        missing.append(f"ceilings: {{{ceilings}}}")
    if missing:
        text = "a target that is not on this machine needs a price, in US dollars per worker-second, and ceilings on"
        yield Issue(("target",), f"{text} jobs and cost; add {' and '.join(missing)}")


def _of_flows(scenario: Scenario) -> Iterator[Issue]:
    streams = scenario.endpoint.chunks is not None or scenario.endpoint.llm is not None
    if "stream" in scenario.flows and scenario.target == "embedded" and not streams:
        text = "the embedded endpoint streams nothing; add endpoint.chunks: {count: 20, first: 200ms}"
        yield Issue(("flows", "stream"), text)
    if "webhook" in scenario.flows and is_remote(scenario.target) and scenario.webhooks.url is None:
        text = "an endpoint on another machine cannot call 127.0.0.1; add webhooks: {url: ..., port: ...}"
        yield Issue(("flows", "webhook"), text)
    for name, flow in scenario.flows.items():
        if flow.expect is not None and flow.expect.python is not None:
            try:
                load_output_function(flow.expect.python)
            except ScenarioError as error:
                yield Issue(("flows", name, "expect", "python"), str(error).removeprefix("expect.python: "))
        if flow.repeat_every is not None and (why_not := _unable_to_repeat(scenario, flow)):
            yield Issue(("flows", name, "repeat_every"), why_not)
        if isinstance(scenario.load, ClosedLoad) and scenario.load.locustfile is not None:
            continue  # the tasks give the inputs
        op = SUBMIT_OPERATION[name]
        most = OPERATIONS[op].body_limit_bytes
        key = "input" if flow.inputs is None else "inputs"
        try:
            sent = max(_body_bytes(name, flow, each) for each in _first_inputs(flow, scenario))
        except (ScenarioError, TypeError) as error:
            yield Issue(("flows", name, key), str(error).removeprefix("inputs: "))
            continue
        if sent > most:
            text = f"{sent / 1e6:.3g} MB, but /{op} takes at most {most / 1e6:g} MB; send less"
            yield Issue(("flows", name, key), text)


def _unable_to_repeat(scenario: Scenario, flow: Flow) -> str | None:
    """Return why a flow's repeats could not be compared with jobs that have an input of their own."""
    if never_differ(flow.inputs):
        return "all jobs send the same input, so each is a repeat; write inputs, such as a template with ${uuid}"
    if isinstance(scenario.load, ClosedLoad) and len(scenario.flows) > 1:
        return "in a closed load, whose jobs are numbered as users come, it needs a scenario with one flow; write one"
    return None


def _body_bytes(name: FlowName, flow: Flow, job_input: Any) -> int:
    return len(openai_body(job_input, flow) if name == "openai" else encode_json({"input": job_input}))


def _first_inputs(flow: Flow, scenario: Scenario) -> Sequence[Any]:
    """Return the input of all jobs, or all lines, or the first inputs of a template or a function.

    Raises ScenarioError if an input takes its length from a trace, and the load has none.
    """
    if flow.inputs is None:
        return [flow.input]
    if isinstance(flow.inputs, JsonLines):
        return flow.inputs.lines
    lengths, tried = trace_lengths(scenario.load), _TRIED
    if isinstance(flow.inputs, Template) and uses_trace(flow.inputs.template):
        if not lengths[0]:
            raise ScenarioError(
                '"${trace …}" needs arrivals with lengths; write load.arrivals: {trace: requests.csv}'
            )
        tried = min(_TRIED, len(lengths[0]))
    input_of = input_source(flow.inputs, scenario.seed, load_input_function, lengths=lengths)
    return [input_of(seq) for seq in range(tried)]


def doubtful_inputs(scenario: Scenario) -> Iterator[Issue]:
    """Yield the inputs that are whole submissions, or all inputs in one array: each would be sent as one input."""
    for name, flow in scenario.flows.items():
        match flow.inputs:
            case None:
                key, found = "input", [flow.input]
            case JsonLines():
                key, found = "inputs", list(flow.inputs.lines)
            case Template():
                key, found = "inputs", [flow.inputs.template]
            case Function():  # called only to be sent
                continue
        nested = sum(isinstance(each, dict) and "input" in each and each.keys() <= _SUBMISSION for each in found)
        if nested:
            count = f"{nested} of {len(found)} lines are" if isinstance(flow.inputs, JsonLines) else "it is"
            text = f'{count} {{"input": …}}, so the handler gets an input within its input; write only what is inside'
            yield Issue(("flows", name, key), text)
        if (
            isinstance(flow.inputs, JsonLines)
            and len(found) == 1
            and isinstance(found[0], list)
            and len(found[0]) > 1
        ):
            text = (
                f"the only line is an array of {len(found[0])} values, which is one input; write one value per line"
            )
            yield Issue(("flows", name, key), text)


def _of_gates(scenario: Scenario, path: Path, gates: Sequence[Gate]) -> Iterator[Issue]:
    for index, gate in enumerate(gates):
        if unknown := unknown_reference(scenario, gate):
            yield Issue((*path, index), unknown)


def _of_search(scenario: Scenario, search: Search) -> Iterator[Issue]:
    """Yield what a search lacks: rates to change, objectives, and a range to search."""
    load = scenario.load
    if not isinstance(load, OpenLoad) or isinstance(load.arrivals, Trace):
        text = "a search changes the rates of an open load, and this load has none; write load.stages with rates"
        yield Issue(("search",), text)
        return
    if not scenario.gates:
        yield Issue(("search",), 'a search needs an objective; add gates: ["delay p95 < 2s"]')
    peak = max(peak_rates(load))
    if peak > search.max_rate:
        text = f"{search.max_rate:g}/s is less than the load's own {peak:g}/s, where a search begins; raise it"
        yield Issue(("search", "max_rate"), text)


def unknown_reference(scenario: Scenario, gate: Gate) -> str | None:
    """Return the stage or flow that a gate names and the scenario does not have; None if it has all."""
    names = [*(stage.label(number) for number, stage in enumerate(scenario.load.stages, 1)), STEADY]
    if gate.during is not None and gate.during not in names:
        near = get_close_matches(gate.during, names, n=1)
        hint = f'did you mean "{near[0]}"?' if near else f"use one of {', '.join(names)}"
        return f'no stage is called "{gate.during}"; {hint}'
    flows = gate.flows if gate.flow is None else (gate.flow,)
    if any(flow in scenario.flows for flow in flows):
        return None
    return f'"{gate}" needs jobs of {" or ".join(flows)}, and the scenario has none; add flows.{flows[0]}'


def _of_rates(scenario: Scenario, load: OpenLoad) -> Iterator[Issue]:
    """Yield each stage whose highest mean rate exceeds the limit of an operation."""
    for index, peak in enumerate(peak_rates(load)):
        for op, flows in (*FLOWS_BY_OPERATION.items(), *_POLLED_BY.items()):
            used = [flow for flow in scenario.flows if flow in flows]
            limit, offered = scenario.limit(op), peak * sum(scenario.share(flow) for flow in used)
            if limit is not None and offered > limit.per_second * (1 + 1e-9):
                yield Issue(("load", "stages", index, "rate"), _over(offered, op, limit, used))
    jobs = expected_jobs(load)
    if jobs > MAX_JOBS:
        text = f"{jobs:.0f} jobs, but a schedule holds at most {MAX_JOBS}; shorten a stage or lower its rate"
        yield Issue(("load", "stages"), text)


def _over(offered: float, op: Op, limit: Limit, flows: list[FlowName]) -> str:
    named = " and ".join(f'"{flow}"' for flow in flows)
    asks = f"{offered:.4g} jobs/s of {named} each need at least one"
    what = f"offers {offered:.4g}/s to" if op in FLOWS_BY_OPERATION else asks
    return (
        f"{what} /{op}, the limit is {limit.requests} per {limit.per_s:g} s ({limit.per_second:.4g}/s); "
        f"lower the rate or the share of {named}, or raise limits.{op} if your endpoint allows more"
    )
