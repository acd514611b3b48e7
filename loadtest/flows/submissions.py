"""The request that submits each job of a flow: one for all where the input is fixed, else made as jobs come."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from loadtest.errors import ScenarioError
from loadtest.flows.run import run_submission, runsync_submission
from loadtest.flows.steps import Send
from loadtest.protocol.operations import OPERATIONS
from loadtest.scenario.flows import FlowName
from loadtest.scenario.model import Scenario
from loadtest.traffic.inputs import Function, JsonLines, UserInputFunction, input_source

CACHE_BYTES = 64 * 10**6
"""Submissions made of a file's lines are kept, and used again, up to so much in all."""


def fixed_submission(scenario: Scenario, name: FlowName, webhook: str | None = None) -> Send | None:
    """The one submission of a flow whose jobs all have the same input; None where they have not."""
    flow = scenario.flows[name]
    return submission(scenario, name, flow.input, webhook) if flow.inputs is None else None


def submission_factory(
    scenario: Scenario,
    name: FlowName,
    function_of: Callable[[Function], UserInputFunction],
    webhook: str | None = None,
    stream: int = 0,
) -> Callable[[int], Send]:
    """The submission of the job with each number, of a flow whose inputs differ.

    ScenarioError, here or later, where `function_of` raises it, or an input is larger than the operation takes.
    """
    inputs = scenario.flows[name].inputs
    assert inputs is not None
    input_of = input_source(inputs, scenario.seed, function_of, stream)
    kept: dict[int, Send] = {}
    kept_bytes = 0

    def made(seq: int) -> Send:
        nonlocal kept_bytes
        job_input = input_of(seq)
        known = kept.get(id(job_input))
        if known is not None:
            return known
        made = submission(scenario, name, job_input, webhook)
        most = OPERATIONS[made.op].body_limit_bytes
        if len(made.body) > most:
            size = f"{len(made.body) / 1e6:.3g} MB, but /{made.op} takes at most {most / 1e6:g} MB"
            raise ScenarioError(f"flows.{name}.inputs: that of job {seq} makes {size}; send less")
        if isinstance(inputs, JsonLines) and kept_bytes + len(made.body) <= CACHE_BYTES:
            kept_bytes += len(made.body)
            kept[id(job_input)] = made
        return made

    return made


def submission(scenario: Scenario, name: FlowName, job_input: Any, webhook: str | None = None) -> Send:
    """The request that submits a job of this flow with this input."""
    flow = scenario.flows[name]
    policy = flow.policy.to_wire()
    if name == "runsync":
        return runsync_submission(job_input, flow.wait, scenario.job_timeout, policy)
    return run_submission(job_input, webhook if name == "webhook" else None, policy)
