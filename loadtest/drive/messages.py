"""What the lead of a run and its hands tell each other, over Locust's own connection or within one process."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from loadtest.record.progress import Counts
from loadtest.traffic.shares import Place

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


class Begin(msgspec.Struct, frozen=True):
    """Lead to hand: a run begins. `process` numbers the hand; its clock is ahead of the lead's by `clock_offset_s`.

    It may send `until` then, in the lead's clock; infinite where lead and hand are one process.
    """

    run_id: str
    directory: str
    scenario: dict[str, Any]
    url: str
    process: int
    place: Place
    starts_at: float
    clock_offset_s: float
    until: float


class Turn(msgspec.Struct, frozen=True):
    """Lead to hand: send within this share from now on; carry out this part of the schedule from `from_at` on.

    `from_at` may have passed: what is due since then and not sent yet is no longer this hand's.
    """

    share: Place | None = None
    part: Place | None = None
    from_at: float = 0.0


class Confirmed(msgspec.Struct, frozen=True):
    """Hand to lead: this share is in force."""

    share: Place


class Alive(msgspec.Struct, frozen=True):
    """Lead to hand: the run goes on, and you may send `until` then, in the lead's clock.

    A time, not a span: one that a broken link delivers half a minute late allows nothing.
    """

    until: float


class Report(msgspec.Struct, frozen=True):
    """Hand to lead, twice a second: how its part of the run stands."""

    counts: Counts
    ends_at: float
    needed_users: int
    all_ended: bool
    winding_down: bool
    reason: str | None
    cpu_share: float | None


class Copy(msgspec.Struct, frozen=True):
    """Hand to lead, where they share no disk: bytes of a shard, from `offset` on."""

    shard: str
    offset: int
    content: bytes


class Copied(msgspec.Struct, frozen=True):
    """Lead to hand: so many bytes of a shard are on the lead's disk; None where it takes no more."""

    shard: str
    size: int | None


class End(msgspec.Struct, frozen=True):
    """Lead to hand: stop sending, cancel what is unfinished, hand over what is left."""


class Done(msgspec.Struct, frozen=True):
    """Hand to lead: all is handed over."""

    sent: int
    ends_at: float
    cancelled: int
    left_over: int


class Refused(msgspec.Struct, frozen=True):
    """Hand to lead: this run cannot go on, because."""

    why: str


TO_HAND = (Ping, Begin, Turn, Alive, Copied, End)
TO_LEAD = (Pong, Report, Confirmed, Copy, Done, Refused)


def tell(runner: Runner, message: msgspec.Struct, to: str | None = None) -> None:
    """Send a message to one process, or to all on the other side."""
    runner.send_message(_name(type(message)), msgspec.msgpack.encode(message), to)


def listen(runner: Runner, kinds: tuple[type[msgspec.Struct], ...], hear: Callable[[str, Any], None]) -> None:
    """Call `hear` with the sender's name and the message, for each message of these kinds."""
    for kind in kinds:
        decoder = msgspec.msgpack.Decoder(kind)

        def heard(msg: Any, decoder: Any = decoder, **_: Any) -> None:
            hear(msg.node_id, decoder.decode(msg.data))

        runner.register_message(_name(kind), heard)


def _name(kind: type[msgspec.Struct]) -> str:
    return f"loadtest {kind.__name__.lower()}"
