"""What a client sends to `/run` and `/runsync`, read no further than is allowed."""

from __future__ import annotations

from urllib.parse import parse_qs

import msgspec
from starlette.requests import Request

from loadtest.protocol import WaitRange


class Submission(msgspec.Struct, frozen=True):
    """A submission's body; `input` must be there and may be anything, other fields are passed over."""

    input: msgspec.Raw


_decoder = msgspec.json.Decoder(Submission)


async def body_within(request: Request, limit_bytes: int) -> bytes | None:
    """The request's body; None where it is longer than the limit, of which no more is then read."""
    declared = request.headers.get("content-length")
    if declared is not None and int(declared) > limit_bytes:
        return None
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > limit_bytes:
            return None
        parts.append(part)
    return b"".join(parts)


def submitted(body: bytes) -> Submission | str:
    """A submission, or what is wrong with its body."""
    try:
        return _decoder.decode(body)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as fault:
        return str(fault)


def wait_s(request: Request, allowed: WaitRange) -> float | None:
    """How long the client is willing to wait (`?wait=` in milliseconds), in seconds; None where out of range."""
    asked = parse_qs(request.url.query, keep_blank_values=True).get("wait") if request.scope["query_string"] else None
    if asked is None:
        return allowed.default_ms / 1000
    text = asked[-1]
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        return None
    return int(text) / 1000 if allowed.least_ms <= int(text) <= allowed.most_ms else None
