"""How the polls of a process are paced: a pacer a flow, within the process's share of the limits."""

from __future__ import annotations

import math

from loadtest.protocol import Op
from loadtest.scenario.flows import FlowName
from loadtest.scenario.model import Scenario
from loadtest.traffic.budget import MARGIN_S
from loadtest.traffic.polling import LongPolls, PollGroup, PollPacer
from loadtest.traffic.shares import Share, share_of

MIN_POLLS_PER_S = 0.1
"""What a process without a share plans with; its polls wait for the share, not for the plan."""


def pacers(scenario: Scenario) -> dict[FlowName, PollPacer]:
    """A pacer a flow; flows that poll by the same operation share its limit."""
    crowds, long = {Op.STATUS: PollGroup(), Op.STREAM: PollGroup()}, LongPolls()
    return {
        name: PollPacer(flow.polling, math.inf, crowds[_polled_by(name)], long)
        for name, flow in scenario.flows.items()
    }


def apply_share(pacers: dict[FlowName, PollPacer], scenario: Scenario, share: Share) -> None:
    """From now on the process has this share of the limits."""
    for flow, pacer in pacers.items():
        limit, held = scenario.limit(_polled_by(flow)), scenario.limit(Op.STATUS_SYNC)
        if limit is not None:
            pacer.polls_per_s = max(share_of(limit.requests, share) / (limit.per_s + MARGIN_S), MIN_POLLS_PER_S)
        if pacer.long is not None and held is not None and held.concurrent is not None:
            pacer.long.max_held = share_of(held.concurrent, share)


def _polled_by(flow: FlowName) -> Op:
    return Op.STREAM if flow == "stream" else Op.STATUS
