"""The scenario: target, load, flows, limits, endings, validity, search, and the embedded endpoint's settings."""

from __future__ import annotations

import hashlib
import re
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import AfterValidator, Discriminator, Field, Tag, field_validator, model_validator

from loadtest.endpoint.settings import EndpointSettings
from loadtest.errors import url_without_secrets
from loadtest.protocol.client_messages import Policy
from loadtest.protocol.json_values import canonical_json
from loadtest.protocol.operations import (
    EXECUTION_TIMEOUT,
    JOB_TTL,
    OPERATIONS,
    RUNSYNC_WAIT,
    Limit,
    LimitText,
    Op,
    TimeRange,
)
from loadtest.scenario.expect import Expect
from loadtest.scenario.flows import FLOWS, FlowName
from loadtest.scenario.gates import Gate, GateText
from loadtest.scenario.target import URL, HandlerTarget, RemoteTarget, Target
from loadtest.traffic.arrivals import Schedule, draw_schedule
from loadtest.traffic.inputs import Inputs
from loadtest.traffic.repeats import RepeatPlan
from loadtest.traffic.settings import ClosedLoad, OpenLoad, Polling
from loadtest.units import Fraction, PerSecond, Seconds, StrictModel, seconds_text

HASH_EXCLUDED = ("name", "question", "target", "endpoint", "seed", "gates", "search")
"""The keys that may differ between two runs of the same scenario: its name, the system under test (the embedded
endpoint's settings as much as a remote target), its objectives, and a search, which consists of many runs."""


def _within(allowed: TimeRange, what: str) -> AfterValidator:
    min_s, max_s = allowed.min_ms / 1000, allowed.max_ms / 1000

    def checked(value_s: float | None) -> float | None:
        if value_s is not None and not min_s <= value_s <= max_s:
            raise ValueError(f"outside what {what} takes; write {seconds_text(min_s)} to {seconds_text(max_s)}")
        return value_s

    return AfterValidator(checked)


class JobPolicy(StrictModel):
    """The policy of a flow's submissions; keys that are not given are left to the endpoint."""

    execution_timeout: Annotated[Seconds | None, _within(EXECUTION_TIMEOUT, "policy.executionTimeout")] = None
    """How long a job may be in the handler, 5 s to 7 days."""
    ttl: Annotated[Seconds | None, _within(JOB_TTL, "policy.ttl")] = None
    """How long after its submission a job may be unfinished before it expires, 10 s to 7 days."""
    low_priority: bool = False
    """Whether the job does not make a worker start."""

    def to_wire(self) -> Policy | None:
        """Return the policy as it is sent; None if it asks for nothing."""
        times_s = {"execution_timeout_ms": self.execution_timeout, "ttl_ms": self.ttl}
        times_ms = {key: round(time_s * 1000) for key, time_s in times_s.items() if time_s is not None}
        asked = Policy(**times_ms, low_priority=self.low_priority)
        return None if asked == Policy() else asked


class WebhookReceiverSettings(StrictModel):
    """The receiver of the `webhook` flow: each generator process listens by itself.

    An endpoint on this machine reaches the address itself; an endpoint elsewhere needs `url`.
    """

    host: Annotated[str, Field(min_length=1)] = "127.0.0.1"
    """The address to listen on."""
    port: Annotated[int, Field(ge=0, le=65_000)] = 0
    """The port of the first process; each further process takes the next one. 0 takes a free port."""
    url: Annotated[str, Field(json_schema_extra=URL, examples=["https://me.example/{port}"])] | None = None
    """The URL for the endpoint to call, if it differs from this address; `{port}` in it is the process's port."""

    @field_validator("url")
    @classmethod
    def _plain_url(cls, url: str | None) -> str | None:
        # What may be a secret is not repeated in a message.
        if url is not None and url_without_secrets(url) != url:
            raise ValueError("the URL holds a user, a password, a query or a fragment; write it without")
        if url is not None and not re.fullmatch(URL["pattern"], url):
            raise ValueError(f'"{url}" is not valid here; write it like "https://me.example/{{port}}"')
        return url


class Flow(StrictModel):
    """One way to drive a job: its share of all jobs by weight, its input, its polling."""

    weight: Annotated[float, Field(gt=0, le=1_000_000)] = 1.0
    """Its share of all jobs is this weight over the sum of all weights."""
    input: Any = None
    """The input of each job, sent as the body's `input`; of `openai`, the body itself."""
    inputs: Inputs | None = None
    """Instead of `input`, if jobs differ: a file of JSON lines, a template, or a Python function."""
    repeat_every: Annotated[int, Field(ge=2, le=1000)] | None = None
    """Of each this many jobs, one sends the input of an earlier job again; the report then compares their times."""
    polling: Polling = Polling()
    """When the job's status is polled; runsync polls after its wait has ended."""
    wait: Annotated[Seconds, _within(RUNSYNC_WAIT, "/runsync")] = RUNSYNC_WAIT.default_ms / 1000
    """How long `/runsync` may hold its response; less near the end, so that the drain sees it. Others ignore it."""
    policy: JobPolicy = JobPolicy()
    """Time limits and priority of its jobs; `openai` has none."""
    route: Literal["chat/completions", "completions"] = "chat/completions"
    """Of `openai`: the route below `/openai/v1/`. Others ignore it."""
    stream: bool = True
    """Of `openai`: whether the answer is streamed; the body's `stream` is set to this. Others ignore it."""
    model: str | None = None
    """Of `openai`: the body's `model`, unless the input has one. Others ignore it."""
    expect: Expect | None = None
    """What the answer of a completed job must be; without it, any answer will do."""

    @model_validator(mode="after")
    def _one_kind_of_input(self) -> Flow:
        if self.input is not None and self.inputs is not None:
            raise ValueError("both input and inputs are given; keep one of them")
        return self

    @property
    def payload_hash(self) -> str:
        """Return a hexadecimal hash that is equal for two runs with the same inputs, wherever these were read."""
        files: dict[str, Any] = {"file": True, "tokenizer": True, "prompts": {"file"}}
        inputs = None if self.inputs is None else self.inputs.model_dump(exclude=files)
        return hashlib.sha256(canonical_json([self.input, inputs])).hexdigest()[:16]

    def resolved_inputs(self) -> dict[str, Any]:
        """Return `input` and `inputs` as plain values, with their numbers as written."""
        if self.inputs is None:
            return {"input": self.input, "inputs": None}
        inputs = self.inputs.model_dump()
        for part, key in ((inputs, "file"), (inputs, "tokenizer"), (inputs.get("prompts", {}), "file")):
            if part.get(key) is not None:
                part[key] = str(part[key])
        return {"input": self.input, "inputs": inputs}


class Drain(StrictModel):
    """After the last arrival: how long unfinished jobs are waited for, then how long cancelling them may take."""

    within: Seconds = 30.0
    """How long unfinished jobs are waited for."""
    cancel_within: Seconds | None = None
    """How long cancelling what is then left may take; if not given, as long as the limit of `cancel` needs."""


def _load_model(value: object) -> str:
    closed = isinstance(value, ClosedLoad) or (isinstance(value, dict) and value.get("model") == "closed")
    return "closed" if closed else "open"


Load = Annotated[Annotated[OpenLoad, Tag("open")] | Annotated[ClosedLoad, Tag("closed")], Discriminator(_load_model)]


class ValidityLimits(StrictModel):
    """How far a run may deviate from its scenario before it is invalid."""

    send_lag: Seconds = 0.025
    """Sends may be late by this, or by 5 % of the median end-to-end time if that is more."""
    started: Fraction = 0.99
    """The share of due jobs that must be sent in time, over the whole load and in each stage."""
    censored: Fraction = 0.05
    """The share of sent jobs that may be unfinished at the end."""
    throttled: Fraction = 0.01
    """The share of all requests that may be answered 429."""
    completed: Annotated[int, Field(ge=1)] = 1
    """The number of jobs that must complete; p95 needs 72, p99 368."""
    cpu: Fraction = 0.9
    """How much of one core a generator process may use, or wait for, in any 5 s of the load."""
    clock: Seconds = 0.005
    """By how much clocks may be uncertain, or by 5 % of the median end-to-end time if that is more."""
    cold_start_wave: Fraction = 0.2
    """By how much the share of jobs that waited for a worker to start may rise in any tenth of the steady window."""
    littles_law: Fraction = 0.05
    """By how much the jobs in flight of `/health` and of the samples may differ without a warning."""


class Search(StrictModel):
    """The search for the highest rate at which the gates pass, with repeated runs of the load.

    The first probe is the load as written; every other probe has all its rates multiplied by the same factor. A
    probe's rate is the highest of its stages.
    """

    max_rate: Annotated[PerSecond, Field(gt=0)]
    """The highest rate of a probe; limits and ceilings apply as well."""
    within: Annotated[Fraction, Field(ge=0.02, le=0.5)] = 0.05
    """The relative gap between the highest passing and the lowest failing rate at which the search ends."""
    empty_timeout: Annotated[Seconds, Field(gt=0)] = 120.0
    """How long the endpoint may take to finish all its jobs between two probes."""


def _require_live_gate(gate: Gate) -> Gate:
    if not gate.metric.spec.abortable:
        raise ValueError(
            f'"{gate}" is known only after the run; an abort gate is about times, errors, goodput or rates'
        )
    if gate.during is not None or gate.per_worker:
        allowed = gate.model_copy(update={"during": None, "per_worker": False})
        raise ValueError(f'an abort gate judges recent jobs of all workers; write "{allowed}"')
    return gate


AbortGate = Annotated[GateText, AfterValidator(_require_live_gate)]


class AbortRule(StrictModel):
    """The rule that stops a run early: more than `errors` of the jobs that ended in the last `over` failed.

    At least `jobs` must have ended in that time. The run also stops when one of `gates` fails for them beyond doubt.
    """

    errors: Fraction = 0.5
    """The share of failed jobs above which the run stops."""
    over: Annotated[Seconds, Field(gt=0)] = 30.0
    """The time before now whose jobs count."""
    jobs: Annotated[int, Field(ge=1)] = 20
    """The fewest jobs ended in that time for which the rule applies."""
    gates: tuple[AbortGate, ...] = ()
    """Objectives such as `delay p95 < 30s` for the jobs that ended in the last `over`."""


class Ceilings(StrictModel):
    """Limits of a run, for all its processes together, whether some are lost or come late."""

    jobs: Annotated[int, Field(ge=1)] | None = None
    """The most jobs to submit; required for a target on another machine. What a lost process may have sent counts."""
    cost: Annotated[float, Field(gt=0)] | None = None
    """The most US dollars to spend, checked twice a second: `price` times the greater of two times. One is the
    execution time that the endpoint reported, with each job in flight at the mean of those that ended. The other is
    the time that workers were running by `/health`, with or without a job, from the first answer of the run on. The
    load ends there, jobs in flight are waited for. Starts of workers that `/health` does not list as running, disks,
    and what runs on after the run are not counted."""


class Scenario(StrictModel):
    """A scenario with every default filled in and every unit read; its file needs no key but `load`."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", examples=["steady-20"])]
    """The name in reports; the file's name if it is not given."""
    question: str = ""
    """The question that the run answers, in a sentence."""
    target: Target = "embedded"
    """The target of the jobs: `embedded`, a URL, `{url: ..., key_variable: ...}`, or `{handler: handler.py}`."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 1
    """The same seed gives the same schedule."""
    load: Annotated[Load, Field(examples=[{"stages": [{"rate": "20/s", "for": "60s"}]}])]
    """When jobs are sent: the open model (arrivals) or the closed one (users)."""
    flows: Annotated[dict[FlowName, Flow], Field(min_length=1)] = {"run": Flow()}
    """How jobs are driven: `run` and poll, `runsync`, `stream`, `webhook`, `openai`."""
    webhooks: WebhookReceiverSettings = WebhookReceiverSettings()
    """The receiver of the `webhook` flow."""
    limits: dict[Op, LimitText] = {}
    """The run's limit of an operation, if it differs from the documented one."""
    job_timeout: Annotated[Seconds, Field(gt=0)] = 600.0
    """How long one job is followed before it is abandoned; none of its requests is awaited longer."""
    drain: Drain = Drain()
    """The time after the last arrival."""
    gates: tuple[GateText, ...] = ()
    """Objectives that the run must meet to pass, such as `delay p95 < 2s` ([gates.md](gates.md))."""
    search: Search | None = None
    """The search for the highest rate at which the gates pass; `loadtest run` then runs the load repeatedly."""
    abort: AbortRule | None = None
    """When errors stop the run early; if not given, never on this machine and by default elsewhere."""
    ceilings: Ceilings = Ceilings()
    """Limits that stop the run in any case."""
    validity: ValidityLimits = ValidityLimits()
    """When the measurement counts as valid."""
    price: Annotated[float, Field(gt=0)] | None = None
    """US dollars per worker-second; required for a target on another machine."""
    endpoint: EndpointSettings = EndpointSettings()
    """The embedded endpoint, or the workers of a handler; other targets ignore it."""

    @property
    def target_name(self) -> str:
        """Return the name of the target before it is reached: its URL, "embedded", or the handler's file."""
        if isinstance(self.target, RemoteTarget):
            return self.target.url
        return str(self.target.handler) if isinstance(self.target, HandlerTarget) else self.target

    @property
    def starts_endpoint(self) -> bool:
        """Return whether this scenario starts its endpoint itself, so that `endpoint` says how it scales."""
        return not isinstance(self.target, RemoteTarget)

    def limit(self, op: Op) -> Limit | None:
        """Return the limit that the run keeps for an operation: as set here, else as documented."""
        return self.limits.get(op, OPERATIONS[op].limit)

    def share(self, flow: FlowName) -> float:
        """Return the share (0 to 1) of all jobs in this flow."""
        return self.flows[flow].weight / sum(each.weight for each in self.flows.values())

    def schedule(self) -> Schedule | None:
        """Return the arrivals that the seed draws; None for a closed load, which has none."""
        if isinstance(self.load, ClosedLoad):
            return None
        return draw_schedule(self.load, {flow: self.share(flow) for flow in self.flows}, self.seed)

    def repeat_plan(self, flow: FlowName, schedule: Schedule | None) -> RepeatPlan | None:
        """Return which jobs of a flow repeat the input of an earlier one; None if none does."""
        every = self.flows[flow].repeat_every
        if every is None:
            return None
        seqs = None if schedule is None else np.flatnonzero(schedule.flow == schedule.flows.index(flow))
        return RepeatPlan(every, self.seed, FLOWS.index(flow), seqs)

    def resolved(self) -> dict[str, Any]:
        """Return the scenario as plain values, in the form of its file, with the numbers of its inputs as written."""
        resolved = self.model_dump(mode="json", by_alias=True)
        for name, flow in self.flows.items():
            resolved["flows"][name] |= flow.resolved_inputs()
        resolved["endpoint"] = self.endpoint.resolved()
        return resolved

    def hash(self) -> str:
        """Return a hexadecimal hash that must be equal for two runs to be compared."""
        compared = {key: value for key, value in self.resolved().items() if key not in HASH_EXCLUDED}
        # What happens after the last measurement makes no other scenario of it.
        compared["drain"].pop("cancel_within")
        arrivals = compared["load"].get("arrivals")
        if isinstance(arrivals, dict) and not arrivals.get("input_tokens"):
            for key in ("trace", "format", "input_tokens", "output_tokens"):
                arrivals.pop(key, None)
        locustfile = compared["load"].pop("locustfile", None)
        if locustfile is not None:
            compared["load"]["tasks"] = locustfile["hash"]
        for name, flow in compared["flows"].items():
            # Runs of before these keys stay comparable.
            unused = () if name == "openai" else ("route", "stream", "model")
            for key in (*unused, *(key for key in ("expect", "repeat_every") if flow[key] is None)):
                del flow[key]
        return hashlib.sha256(canonical_json(compared)).hexdigest()[:16]
