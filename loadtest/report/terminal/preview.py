"""The output of `loadtest check`: a preview in 80 columns."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean

from loadtest.capacity.breakpoint.bisection import Bounds, longest_load_s, usual_probes
from loadtest.errors import UsageError
from loadtest.process import OWN_FILES, UNLIMITED, too_few
from loadtest.protocol.operations import Op
from loadtest.report.formatting import DASH, count, dollars, duration, share, significant
from loadtest.scenario.abort import abort_rule
from loadtest.scenario.environment import api_key, default_key, key_variable
from loadtest.scenario.gates import default_gates
from loadtest.scenario.model import Scenario, Search
from loadtest.scenario.preview import (
    OperationPreview,
    Preview,
    blocking_reason,
    first_rate,
    max_connections,
    scaled_to,
)
from loadtest.scenario.target import HandlerTarget, RemoteTarget
from loadtest.scenario.warnings import warnings
from loadtest.traffic.inputs import Template
from loadtest.traffic.settings import ClosedLoad, Gamma, Trace

WIDTH = 80
_LABEL_WIDTH = 12


def preview_lines(preview: Preview, environment: Mapping[str, str], open_files: int = UNLIMITED) -> Iterator[str]:
    """Yield the preview line by line, warnings last; of the key, only whether the environment has it.

    `open_files` is how many a process may have open here.
    """
    scenario = preview.scenario
    yield from textwrap.wrap(" - ".join(filter(None, [scenario.name, scenario.question])), WIDTH)
    yield ""
    yield from _labelled("target", _target(scenario))
    yield from _labelled("key", _key(scenario, environment))
    yield from _labelled("load", _load(preview))
    for name, flow in scenario.flows.items():
        if isinstance(flow.inputs, Template) and (lengths := flow.inputs.length_text):
            yield from _labelled("lengths", f"{name}: {lengths}")
        if flow.repeat_every is not None:
            text = f"{name}: one of each {flow.repeat_every} jobs sends the input of an earlier one again"
            yield from _labelled("repeats", text)
    yield from _labelled("seed", _seed(preview))
    yield from _labelled("time", _time(preview))
    if scenario.search is not None:
        yield from _labelled("search", _search(scenario, scenario.search))
    yield ""
    peak = "{:g} users" if isinstance(scenario.load, ClosedLoad) else "{:.4g}/s"
    stages = [[s.name, duration(s.duration_s), peak.format(s.peak), count(s.jobs)] for s in preview.stages]
    yield from _table(["stage", "for", "peak", "jobs"], stages)
    yield ""
    yield from _table(
        ["flow", "share", "jobs", "polls per job"],
        [[f.flow, share(f.share), count(f.jobs), count(f.polls_per_job)] for f in preview.flows],
    )
    yield ""
    yield from _table(["submits by", "fullest", "limit"], [_operation(each) for each in preview.operations])
    yield ""
    yield from _labelled("requests", _requests(preview))
    yield from _labelled("cancelling", _cancelling(preview))
    yield from _labelled("open files", _open_files(scenario, open_files))
    yield from _labelled("cost", _cost(preview))
    yield from _labelled("ceilings", _ceilings(scenario))
    if scenario.gates:
        by_default = (f"{gate} (default)" for gate in default_gates(scenario.gates))
        yield from _labelled("gates", "; ".join([*map(str, scenario.gates), *by_default]))
    problems = (*_of_key(scenario, environment), *warnings(preview), too_few(max_connections(scenario), open_files))
    for warning in filter(None, problems):
        yield ""
        yield from textwrap.wrap(f"warning: {warning}", WIDTH, subsequent_indent="  ", break_on_hyphens=False)


def _labelled(label: str, text: str) -> list[str]:
    indent = " " * _LABEL_WIDTH
    first = f"{label:<{_LABEL_WIDTH}}"
    return textwrap.wrap(
        text, WIDTH, initial_indent=first, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield the rows, the first column aligned left and shortened to the width, the others aligned right."""
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    widths[0] = min(max(widths[0], _LABEL_WIDTH - 2), WIDTH - sum(widths[1:]) - 2 * (len(head) - 1))
    for row in (head, *rows):
        name = textwrap.shorten(row[0], widths[0], placeholder="…")
        cells = [
            f"{name:<{widths[0]}}",
            *(f"{cell:>{width}}" for cell, width in zip(row[1:], widths[1:], strict=True)),
        ]
        yield "  ".join(cells).rstrip()


def _target(scenario: Scenario) -> str:
    if isinstance(scenario.target, RemoteTarget):
        return scenario.target.url
    workers = scenario.endpoint.workers
    what = "embedded endpoint"
    if isinstance(scenario.target, HandlerTarget):
        what = f"{scenario.target.handler.name} in real workers"
    return f"{what}, {workers.active} active workers, {workers.most} at most"


def _key(scenario: Scenario, environment: Mapping[str, str]) -> str:
    name = key_variable(scenario.target)
    if environment.get(name):
        return f"{name}, which is set"
    default = default_key(scenario.target)
    return f"{name}, which is not set" + (f': "{default}" is used' if default else "")


def _of_key(scenario: Scenario, environment: Mapping[str, str]) -> Iterator[str]:
    try:
        api_key(scenario, environment)
    except UsageError as error:
        yield str(error)


def _load(preview: Preview) -> str:
    load = preview.scenario.load
    if isinstance(load, ClosedLoad):
        return f"closed model, users think for {duration(load.think)} ({load.think_distribution})"
    match load.arrivals:
        case Gamma():
            arrivals = f"gamma arrivals, CV {load.arrivals.gamma_cv:g}"
        case Trace():
            arrivals = f"a trace of {len(load.arrivals.times):,} arrivals at speed {load.arrivals.speed:g}"
            if load.arrivals.input_tokens:
                given, made = fmean(load.arrivals.input_tokens), fmean(load.arrivals.output_tokens)
                arrivals = f"{arrivals} ({load.arrivals.format}, mean {given:.4g} tokens in and {made:.4g} out)"
        case _:
            arrivals = f"{load.arrivals} arrivals"
    return f"open model, {arrivals}, peak {preview.peak_per_s:.4g}/s"


def _seed(preview: Preview) -> str:
    schedule = "" if preview.schedule is None else f", schedule {preview.schedule}"
    return f"{preview.scenario.seed}{schedule}, scenario {preview.scenario.hash()}"


def _time(preview: Preview) -> str:
    drain = preview.scenario.drain
    cancelling_s = preview.cancelling_s if drain.cancel_within is None else drain.cancel_within
    return (
        f"{duration(preview.scenario.load.duration_s)} of load, then up to {duration(drain.within)} of drain and "
        f"{duration(cancelling_s)} of cancelling: {duration(preview.longest_s)} at most"
    )


def _cancelling(preview: Preview) -> str:
    limit = preview.scenario.limit(Op.CANCEL)
    time = "" if limit is None else f": {duration(preview.cancelling_s)} at {limit}"
    return f"at worst {preview.cancels_at_most:,} unfinished jobs{time}"


def _search(scenario: Scenario, search: Search) -> str:
    """Return the range of a search; the rest of the preview describes its first probe."""
    first_per_s, max_per_s = first_rate(scenario), search.max_rate
    bounds = Bounds(first_per_s, max_per_s, search.within)
    probes, longest_s = usual_probes(bounds), longest_load_s(bounds, scenario.load.duration_s)
    text = (
        f"this load, the first probe, then others up to {max_per_s:.4g}/s until a gate fails, to within "
        f"{share(search.within)}: about {probes} probes, more if two disagree, with "
        f"{duration(longest_s)} of load at most"
    )
    why = blocking_reason(scaled_to(scenario, max_per_s, 1, scenario.seed))
    return text if why is None else f"{text}; it does not reach {max_per_s:.4g}/s: {why}"


def _operation(operation: OperationPreview) -> list[str]:
    if operation.limit is None:
        return [f"/{operation.op}", count(operation.peak), "none"]
    limit, within = operation.limit, f"in {duration(operation.limit.per_s)}"
    peak = DASH if operation.peak is None else f"{operation.peak:,} {within}"
    at_once = "" if limit.concurrent is None else f", {limit.concurrent:,} at once"
    return [f"/{operation.op}", peak, f"{limit.requests:,} {within}{at_once}"]


def _requests(preview: Preview) -> str:
    up_to = "up to about " if isinstance(preview.scenario.load, ClosedLoad) else ""
    jobs = "as many submissions as the users send" if preview.jobs is None else f"{up_to}{preview.jobs:,} submissions"
    if preview.polls is not None:
        polls = f", about {preview.polls:,} polls if no job queues"
    elif preview.service_s is None:
        polls = "; polls per job depend on how long your jobs take"
    elif any(flow.flow == "stream" for flow in preview.flows):
        polls = "; reads per streamed job depend on when its chunks come"
    else:
        polls = ""
    max_polls = "" if preview.polls_at_most is None else f"; at most {preview.polls_at_most:,} polls by the limits"
    return f"{jobs}{polls}{max_polls}"


def _open_files(scenario: Scenario, limit: int) -> str:
    needed = max_connections(scenario) + OWN_FILES
    return f"up to {needed:,}, one for each job in flight; a process may have {limit:,} here (ulimit -n)"


def _cost(preview: Preview) -> str:
    price = preview.scenario.price
    if price is None:
        return "unknown; add price, in US dollars per worker-second"
    if preview.cost is None or preview.jobs is None or preview.service_s is None:
        return f"{dollars(price)} per worker-second; unknown, it needs the measured time of a job"
    time = f"{preview.jobs:,} jobs of {significant(preview.service_s)} s at {dollars(price)} per second"
    return f"about {dollars(preview.cost)} of execution: {time}"


def _ceilings(scenario: Scenario) -> str:
    ceilings, rule = scenario.ceilings, abort_rule(scenario)
    by_default = "" if scenario.abort is not None else " (default)"
    errors = None if rule is None else f"more than {share(rule.errors)} fail within {duration(rule.over)}{by_default}"
    parts = [
        None if ceilings.jobs is None else f"{ceilings.jobs:,} jobs",
        None if ceilings.cost is None else dollars(ceilings.cost),
        None if errors is None else f"stops when {errors}",
        *(f"or {gate} does not hold" for gate in (() if rule is None else rule.gates)),
    ]
    return ", ".join(filter(None, parts)) or "none"
