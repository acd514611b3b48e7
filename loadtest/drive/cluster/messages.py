"""The messages between the master of a run and its generators, and the two ends of their connection.

Times are in the master's clock, but for `Pong.at`.
"""

from __future__ import annotations

from typing import Protocol

import msgspec

from loadtest.drive.metrics.counts import RunCounts
from loadtest.scenario.abort import StopReason
from loadtest.traffic.limit_shares import Share

HEARTBEAT_S = 0.5
"""How often the master sends leases, and a generator reports."""


class Ping(msgspec.Struct, frozen=True):
    """Master to generator: a question for the time of its clock."""

    sent_at: float


class Pong(msgspec.Struct, frozen=True):
    """Generator to master: the time of the generator's own clock when the ping arrived."""

    sent_at: float
    at: float
    pid: int
    host: str


class StartRun(msgspec.Struct, frozen=True):
    """Master to generator: a run starts, with its scenario in JSON. `process` numbers the generator.

    `token` is that of the run's directory.

    The generator's clock is ahead of the master's by `clock_offset_s`. It may send until `until`; infinite if master
    and generator are one process. With `metrics` it reports counts for them.
    """

    run_id: str
    token: str
    directory: str
    scenario: bytes
    url: str
    process: int
    share: Share
    starts_at: float
    clock_offset_s: float
    until: float
    metrics: bool = False


class Assignment(msgspec.Struct, frozen=True):
    """Master to generator: a new share of the limits at once, or a new part of the schedule from `from_at` on.

    `from_at` may have passed: arrivals since then that the generator has not sent belong to others. A share comes
    with how many generators have `started`, lost ones included.
    """

    share: Share | None = None
    part: Share | None = None
    from_at: float = 0.0
    started: int = 0


class ShareConfirmed(msgspec.Struct, frozen=True):
    """Generator to master: this share is in force."""

    share: Share


class Lease(msgspec.Struct, frozen=True):
    """Master to generator: the run goes on, and the generator may send until `until`.

    A time, not a span: a lease that a broken link delivers half a minute late allows nothing. `jobs` is how many the
    generator may have begun in all, None if any number. Once `load_ended`, it begins no further job.
    """

    until: float
    jobs: int | None = None
    load_ended: bool = False


class StatusReport(msgspec.Struct, frozen=True):
    """Generator to master, every HEARTBEAT_S: the state of its part of the run.

    `started` and `offered` are the jobs of the last 5 s; `requests_in_window` counts, for each operation, those of
    the last 10 s; `times` are (finished at, delay, execution; milliseconds) of jobs that ended since the last report,
    or a sample of them if they are many. `execution_s` is the execution time of all jobs that ended. `metrics` are
    the counts since the start of the run, if it has metrics.
    """

    sent: int
    in_flight: int
    ended: int
    not_completed: int
    throttled: int
    started: int
    offered: int | None
    requests_in_window: dict[str, int]
    times: list[tuple[float, int, int]]
    ends_at: float
    needed_users: int
    all_ended: bool
    execution_s: float
    stop: StopReason | None
    cpu_share: float | None
    metrics: RunCounts | None = None


class ShardBytes(msgspec.Struct, frozen=True):
    """Generator to master, if they share no disk: bytes of a shard of the run with this token, from `offset` on."""

    token: str
    shard: str
    offset: int
    content: bytes


class ShardAck(msgspec.Struct, frozen=True):
    """Master to generator: the size of a shard on the master's disk; None if that disk accepts no more."""

    shard: str
    size: int | None


class StopRun(msgspec.Struct, frozen=True):
    """Master to generator: stop sending, cancel unfinished jobs, send the last samples."""


class RunFinished(msgspec.Struct, frozen=True):
    """Generator to master: all samples are on disk, or sent.

    `cancelled` counts the jobs that were given up and have ended since, `left_over` those that the endpoint may have.
    `shortages` counts the requests that this machine could not send, by cause; `task_errors` the exceptions that
    ended tasks of a locustfile.
    """

    sent: int
    ends_at: float
    cancelled: int
    left_over: int
    shortages: dict[str, int] = {}
    task_errors: dict[str, int] = {}
    metrics: RunCounts | None = None


class RunFailed(msgspec.Struct, frozen=True):
    """Generator to master: this run cannot go on, for this reason; `internal` if the program is at fault."""

    reason: str
    internal: bool = False


TO_GENERATOR = (Ping, StartRun, Assignment, Lease, ShardAck, StopRun)
TO_MASTER = (Pong, StatusReport, ShareConfirmed, ShardBytes, RunFinished, RunFailed)


LOCAL = "local"
"""The name of the only process of a run, which is master and generator; Locust calls it so."""


class Link(Protocol):
    """The generator's end of the connection: what it sends goes to the master."""

    def send(self, message: msgspec.Struct) -> None:
        """Send a message to the master."""


class MasterLink(Protocol):
    """The master's end of the connection. `alone` if the master is the only generator as well."""

    @property
    def alone(self) -> bool:
        """Return whether master and generator are one process, which can neither lose nor miss itself."""

    def generators(self) -> list[str]:
        """Return the names of all connected generators."""

    def send(self, message: msgspec.Struct, to: str) -> None:
        """Send a message to one generator."""
