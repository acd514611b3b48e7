"""The flows by name, and the operation that submits the jobs of each."""

from __future__ import annotations

from typing import Literal, get_args

from loadtest.protocol.operations import Op

FlowName = Literal["run", "runsync", "stream", "webhook", "openai"]
FLOWS: tuple[FlowName, ...] = get_args(FlowName)
SUBMIT_OPERATION: dict[FlowName, Op] = {
    "run": Op.RUN,
    "runsync": Op.RUNSYNC,
    "stream": Op.RUN,
    "webhook": Op.RUN,
    "openai": Op.OPENAI,
}
ANSWERED_BY_SUBMISSION: tuple[FlowName, ...] = ("runsync", "openai")
"""The flows in which the response to a submission is, or may be, that of the finished job."""
TASK_FLOWS: tuple[FlowName, ...] = ("run", "runsync", "stream", "openai")
"""The flows by which a locustfile's tasks submit jobs."""
FLOWS_BY_OPERATION: dict[Op, tuple[FlowName, ...]] = {
    op: tuple(flow for flow, by in SUBMIT_OPERATION.items() if by is op)
    for op in dict.fromkeys(SUBMIT_OPERATION.values())
}
