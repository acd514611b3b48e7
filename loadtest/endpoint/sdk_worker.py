"""One real worker that is up: what it has said, when it is due, and what is ordered for its process."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum, StrEnum

import msgspec

from loadtest.endpoint.fleet import Worker
from loadtest.endpoint.job import Job

LEASE_S = 5.0
"""A worker that has not pinged for so long counts as lost; the SDK is told to ping each second."""
READY_WITHIN_S = 600.0
"""A worker that asks for no job for so long after its launch counts as lost."""
STOP_WITHIN_S = 5.0
"""How long a handler may go on with a job that it was told to stop, before its worker is killed."""


class ExitReason(StrEnum):
    """Why a worker leaves, in words that go on after its name."""

    IDLE = "was idle for the idle timeout"
    REFRESH = "asked for a fresh worker"
    EXITED = "ended by itself"
    BROKEN = "broke off as it was given a job"
    SILENT = "no longer pings"
    SLOW = "did not ask for a job in time"
    STUCK = "went on with a job that it was told to stop"

    @property
    def lost(self) -> bool:
        """Whether it is a fault, after which launches wait."""
        return self not in (ExitReason.IDLE, ExitReason.REFRESH)


class ProcessAction(Enum):
    """What is to be done with a worker's process."""

    LAUNCH = "launch"
    SUSPEND = "suspend"
    RESUME = "resume"
    END = "end"


@dataclass(frozen=True)
class ProcessCommand:
    """A worker's process is to be launched, suspended, resumed or ended, and why it leaves where it does."""

    worker: Worker
    do: ProcessAction
    why: ExitReason | None = None


class SdkWorker(msgspec.Struct, eq=False):
    """A worker that is up. Times are epoch seconds.

    `wants` is how many jobs its open take asks for, `offered` what it got of them. `to_stop` are jobs that the stop
    channel has yet to tell; `stopping` are those that its handler may still run, each with the time until when.
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
        """When it next does something by itself, and why it then leaves; None for its launch."""
        if not self.launched:
            return self.launch_at, None
        if self.worker.starting:
            return self.launch_at + READY_WITHIN_S, ExitReason.SLOW
        stuck_at = min(self.stopping.values(), default=math.inf)
        silent_at = self.heard_at + LEASE_S
        return (stuck_at, ExitReason.STUCK) if stuck_at < silent_at else (silent_at, ExitReason.SILENT)
