"""HTTP responses: answers as JSON, and refusals as problem documents in the service's own words."""

from __future__ import annotations

import math
from http import HTTPStatus
from typing import Any

import msgspec
from starlette.responses import Response

from loadtest.protocol.client_messages import Problem
from loadtest.protocol.operations import TimeRange
from loadtest.units import byte_count_text


def json_response(answer: Any) -> Response:
    """Return 200 with a message of the protocol."""
    return Response(msgspec.json.encode(answer), media_type="application/json")


def problem_response(status: HTTPStatus, detail: str, headers: dict[str, str] | None = None) -> Response:
    """Return a problem document."""
    body = msgspec.json.encode(Problem(status.value, status.phrase, detail))
    return Response(body, status.value, headers, media_type="application/problem+json")


NOTHING = Response(status_code=HTTPStatus.NO_CONTENT)
UNKNOWN_PATH = problem_response(HTTPStatus.NOT_FOUND, "not found: no such endpoint or operation")
UNKNOWN_JOB = problem_response(HTTPStatus.NOT_FOUND, "not found: no such job, or its result has expired")
STOPPING = problem_response(HTTPStatus.SERVICE_UNAVAILABLE, "service unavailable: the endpoint is shutting down")
UNKNOWN_WORKER = problem_response(HTTPStatus.BAD_REQUEST, "bad request: no such worker, or it was stopped")
BAD_KEY = problem_response(HTTPStatus.UNAUTHORIZED, "unauthorized: no valid API key", {"WWW-Authenticate": "Bearer"})


def wrong_method(*allowed: str) -> Response:
    """Return 405 with the methods that the operation has."""
    detail = f"method not allowed: use {' or '.join(allowed)}"
    return problem_response(HTTPStatus.METHOD_NOT_ALLOWED, detail, {"Allow": ", ".join(allowed)})


def too_many(wait_s: float) -> Response:
    """Return 429 with `Retry-After` in whole seconds, rounded up, at least 1."""
    headers = {"Retry-After": str(max(1, math.ceil(wait_s)))}
    return problem_response(
        HTTPStatus.TOO_MANY_REQUESTS, "too many requests: the operation's limit is reached", headers
    )


def bad_request(detail: str) -> Response:
    """Return 400 with the reason."""
    return problem_response(HTTPStatus.BAD_REQUEST, f"bad request: {detail}")


def bad_wait(allowed: TimeRange) -> Response:
    """Return 400 for a `?wait=` out of its range."""
    return bad_request(f"wait: not within {allowed.min_ms} to {allowed.max_ms} ms")


def too_large(status: int, limit_bytes: int) -> Response:
    """Return 400 in the live service's words, or 413."""
    detail = f"body: exceeded max body size of {byte_count_text(limit_bytes)}"
    if status == HTTPStatus.BAD_REQUEST:
        return bad_request(detail)
    return problem_response(HTTPStatus(status), f"payload too large: {detail}")
