"""Gates: objectives as text, such as "delay p95 < 2s of runsync during steady", parsed and written."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from math import isfinite
from typing import Annotated, NamedTuple, get_args

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

from loadtest.scenario.flows import FlowName
from loadtest.scenario.job_limits import EXAMPLE, PERCENTILE, JobLimit, job_limits_text, parse_job_limits
from loadtest.scenario.metrics import Kind, Metric
from loadtest.units import (
    StrictModel,
    fraction,
    fraction_text,
    per_second,
    per_second_text,
    quoted,
    seconds,
    seconds_text,
)

STEADY = "steady"
"""The stage of that name if the load has one, else the steady window that the analysis finds."""


class Gate(StrictModel):
    """One objective; `limit` in seconds, as a fraction of one, or per second, as the metric has it."""

    metric: Metric
    """The metric."""
    statistic: str = ""
    """For a time: `p95` and the like, `mean` or `max`; empty for other metrics."""
    limit: float
    """The value that the metric must stay below, or for goodput and rates above."""
    flow: FlowName | None = None
    """The flow whose jobs it judges; all flows together if none is given."""
    during: str | None = None
    """The stage in which its jobs were meant to start, or the steady window; the whole run if none is given."""
    per_worker: bool = False
    """Whether it applies to each worker by itself."""
    where: tuple[JobLimit, ...] = ()
    """Of goodput: the limits that a job has to meet, all of them."""

    @property
    def flows(self) -> tuple[FlowName, ...]:
        """Return the flows that have all its times."""
        limited = [each.metric.spec.flows for each in self.where]
        return tuple(flow for flow in self.metric.spec.flows if all(flow in each for each in limited))

    @property
    def per_mille(self) -> int | None:
        """Return the percentile in thousandths; None if the statistic is not a percentile."""
        match = PERCENTILE.fullmatch(self.statistic)
        return None if match is None else int(match[1]) * 10 + int(match[2] or 0)

    @property
    def share_over(self) -> float | None:
        """Return the share (0 to 1) of jobs that may be over a limit; None if it is not what decides."""
        if self.metric.is_share:
            return 1 - self.limit if self.metric.more_is_better else self.limit
        return None if self.per_mille is None else (1000 - self.per_mille) / 1000

    def __str__(self) -> str:
        """Return the gate as text; `parse_gate` reads back exactly the same gate."""
        words = [self.metric.value, self.statistic, _sign(self.metric), limit_text(self)]
        words += [f"where {job_limits_text(self.where)}"] if self.where else []
        words += ["per worker"] if self.per_worker else []
        words += [f"of {self.flow}"] if self.flow else []
        if self.during is not None:
            bare = _BARE.fullmatch(self.during) and not re.match(_KEYWORD, self.during)
            ascii_only = not self.during.isprintable()
            words.append(f"during {self.during if bare else json.dumps(self.during, ensure_ascii=ascii_only)}")
        return " ".join(filter(None, words))


DEFAULT_ERRORS = Gate(metric=Metric.ERRORS, limit=0.01)
"""The gate on errors of all jobs if there are gates on times and no gate on errors covers them."""


def default_gates(gates: Sequence[Gate]) -> tuple[Gate, ...]:
    """Return the default gate on errors if a gate on times has none next to it that counts its jobs, else nothing."""
    errors = [gate for gate in gates if gate.metric is Metric.ERRORS]
    lacking = any(
        not any(each.flow in (None, gate.flow) and each.during in (None, gate.during) for each in errors)
        for gate in gates
        if gate.metric.is_time
    )
    return (DEFAULT_ERRORS,) if lacking else ()


_KEYWORD = r"(?:of\b|during\b|where\b|per\s+worker\b)"
_BARE = re.compile(r"[A-Za-z0-9_.+-]+")
_CLAUSES = (
    re.compile(r"(?P<per_worker>per\s+worker)(?=\s|$)"),
    re.compile(r"of\s+(?P<flow>[^\s]+)"),
    re.compile(rf"where\s+(?P<where>(?!{_KEYWORD})\S+(?:\s+(?!{_KEYWORD})\S+)*)"),
    re.compile(r"during\s+(?P<quoted>\"(?:[^\"\\]|\\.)*\")(?=\s|$)"),
    re.compile(rf"during\s+(?P<during>(?!{_KEYWORD})[^\s\"]+(?:\s+(?!{_KEYWORD})[^\s\"]+)*)"),
)


class _Limit(NamedTuple):
    """How the limit of a metric is found, read and written, and a gate as an example."""

    pattern: str
    read: Callable[[object], float]
    write: Callable[[float], str]
    example: str


_TIME = rf"[0-9.]+\s*(?!{_KEYWORD})[A-Za-z]+"
_RATE = rf"[0-9.]+\s*(?:/|per)\s*[0-9.]*\s*(?!{_KEYWORD})[A-Za-z]+"
_LIMITS = {
    Kind.TIME: _Limit(_TIME, seconds, seconds_text, "delay p95 < 2s"),
    Kind.SHARE: _Limit(r"[0-9.]+\s*%", fraction, fraction_text, "errors < 1 %"),
    Kind.RATE: _Limit(_RATE, per_second, per_second_text, "throughput > 20/s"),
}


def parse_gate(text: object) -> Gate:
    """Return the gate of a text; ValueError names the part that is not valid and shows the nearest valid form."""
    if isinstance(text, Gate):
        return text
    match = re.fullmatch(r"\s*([^<>]*?)\s*([<>])\s*(.*?)\s*", text, re.DOTALL) if isinstance(text, str) else None
    if match is None or match[3].startswith("="):
        raise ValueError(f'{quoted(text)} is not a gate; write it like "delay p95 < 2s"')
    head, sign, tail = " ".join(match[1].split()), match[2], match[3]
    metric, statistic = _head(head, sign, tail)
    right_sign = _sign(metric)
    if sign != right_sign:
        raise ValueError(f'"{head} {sign}" asks for the worse value; write "{head} {right_sign} {_plain(tail)}"')
    kind = metric.spec.kind
    found = re.match(_LIMITS[kind].pattern, tail)
    stated = found[0] if found else re.split(rf"\s+{_KEYWORD}", tail)[0]
    clauses = _clauses(tail[len(stated) :])
    gate = Gate.model_validate({"metric": metric, "statistic": statistic, "limit": _limit(stated, kind), **clauses})
    _validate_combination(gate)
    return gate


def _head(head: str, sign: str, tail: str) -> tuple[Metric, str]:
    """Return the metric and its statistic, from the words before the sign."""
    name, _, statistic = (head, "", "") if head in set(Metric) else head.rpartition(" ")
    if name not in set(Metric):
        raise ValueError(f"{quoted(head)} is not a metric; {_near_form(head, sign, tail)}")
    metric = Metric(name)
    if not metric.is_time:
        if statistic:
            form = f"{name} {sign} {_plain(tail)}"
            raise ValueError(f'"{name}" has no {quoted(statistic)}, it is one figure; write "{form}"')
        return metric, ""
    if not statistic:
        raise ValueError(f'"{name}" needs a statistic; write "{name} p95 {sign} {_plain(tail)}", or mean, or max')
    return metric, _statistic(statistic)


def _statistic(text: str) -> str:
    if text in ("mean", "max"):
        return text
    match = PERCENTILE.fullmatch(text)
    if match is None or int(match[1]) < 50:
        near = get_close_matches(text, ["p50", "p90", "p95", "p99", "p99.9", "mean", "max"], n=1, cutoff=0.4)
        raise ValueError(f'{quoted(text)} is neither a percentile from p50 to p99.9, nor mean, nor max; '
                         f'write it like "{near[0] if near else "p95"}"')  # fmt: skip
    return text.removesuffix(".0")


def _near_form(head: str, sign: str, tail: str) -> str:
    lower = head.lower()
    if lower.startswith(Metric.GOODPUT):
        return f'write it like "{EXAMPLE}"'
    within = [metric for metric in Metric if metric in lower]
    words = lower.rpartition(" ")[0] or lower
    near = within or get_close_matches(words, list(Metric), n=1) or get_close_matches(lower, list(Metric), n=1)
    if not near:
        return f"use one of {', '.join(Metric)}"
    given = [word for word in head.split() if word in ("mean", "max") or PERCENTILE.fullmatch(word)]
    statistic = f" {given[0] if given else 'p95'}" if Metric(near[0]).is_time else ""
    return f'write "{near[0]}{statistic} {sign} {_plain(tail)}"'


def _plain(text: str) -> str:
    return " ".join(text.split())


def _sign(metric: Metric) -> str:
    return ">" if metric.more_is_better else "<"


def _limit(text: str, kind: Kind) -> float:
    value = _LIMITS[kind].read(" ".join(text.split()))
    if not isfinite(value) or value <= 0 or (kind is Kind.SHARE and value >= 1):
        between = "between 0 % and 100 %" if kind is Kind.SHARE else "more than 0"
        raise ValueError(f'the limit {quoted(text)} must be {between}; write it like "{_LIMITS[kind].example}"')
    return value


def _clauses(text: str) -> dict[str, object]:
    """Return the clauses after the limit, such as `of FLOW` and `during STAGE`, in any order, each once."""
    found: dict[str, object] = {}
    rest = text
    while rest := rest.strip():
        match = next((match for clause in _CLAUSES if (match := clause.match(rest))), None)
        if match is None:
            raise ValueError(f"{quoted(rest)} was not understood; {_near_clause(rest)}")
        key, value = next((key, value) for key, value in match.groupdict().items() if value is not None)
        key = "during" if key == "quoted" else key
        if key in found:
            raise ValueError(f"{quoted(match[0])} is given more than once; write a gate for each")
        found[key] = _clause_value(key, value)
        rest = rest[match.end() :]
    return found


def _clause_value(key: str, value: str) -> object:
    if key == "flow" and value not in get_args(FlowName):
        near = get_close_matches(value, get_args(FlowName), n=1)
        raise ValueError(f'"of" {quoted(value)} is not a flow; write "of {near[0] if near else "run"}"')
    if key == "where":
        return parse_job_limits(value)
    if value.startswith('"'):
        try:
            return json.loads(value, strict=False)
        except ValueError:
            example = '"during \\"ramp up\\""'
            raise ValueError(f"{quoted(value)} is not a name in quotes; write it like {example}") from None
    return True if key == "per_worker" else _plain(value)


def _near_clause(rest: str) -> str:
    word, _, more = rest.partition(" ")
    near = get_close_matches(word, ["during", "of", "per", "where"], n=1)
    if not near and re.search("[<>]", rest):
        near = ["where"]
    if not near:
        return 'after the limit write "during STAGE", "of FLOW" or "per worker"'
    if near[0] == "per":
        return 'write "per worker"'
    if near[0] == "where":
        return 'write it like "where ttft < 1s and tpot < 50ms"'
    named = _plain(more).replace('"', "") or {"during": "STAGE", "of": "FLOW"}[near[0]]
    return f'write "{near[0]} {named}"'


def _validate_combination(gate: Gate) -> None:
    if gate.where and gate.metric is not Metric.GOODPUT:
        limits = job_limits_text(gate.where)
        raise ValueError(f'"where" goes with goodput; write it like "goodput > 95 % where {limits}"')
    if gate.metric is Metric.GOODPUT and not gate.where:
        raise ValueError(f'"goodput" needs the limits that a job has to meet; write it like "{EXAMPLE}"')
    if gate.per_worker and gate.metric.is_pooled:
        raise ValueError(f'"{gate.metric}" is of all workers together; leave "per worker" out')
    if gate.per_worker and gate.per_mille is None:
        raise ValueError('"per worker" goes with a percentile; write it like "execution p95 < 8s per worker"')
    if gate.flow is not None and gate.flow not in gate.flows:
        lacking = next(
            each for each in (gate.metric, *(each.metric for each in gate.where)) if gate.flow not in each.spec.flows
        )
        raise ValueError(f'jobs of {gate.flow} have no "{lacking}"; write "of {gate.flows[0]}" or leave the flow out')


def limit_text(gate: Gate, value: float | None = None) -> str:
    """Return the limit, or a value of its kind, with its unit; it reads back as exactly the same number."""
    return _LIMITS[gate.metric.spec.kind].write(gate.limit if value is None else value)


GateText = Annotated[
    Gate,
    BeforeValidator(parse_gate, json_schema_input_type=str),
    PlainSerializer(str),
    WithJsonSchema({"type": "string", "pattern": "[<>]", "examples": ["delay p95 < 2s"]}),
]
