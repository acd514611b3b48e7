"""The record of a run, as in `run.json`: the scenario, the processes, how it ended; and its progress before."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec

from loadtest.scenario.abort import StopKind

SCHEMA = 3
READABLE_SCHEMAS = (1, 2, 3)
"""Schema 2 added `error_kind` to the samples, and `stop` to the record; schema 3 `faults`, `user` and `ready_at`,
and cancels."""


class Ending(StrEnum):
    """How the sending of a run ended."""

    COMPLETE = "complete"
    INTERRUPTED = "interrupted"
    TERMINATED = "terminated"
    ABORTED = "aborted"


class ProcessInfo(msgspec.Struct, frozen=True):
    """A process that sent load; its clock was `clock_offset_s` ahead of the master's, which is corrected.

    `clock_error_s` is how wrong that may be: half the shortest round trip. `clock_drift_s` is how far the clock moved
    during the run, at most. `cpu_share` is the greatest share of
    one core that it used, or waited for, in any 5 s of the load. Null if unknown.
    """

    process: int
    pid: int
    host: str
    clock_offset_s: float = 0.0
    clock_error_s: float | None = None
    clock_drift_s: float | None = None
    cpu_share: float | None = None


class Audit(msgspec.Struct, frozen=True):
    """The jobs of one process: how many it sent, and how many rows were found."""

    process: int
    sent: int
    recorded: int


class StageSpan(msgspec.Struct, frozen=True):
    """A stage: its name and its length in seconds."""

    name: str
    duration_s: float


class RunRecord(msgspec.Struct, frozen=True, rename={"peak_requests": "fullest"}):
    """The record of one run. Times are seconds since the epoch in the master's clock.

    `offered` holds, for each flow, the arrivals intended in each second from `load_started_at` on; a closed
    load offers nothing by itself and has none. `cancelled` counts accepted jobs that the client
    gave up and cancelled, `left_over` those that the endpoint may still have. `lost` names, in the order in which it
    happened, the processes that fell silent while the run went on. `fullest` holds, if there were several,
    the most requests of each operation that any 10 seconds held, of all processes together. `payloads` is the hash of
    each flow's inputs. `stop` is the rule of the scenario that ended the run, if one did.
    `spent` is what `ceilings.cost` counts, in US dollars. `token` is drawn for
    each run, and known to its processes alone. `shortages` counts, by cause, the requests that could not be sent for
    want of file descriptors, ports, memory or a name server on the machines that send. `unread_bytes` counts what the
    shards held beyond a damaged place, and was lost. `note` is what the user wrote about the run. `task_errors`
    counts the exceptions that ended tasks of a locustfile, by class and place.
    """

    id: str
    scenario: dict[str, Any]
    scenario_hash: str
    seed: int
    target: str
    command: str
    versions: dict[str, str]
    started_at: float
    processes: list[ProcessInfo] = []
    lost: list[int] = []
    audit: list[Audit] = []
    peak_requests: dict[str, int] = {}
    payloads: dict[str, str] = {}
    stages: list[StageSpan] = []
    offered: dict[str, list[int]] = {}
    load_started_at: float | None = None
    load_ended_at: float | None = None
    ended_at: float | None = None
    ending: Ending | None = None
    reason: str = ""
    stop: StopKind | None = None
    cancelled: int = 0
    left_over: int = 0
    spent: float | None = None
    token: str = ""
    shortages: dict[str, int] = {}
    unread_bytes: int = 0
    note: str = ""
    task_errors: dict[str, int] = {}
    schema: int = SCHEMA


class Progress(msgspec.Struct, frozen=True):
    """The run at one moment. Rates over the last 5 s, percentiles (p50, p95; milliseconds) over the last 10 s.

    `limit_used` is, for each operation, the share of its limit that the last 10 s held. `processes` counts those
    that send, `lost` those that fell silent.
    """

    phase: str
    stage: str
    elapsed_s: float
    left_s: float
    offered_per_s: float | None
    achieved_per_s: float
    in_flight: int
    ended: int
    not_completed: int
    throttled: int
    delay_ms: tuple[int, int] | None
    execution_ms: tuple[int, int] | None
    limit_used: dict[str, float]
    processes: int
    lost: int
