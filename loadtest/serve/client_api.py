"""The endpoint's operations over HTTP: path, method, key, limits, body, in this order, then the model's answer."""

from __future__ import annotations

import hmac
import os
from collections.abc import Awaitable, Callable
from contextlib import suppress
from urllib.parse import urlsplit

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from loadtest.endpoint.job import Job, to_response
from loadtest.endpoint.settings import EndpointSettings
from loadtest.errors import InvalidResponse
from loadtest.protocol.client_messages import JobResponse, Purged, StreamResponse, Submission, decode_submission
from loadtest.protocol.openai_messages import OPENAI_PREFIX
from loadtest.protocol.operations import (
    OPERATIONS,
    RUNSYNC_WAIT,
    STATUS_SYNC_WAIT,
    JobState,
    Op,
    TimeRange,
    presented_key,
)
from loadtest.scenario.target import is_loopback
from loadtest.serve import responses
from loadtest.serve.live import LiveEndpoint, long_poll
from loadtest.serve.openai_api import METHODS, openai_response
from loadtest.serve.request_body import body_within

_BY_PATH = {operation.path: op for op, operation in OPERATIONS.items()}


class ClientApi:
    """One endpoint as an ASGI application. Every request is answered from the model and journalled."""

    def __init__(self, live: LiveEndpoint, endpoint_id: str, key: str, settings: EndpointSettings) -> None:
        self._live = live
        self._prefix = f"/v2/{endpoint_id}/"
        self._keys = _wire_forms(key)
        self._settings = settings
        self._operations: dict[Op, Callable[[Request, str], Awaitable[Response]]] = {
            Op.RUN: self._run,
            Op.RUNSYNC: self._runsync,
            Op.STATUS: self._status,
            Op.STATUS_SYNC: self._status_sync,
            Op.STREAM: self._stream,
            Op.HEALTH: self._health,
            Op.PURGE_QUEUE: self._purge_queue,
            Op.CANCEL: self._cancel,
            Op.RETRY: self._retry,
            Op.OPENAI: self._openai,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        at = self._live.clock.now()
        request = Request(scope, receive)
        op, job_id = self._route(scope["path"])
        status = None
        try:
            if op is None:
                status = await _send(responses.UNKNOWN_PATH, request, send)
            elif (rejection := self._rejection(op, request, at)) is not None:
                status = await _send(rejection, request, send)
            else:
                status = await self._handle(op, job_id, request, send)
        except ClientDisconnect:
            pass  # the journal shows a request without a status
        finally:
            self._live.journal.request(op, at, status)

    def _route(self, path: str) -> tuple[Op | None, str]:
        """Return the operation that a path names, None if the endpoint does not have it, and the job id in it.

        In place of a job's id, a path of the OpenAI route has the rest of that route.
        """
        if not path.startswith(self._prefix):
            return None, ""
        rest = path.removeprefix(self._prefix)
        name, slash, job_id = rest.partition("/")
        has_id = job_id and "/" not in job_id
        op = _BY_PATH.get(f"/{name}/{{id}}" if has_id else f"/{name}{slash}{job_id}")
        if rest.startswith(OPENAI_PREFIX) and rest != OPENAI_PREFIX:
            op, job_id = Op.OPENAI, rest.removeprefix(OPENAI_PREFIX)
        return (None, "") if op in self._settings.unsupported_operations else (op, job_id)

    def _rejection(self, op: Op, request: Request, at: float) -> Response | None:
        """Return why the request is refused, or None if it is admitted."""
        methods = METHODS if op is Op.OPENAI else (OPERATIONS[op].method,)
        if request.method not in methods:
            return responses.wrong_method(*methods)
        presented = presented_key(request.headers.get("authorization", "")).encode("latin-1")
        if not any(hmac.compare_digest(presented, key) for key in self._keys):
            return responses.BAD_KEY
        retry_after_s = self._live.endpoint.admit(op, at)
        return None if retry_after_s is None else responses.too_many(retry_after_s)

    async def _handle(self, op: Op, job_id: str, request: Request, send: Send) -> int:
        """Answer an admitted request, which counts as concurrent until its answer is sent."""
        try:
            response = await self._operations[op](request, job_id)
            self._live.process_due()
            return await _send(response, request, send)
        finally:
            self._live.endpoint.release(op)

    async def _run(self, request: Request, _: str) -> Response:
        job = await self._submit(Op.RUN, request)
        return job if isinstance(job, Response) else responses.json_response(JobResponse(job.id, JobState.IN_QUEUE))

    async def _runsync(self, request: Request, _: str) -> Response:
        wait = _wait_s(request, RUNSYNC_WAIT)
        if wait is None:
            return responses.bad_wait(RUNSYNC_WAIT)
        job = await self._submit(Op.RUNSYNC, request)
        if isinstance(job, Response):
            return job
        await self._hold(request, job, job.submitted_at + wait)
        return responses.json_response(to_response(job))

    async def _submit(self, op: Op, request: Request) -> Job | Response:
        payloads = self._settings.payloads
        limit_bytes = payloads.run if op is Op.RUN else payloads.runsync
        body = await body_within(request, limit_bytes)
        if body is None:
            return responses.too_large(payloads.too_large_status, limit_bytes)
        try:
            submission = decode_submission(body)
        except InvalidResponse as error:
            return responses.bad_request(f"body: {error}")
        problem = _webhook_error(submission, self._settings.webhooks.allow_remote)
        if problem is not None:
            return responses.bad_request(problem)
        return self._live.endpoint.submit(op, self._live.clock.now(), submission)

    async def _hold(self, request: Request, job: Job, until: float) -> None:
        """Return when the job has ended or at `until`. Raises ClientDisconnect if the client left meanwhile."""
        self._live.process_due()
        async with long_poll(request) as waiter:
            await self._live.wait_for_end(job, until, waiter)

    async def _status(self, request: Request, job_id: str) -> Response:
        job = self._live.endpoint.job(job_id, self._live.clock.now())
        return responses.UNKNOWN_JOB if job is None else responses.json_response(to_response(job))

    async def _status_sync(self, request: Request, job_id: str) -> Response:
        wait, now = _wait_s(request, STATUS_SYNC_WAIT), self._live.clock.now()
        if wait is None:
            return responses.bad_wait(STATUS_SYNC_WAIT)
        job = self._live.endpoint.job(job_id, now)
        if job is None:
            return responses.UNKNOWN_JOB
        await self._hold(request, job, now + wait)
        return await self._status(request, job_id)

    async def _stream(self, request: Request, job_id: str) -> Response:
        endpoint, now, settings = self._live.endpoint, self._live.clock.now(), self._settings.stream
        job, chunks = endpoint.job(job_id, now), endpoint.read_stream(job_id, now)
        if job is None:
            return responses.UNKNOWN_JOB
        if not chunks and not job.final:
            async with long_poll(request) as waiter:
                await self._live.wait_for_chunk(job, now + settings.hold, waiter)
            chunks = endpoint.read_stream(job_id, self._live.clock.now())
        return responses.json_response(
            (chunks or []) if settings.form == "array" else StreamResponse(chunks or [], job.state)
        )

    async def _health(self, request: Request, _: str) -> Response:
        return responses.json_response(self._live.endpoint.health(self._live.clock.now()))

    async def _purge_queue(self, request: Request, _: str) -> Response:
        return responses.json_response(Purged(self._live.endpoint.purge(self._live.clock.now())))

    async def _cancel(self, request: Request, job_id: str) -> Response:
        job = self._live.endpoint.cancel(job_id, self._live.clock.now())
        return responses.UNKNOWN_JOB if job is None else responses.json_response(JobResponse(job.id, job.state))

    async def _retry(self, request: Request, job_id: str) -> Response:
        now = self._live.process_due()
        job = self._live.endpoint.job(job_id, now)
        if job is None:
            return responses.UNKNOWN_JOB
        if not job.retriable:
            return responses.bad_request(f"job is {job.state}; only one that is FAILED or TIMED_OUT can be retried")
        self._live.endpoint.retry(job_id, now)
        return responses.json_response(JobResponse(job.id, JobState.IN_QUEUE))

    async def _openai(self, request: Request, route: str) -> Response:
        return await openai_response(self._live, self._settings.payloads, request, route)


def _wire_forms(key: str) -> set[bytes]:
    """Return a key without its line end, as clients may send it: as the environment has it, and in Latin-1."""
    key = key.strip()
    forms = {os.fsencode(key)}
    with suppress(UnicodeEncodeError):
        forms.add(key.encode("latin-1"))
    return forms


async def _send(response: Response, request: Request, send: Send) -> int:
    await response(request.scope, request.receive, send)
    return response.status_code


def _webhook_error(submission: Submission, allow_remote: bool) -> str | None:
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


def _wait_s(request: Request, allowed: TimeRange) -> float | None:
    """Return how long the client is willing to wait (`?wait=` in milliseconds), in seconds; None if out of range."""
    text = request.query_params.get("wait")
    if text is None:
        return allowed.default_ms / 1000
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        return None
    return int(text) / 1000 if allowed.min_ms <= int(text) <= allowed.max_ms else None
