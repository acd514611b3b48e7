"""What a flow yields and what it is handed back: the whole of its contact with the world."""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from typing import TypeAlias

import msgspec

from loadtest.protocol.operations import Op
from loadtest.record.sample import ErrorKind


class Send(msgspec.Struct, frozen=True, gc=False):
    """Send this request; whoever drives the flow answers with an Answer.

    `path` counts from the endpoint's URL. `hold_s` is how long the server may hold its answer open. At
    `give_up_at`, in seconds since the epoch, an answer is no longer of use, unless the server still holds it.
    """

    op: Op
    path: str
    body: bytes = b""
    long_poll_s: float = 0.0
    give_up_at: float = math.inf


class WaitUntil(msgspec.Struct, frozen=True, gc=False):
    """Wait until this time, in seconds since the epoch; the flow is handed nothing back."""

    at: float


class WaitForWebhook(msgspec.Struct, frozen=True, gc=False):
    """Wait until the endpoint has told the harness's webhook of this job, or until a time, in epoch seconds.

    The flow is handed the notification as an Answer, or NOTHING.
    """

    job_id: str
    until: float


class Response(msgspec.Struct, frozen=True, gc=False):
    """What came of a request, with the times of its sending and its end, in seconds since the epoch.

    Where no answer came, `status` is 0 and `fault` says why. Where its body came in several parts, `came` holds how
    many bytes of it were there at which times, but for the last.
    """

    status: int
    body: bytes
    sent_at: float
    answered_at: float
    retry_after_s: float | None = None
    error: str | None = None
    error_kind: ErrorKind | None = None
    body_progress: Sequence[tuple[int, float]] = ()


NO_RESPONSE = Response(0, b"", 0.0, 0.0)
"""What a flow is handed where it waited, and did not send or hear anything."""

Step: TypeAlias = Send | WaitUntil | WaitForWebhook
Flow: TypeAlias = Generator[Step, Response, None]
"""A flow under way: it fills its sample and ends; closed early, it leaves the sample censored."""
