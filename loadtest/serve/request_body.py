"""The body of a request, read up to a limit."""

from __future__ import annotations

from starlette.requests import Request


async def body_within(request: Request, limit_bytes: int) -> bytes | None:
    """Return the request's body, or None if it is longer than the limit; reading stops there."""
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
