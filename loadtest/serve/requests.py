"""The body, webhook and `?wait=` of a client's request, checked against what the endpoint allows."""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.requests import Request

from loadtest.protocol.client_messages import Submission
from loadtest.protocol.operations import TimeRange
from loadtest.scenario.target import is_loopback


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


def webhook_error(submission: Submission, allow_remote: bool) -> str | None:
    """Return why the webhook of a submission cannot be called, or None if it can, or if there is none."""
    url = submission.webhook
    if url is None:
        return None
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # an invalid port, an unbalanced bracket
        usable = False
    if not usable:
        return f'webhook: "{url[:100]}" is not an http or https URL'
    if not allow_remote and not is_loopback(url):
        return "webhook: it is on another machine; set webhooks.allow_remote to let this endpoint call it"
    return None


def wait_s(request: Request, allowed: TimeRange) -> float | None:
    """Return how long the client is willing to wait (`?wait=` in milliseconds), in seconds; None if out of range."""
    text = request.query_params.get("wait")
    if text is None:
        return allowed.default_ms / 1000
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        return None
    return int(text) / 1000 if allowed.min_ms <= int(text) <= allowed.max_ms else None
