"""The requests of the vendor's worker SDK over HTTP: jobs, the stop channel, results, chunks and pings."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from loadtest.endpoint.scheduler import JobScheduler
from loadtest.endpoint.sdk_worker_pool import SdkWorkerPool
from loadtest.endpoint.settings import Payloads
from loadtest.errors import InvalidResponse
from loadtest.protocol.client_messages import Chunk, decode
from loadtest.protocol.operations import CHUNK_LIMIT_BYTES, JobState, Op
from loadtest.protocol.worker_messages import JobsToStop, Offer, Result, WorkerOp
from loadtest.serve import responses
from loadtest.serve.live import LiveEndpoint, Waiter, long_poll
from loadtest.serve.request_body import body_within
from loadtest.serve.worker_processes import worker_log
from loadtest.units import byte_count_text

LONG_POLL_S = 20.0
"""How long a take or the stop channel is held open; the SDK gives up after 90 s."""
UNKNOWN_WORKER_HOLD_S = 1.0
"""How long the answer to a worker that has left is delayed, since the SDK asks again at once."""

_OPS = frozenset(WorkerOp)
T = TypeVar("T")
Asgi = Callable[[Scope, Receive, Send], Awaitable[None]]


class WorkerApi:
    """The workers' side of an endpoint as an ASGI application; every other request goes on to the clients' side.

    Requests are accepted from this machine only, and only with the id of a worker.
    """

    def __init__(
        self, clients: Asgi, live: LiveEndpoint, pool: SdkWorkerPool, endpoint_id: str, payloads: Payloads, logs: Path
    ) -> None:
        self._clients = clients
        self._payloads = payloads
        self._logs = logs
        self._live = live
        self._pool = pool
        self._prefix = f"/v2/{endpoint_id}/"
        self._take_waiters: dict[str, Waiter] = {}
        self._stop_waiters: dict[str, Waiter] = {}
        live.on_settled.append(self._notify_waiters)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        call = self._route(scope)
        if call is None:
            await self._clients(scope, receive, send)
            return
        try:
            response = await self._answer(*call, Request(scope, receive))
            await response(scope, receive, send)
        except ClientDisconnect:
            pass  # the worker has died or was killed

    def _route(self, scope: Scope) -> tuple[WorkerOp, str, str] | None:
        """Return a worker's operation, its id and the id of the job, if any; None for a request of a client."""
        path = scope["path"]
        if not path.startswith(self._prefix):
            return None
        op, *rest = path.removeprefix(self._prefix).split("/")
        if op not in _OPS or not 1 <= len(rest) <= 2 or not _is_local(scope):
            return None
        return WorkerOp(op), rest[0], "".join(rest[1:])

    async def _answer(self, op: WorkerOp, worker_id: str, job_id: str, request: Request) -> Response:
        if not self._pool.is_registered(worker_id):
            async with long_poll(request) as waiter:
                await waiter.wait(UNKNOWN_WORKER_HOLD_S)
            return responses.UNKNOWN_WORKER
        match op:
            case WorkerOp.TAKE | WorkerOp.TAKE_BATCH:
                return await self._take(worker_id, op is WorkerOp.TAKE_BATCH, request)
            case WorkerOp.STOP:
                return await self._jobs_to_stop(worker_id, request)
            case WorkerOp.PING:
                running = request.query_params.get("job_id", "").split(",")
                self._pool.ping(worker_id, running, self._scheduler().now)
                response = responses.json_response({})
            case WorkerOp.DONE:
                response = await self._done(worker_id, job_id, request)
            case WorkerOp.STREAM:
                response = await self._add_chunk(worker_id, job_id, request)
        self._live.process_due()
        return response

    async def _done(self, worker_id: str, job_id: str, request: Request) -> Response:
        """Take a result; a job whose result the endpoint refuses fails with the reason."""
        job = self._scheduler().jobs.get(job_id)
        limit_bytes = self._payloads.run if job is None or job.op is Op.RUN else self._payloads.runsync
        body = await body_within(request, limit_bytes)
        try:
            result = _message(Result, body, "result", limit_bytes)
        except InvalidResponse as error:
            refused = self._refused(worker_id, job_id, error)
            if not _is_progress(body):
                failed = Result(error=msgspec.Raw(msgspec.json.encode(str(error))))
                self._pool.job_result(self._scheduler(), worker_id, job_id, failed)
            return refused
        self._pool.job_result(self._scheduler(), worker_id, job_id, result)
        return responses.json_response({})

    async def _add_chunk(self, worker_id: str, job_id: str, request: Request) -> Response:
        """Take a chunk; a job whose chunk the endpoint refuses fails with the reason, and its handler is stopped."""
        body = await body_within(request, CHUNK_LIMIT_BYTES)
        try:
            chunk = _message(Chunk, body, "chunk", CHUNK_LIMIT_BYTES)
        except InvalidResponse as error:
            reason = msgspec.Raw(msgspec.json.encode(str(error)))
            self._pool.fail_job(self._scheduler(), worker_id, job_id, reason)
            return self._refused(worker_id, job_id, error)
        self._pool.add_chunk(self._scheduler(), worker_id, job_id, chunk)
        self._live.wake(job_id)
        return responses.json_response({})

    def _refused(self, worker_id: str, job_id: str, error: InvalidResponse) -> Response:
        """Write the reason of a refusal to the worker's log, and return the answer: the SDK logs only its status."""
        with worker_log(self._logs, worker_id).open("a", encoding="utf-8") as log:
            log.write(f"loadtest: job {job_id}: refused: {error}\n")
        return responses.bad_request(str(error))

    def _scheduler(self) -> JobScheduler:
        return self._live.endpoint.advanced_to(self._live.clock.now())

    async def _take(self, worker_id: str, batch: bool, request: Request) -> Response:
        jobs = int(request.query_params.get("batch_size", "1")) if batch else 1
        busy = request.query_params.get("job_in_progress", "1") != "0"
        self._pool.open_take(self._scheduler(), worker_id, jobs, busy)
        self._live.process_due()
        try:
            await self._long_poll(self._take_waiters, self._pool.has_jobs_or_left, worker_id, request)
        except ClientDisconnect:
            self._pool.take_disconnected(self._scheduler(), worker_id)
            self._live.process_due()
            raise
        offers = [Offer(job.id, job.input) for job in self._pool.close_take(worker_id)]
        if not offers:
            return responses.NOTHING
        return responses.json_response(offers if batch else offers[0])

    async def _jobs_to_stop(self, worker_id: str, request: Request) -> Response:
        await self._long_poll(self._stop_waiters, self._pool.has_stop_requests, worker_id, request)
        job_ids = self._pool.jobs_to_stop(worker_id)
        return responses.json_response(JobsToStop(job_ids)) if job_ids else responses.NOTHING

    async def _long_poll(
        self, waiting: dict[str, Waiter], ready: Callable[[str], bool], worker_id: str, request: Request
    ) -> None:
        """Return when there is something for the worker, after LONG_POLL_S, or when the server stops."""
        until = self._live.clock.now() + LONG_POLL_S
        async with long_poll(request) as waiter:
            waiting[worker_id] = waiter
            try:
                while not (ready(worker_id) or waiter.client_left or self._live.stopping):
                    left_s = until - self._live.clock.now()
                    if left_s <= 0:
                        return
                    await waiter.wait(left_s)
            finally:
                if waiting.get(worker_id) is waiter:
                    del waiting[worker_id]

    def _notify_waiters(self) -> None:
        """Wake the requests of workers for which there is something new, or all when the server stops."""
        for waiting, ready in (
            (self._take_waiters, self._pool.has_jobs_or_left),
            (self._stop_waiters, self._pool.has_stop_requests),
        ):
            for worker_id, waiter in waiting.items():
                if self._live.stopping or ready(worker_id):
                    waiter.notify()


def _message(kind: type[T], body: bytes | None, name: str, limit_bytes: int) -> T:
    """Return a worker's message; raises InvalidResponse if it is too large (None) or invalid."""
    if body is None:
        raise InvalidResponse(f"the {name}: exceeded max body size of {byte_count_text(limit_bytes)}")
    return decode(kind, body, name)


def _is_progress(body: bytes | None) -> bool:
    """Return whether a refused message, such as one with NaN, is a job's progress and not its result."""
    try:
        message = json.loads(body or b"")
    except (ValueError, RecursionError):
        return False
    return isinstance(message, dict) and message.get("status") == JobState.IN_PROGRESS


def _is_local(scope: Scope) -> bool:
    """Return whether both ends of the connection have the same address."""
    client, server = scope.get("client"), scope.get("server")
    return client is not None and server is not None and client[0] == server[0]
