"""The steps that a flow yields, and the responses that it gets back: all its contact with the outside."""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from typing import TypeAlias

import msgspec

from loadtest.protocol.operations import Op
from loadtest.record.sample import ErrorKind


class Send(msgspec.Struct, frozen=True, gc=False):
    """Send this request; the executor sends its Response back into the flow.

    `path` is relative to the endpoint's URL. `long_poll_s` is how long the server may hold its response. After
    `deadline`, in seconds since the epoch, a response is of no use, unless the server still holds it.
    """

    op: Op
    path: str
    body: bytes = b""
    long_poll_s: float = 0.0
    deadline: float = math.inf


class WaitUntil(msgspec.Struct, frozen=True, gc=False):
    """Wait until this time, in seconds since the epoch; the flow gets NO_RESPONSE."""

    at: float


class WaitForWebhook(msgspec.Struct, frozen=True, gc=False):
    """Wait until the endpoint has notified the webhook of this job, or until a time in seconds since the epoch.

    The flow gets the notification as a Response, or NO_RESPONSE.
    """

    job_id: str
    until: float


class Response(msgspec.Struct, frozen=True, gc=False):
    """The response to a request, with the times at which the one was sent and the other whole, in epoch seconds.

    If there was none, `status` is 0, and `error` and `error_kind` say why; `body` is then what came of a stream of
    events that broke off. If the body came in several parts,
    `body_progress` holds how many bytes of it were there at which times, except for the last. `location` is where a
    redirect leads.
    """

    status: int
    body: bytes
    sent_at: float
    answered_at: float
    retry_after_s: float | None = None
    error: str | None = None
    error_kind: ErrorKind | None = None
    body_progress: Sequence[tuple[int, float]] = ()
    location: str | None = None


NO_RESPONSE = Response(0, b"", 0.0, 0.0)
"""The result of a wait."""
SEND_AGAIN = Response(0, b"", 0.0, 0.0)
"""The result of a request that needs another place within its limit: it did not go out in time, or its connection
was closed without a byte of the response to a GET."""

Step: TypeAlias = Send | WaitUntil | WaitForWebhook
Flow: TypeAlias = Generator[Step, Response, None]
"""A flow under way: it fills its sample and ends; closed early, it leaves the sample censored."""
