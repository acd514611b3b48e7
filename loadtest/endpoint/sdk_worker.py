"""One real worker that is up: its last ping, when it is next due, and the commands for its process."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum, StrEnum

import msgspec

from loadtest.endpoint.fleet import Worker
from loadtest.endpoint.job import Job

LEASE_S = 5.0
"""A worker that has not pinged for this long counts as lost; the SDK is configured to ping each second."""
READY_WITHIN_S = 600.0  # a worker that asks for no job for this long after its launch counts as lost
STOP_WITHIN_S = 5.0
"""How long a handler may go on with a job that it was asked to stop, before its worker is killed."""


class ExitReason(StrEnum):
    """Why a worker leaves; the text follows the worker's name in a log line."""

    IDLE = "was idle for the idle timeout"
    REFRESH = "asked for a fresh worker"
    EXITED = "ended by itself"
    BROKEN = "disconnected while a job was assigned to it"
    SILENT = "no longer pings"
    SLOW = "did not ask for a job in time"
    STUCK = "went on with a job that it was asked to stop"
    OVERDUE = "had a job past its execution timeout"

    @property
    def lost(self) -> bool:
        """Return whether the worker was lost by an error, after which launches are delayed."""
        return self not in (ExitReason.IDLE, ExitReason.REFRESH, ExitReason.OVERDUE)


class ProcessAction(Enum):
    """An action on a worker's process."""

    LAUNCH = "launch"
    SUSPEND = "suspend"
    RESUME = "resume"
    END = "end"


@dataclass(frozen=True)
class ProcessCommand:
    """A command to launch, suspend, resume or end a worker's process, with the reason if it leaves."""

    worker: Worker
    do: ProcessAction
    why: ExitReason | None = None


class SdkWorker(msgspec.Struct, eq=False):
    """A worker that is up. Times are epoch seconds.

    `requested_jobs` is how many jobs its open take asks for, `assigned` are the jobs assigned to that take.
    `stop_requests` are jobs that the stop channel has yet to send; `stopping` are jobs that the handler may still
    run, each with the time until which it may.
    """

    worker: Worker
    launch_at: float
    launched: bool = False
    heard_at: float = -math.inf
    requested_jobs: int = 0
    assigned: list[Job] = []
    stop_requests: list[str] = []
    stopping: dict[str, float] = {}
    draining: bool = False

    def due(self) -> tuple[float, ExitReason | None]:
        """Return when the worker next does something by itself, and why it then leaves; None for its launch."""
        if not self.launched:
            return self.launch_at, None
        if self.worker.starting:
            return self.launch_at + READY_WITHIN_S, ExitReason.SLOW
        stuck_at = min(self.stopping.values(), default=math.inf)
        silent_at = self.heard_at + LEASE_S
        return (stuck_at, ExitReason.STUCK) if stuck_at < silent_at else (silent_at, ExitReason.SILENT)
