"""What the lead of a run and its hands tell each other, over Locust's own connection or within one process."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from loadtest.record.progress import ProcessCounts
from loadtest.traffic.limit_shares import Share

if TYPE_CHECKING:
    from locust.runners import Runner


class Ping(msgspec.Struct, frozen=True):
    """Lead to hand: what time is it? `sent_at` in the lead's clock."""

    sent_at: float


class Pong(msgspec.Struct, frozen=True):
    """Hand to lead: it was `at` in my clock when your ping came."""

    sent_at: float
    at: float
    pid: int
    host: str


class StartRun(msgspec.Struct, frozen=True):
    """Lead to hand: a run begins. `process` numbers the hand; its clock is ahead of the lead's by `clock_offset_s`.

    It may send `until` then, in the lead's clock; infinite where lead and hand are one process.
    """

    run_id: str
    directory: str
    scenario: dict[str, Any]
    url: str
    process: int
    share: Share
    starts_at: float
    clock_offset_s: float
    until: float


class Assignment(msgspec.Struct, frozen=True):
    """Lead to hand: send within this share from now on; carry out this part of the schedule from `from_at` on.

    `from_at` may have passed: what is due since then and not sent yet is no longer this hand's.
    """

    share: Share | None = None
    part: Share | None = None
    from_at: float = 0.0


class ShareConfirmed(msgspec.Struct, frozen=True):
    """Hand to lead: this share is in force."""

    share: Share


class Lease(msgspec.Struct, frozen=True):
    """Lead to hand: the run goes on, and you may send `until` then, in the lead's clock.

    A time, not a span: one that a broken link delivers half a minute late allows nothing.
    """

    until: float


class StatusReport(msgspec.Struct, frozen=True):
    """Hand to lead, twice a second: how its part of the run stands."""

    counts: ProcessCounts
    ends_at: float
    needed_users: int
    all_ended: bool
    winding_down: bool
    reason: str | None
    cpu_share: float | None


class ShardBytes(msgspec.Struct, frozen=True):
    """Hand to lead, where they share no disk: bytes of a shard, from `offset` on."""

    shard: str
    offset: int
    content: bytes


class ShardAck(msgspec.Struct, frozen=True):
    """Lead to hand: so many bytes of a shard are on the lead's disk; None where it takes no more."""

    shard: str
    size: int | None


class StopRun(msgspec.Struct, frozen=True):
    """Lead to hand: stop sending, cancel what is unfinished, hand over what is left."""


class RunFinished(msgspec.Struct, frozen=True):
    """Hand to lead: all is handed over."""

    sent: int
    ends_at: float
    cancelled: int
    left_over: int


class RunFailed(msgspec.Struct, frozen=True):
    """Hand to lead: this run cannot go on, because."""

    reason: str


TO_GENERATOR = (Ping, StartRun, Assignment, Lease, ShardAck, StopRun)
TO_MASTER = (Pong, StatusReport, ShareConfirmed, ShardBytes, RunFinished, RunFailed)


def send(runner: Runner, message: msgspec.Struct, to: str | None = None) -> None:
    """Send a message to one process, or to all on the other side."""
    runner.send_message(_name(type(message)), msgspec.msgpack.encode(message), to)


def subscribe(runner: Runner, kinds: tuple[type[msgspec.Struct], ...], handler: Callable[[str, Any], None]) -> None:
    """Call `hear` with the sender's name and the message, for each message of these kinds."""
    for kind in kinds:
        decoder = msgspec.msgpack.Decoder(kind)

        def heard(msg: Any, decoder: Any = decoder, **_: Any) -> None:
            handler(msg.node_id, decoder.decode(msg.data))

        runner.register_message(_name(kind), heard)


def _name(kind: type[msgspec.Struct]) -> str:
    return f"loadtest {kind.__name__.lower()}"
