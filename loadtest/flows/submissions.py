"""The requests that submit the jobs of a flow: one for all if the input is fixed, else one built per job."""

from __future__ import annotations

from collections.abc import Callable
from math import floor
from typing import Any

from msgspec import structs

from loadtest.errors import ScenarioError
from loadtest.flows.steps import Send
from loadtest.protocol.client_messages import Policy, encode_submission
from loadtest.protocol.operations import OPERATIONS, RUNSYNC_WAIT, Op
from loadtest.scenario.flows import FlowName
from loadtest.scenario.model import Flow, Scenario
from loadtest.scenario.openai_body import openai_body
from loadtest.traffic.inputs import Function, JsonLines, UserInputFunction, input_source
from loadtest.traffic.repeats import RepeatPlan
from loadtest.traffic.settings import trace_lengths

CACHE_BYTES = 64 * 10**6
"""Submissions built of a file's lines are kept and used again, up to this size in all."""


def run_submission(job_input: Any, webhook: str | None = None, policy: Policy | None = None) -> Send:
    """Return the request that submits a job with this input by /run."""
    return Send(Op.RUN, OPERATIONS[Op.RUN].path, encode_submission(job_input, webhook, policy))


def runsync_submission(job_input: Any, wait_s: float, job_timeout_s: float, policy: Policy | None = None) -> Send:
    """Return the request that submits a job with this input by /runsync, held for `wait_s` within the job timeout."""
    return _held(encode_submission(job_input, None, policy), round(min(wait_s, job_timeout_s) * 1000))


def openai_submission(job_input: Any, flow: Flow) -> Send:
    """Return the request that sends this body to the OpenAI route of a flow.

    Raises ScenarioError if the input is not an object.
    """
    return Send(Op.OPENAI, OPERATIONS[Op.OPENAI].path.format(route=flow.route), openai_body(job_input, flow))


def _held(body: bytes, wait_ms: int) -> Send:
    wait_ms = max(RUNSYNC_WAIT.min_ms, wait_ms)
    asked = "" if wait_ms == RUNSYNC_WAIT.default_ms else f"?wait={wait_ms}"
    return Send(Op.RUNSYNC, OPERATIONS[Op.RUNSYNC].path + asked, body, wait_ms / 1000)


def shorten_hold(asked: Send, left_s: float) -> Send:
    """Return a submission whose response is held for no longer than `left_s`, if the operation allows that.

    The wait is in whole seconds, so that the requests of many jobs are the same.
    """
    if asked.op is not Op.RUNSYNC or asked.long_poll_s <= max(left_s, RUNSYNC_WAIT.min_ms / 1000):
        return asked
    return structs.replace(_held(asked.body, max(0, floor(left_s)) * 1000), deadline=asked.deadline)


def submission_factory(
    scenario: Scenario,
    name: FlowName,
    function_of: Callable[[Function], UserInputFunction],
    webhook: str | None = None,
    stream: int = 0,
    repeats: RepeatPlan | None = None,
) -> Callable[[int], Send]:
    """Return a function that builds the submission of the job with a number; the same for all if the input is fixed.

    Jobs that `repeats` names get the input of an earlier one.
    Raises ScenarioError, here or when called, if `function_of` does or an input is larger than the operation accepts.
    """
    inputs = scenario.flows[name].inputs
    if inputs is None:
        fixed = submission(scenario, name, scenario.flows[name].input, webhook)
        return lambda seq: fixed
    input_of = input_source(inputs, scenario.seed, function_of, stream, trace_lengths(scenario.load))
    cache: dict[int, Send] = {}
    cached_bytes = 0

    def build(seq: int) -> Send:
        nonlocal cached_bytes
        job_input = input_of(seq if repeats is None else repeats.source_of(seq))
        known = cache.get(id(job_input))
        if known is not None:
            return known
        made = submission(scenario, name, job_input, webhook)
        _refuse_too_large(made, f"flows.{name}.inputs: that of job {seq}")
        if isinstance(inputs, JsonLines) and cached_bytes + len(made.body) <= CACHE_BYTES:
            cached_bytes += len(made.body)
            cache[id(job_input)] = made
        return made

    return build


def _refuse_too_large(made: Send, whose: str) -> None:
    max_bytes = OPERATIONS[made.op].body_limit_bytes
    if len(made.body) > max_bytes:
        size = f"{len(made.body) / 1e6:.3g} MB, but /{made.op} takes at most {max_bytes / 1e6:g} MB"
        raise ScenarioError(f"{whose} makes {size}; send less")


def checked_submission(scenario: Scenario, name: FlowName, job_input: Any, flow: Flow) -> Send:
    """Return the request that submits a job with this input and these settings of its flow.

    Raises ScenarioError if the input is larger than the operation accepts, or is not an object and must be one.
    """
    made = submission(scenario, name, job_input, flow=flow)
    _refuse_too_large(made, f"{name}: the input")
    return made


def submission(
    scenario: Scenario, name: FlowName, job_input: Any, webhook: str | None = None, flow: Flow | None = None
) -> Send:
    """Return the request that submits a job of this flow with this input; `flow` replaces the scenario's settings."""
    flow = scenario.flows[name] if flow is None else flow
    policy = flow.policy.to_wire()
    if name == "runsync":
        return runsync_submission(job_input, flow.wait, scenario.job_timeout, policy)
    if name == "openai":
        return openai_submission(job_input, flow)
    return run_submission(job_input, webhook if name == "webhook" else None, policy)
