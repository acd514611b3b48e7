"""What the vendor's worker SDK asks for over HTTP: jobs, the stop channel, and places for results, chunks, pings."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import parse_qs

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from loadtest.endpoint.scheduler import JobScheduler
from loadtest.endpoint.sdk_worker_pool import SdkWorkerPool
from loadtest.errors import InvalidResponse
from loadtest.protocol.worker_messages import JobsToStop, Offer, WorkerOp, decode_chunk, decode_result
from loadtest.serve import responses
from loadtest.serve.live import LiveEndpoint, Waiter
from loadtest.serve.long_poll import long_poll

LONG_POLL_S = 20.0
"""How long a take or the stop channel is held open for something to come; the SDK gives up after 90 s."""
LEFT_HELD_S = 1.0
"""How long a worker that has left is kept waiting, since the SDK asks again at once."""

_OPS = frozenset(WorkerOp)
Asgi = Callable[[Scope, Receive, Send], Awaitable[None]]


@dataclass(frozen=True)
class WorkerRequest:
    """One request of a worker: what it asks for, who it is, and the job it speaks of."""

    op: WorkerOp
    worker_id: str
    job_id: str


class WorkerApi:
    """The worker's side of an endpoint; every other request goes on to the clients' side.

    Only this machine's own processes are heard, and of them only those that know a worker's id.
    """

    def __init__(self, clients: Asgi, live: LiveEndpoint, pool: SdkWorkerPool, endpoint_id: str) -> None:
        self._clients = clients
        self._live = live
        self._pool = pool
        self._prefix = f"/v2/{endpoint_id}/"
        self._taking: dict[str, Waiter] = {}
        self._listening: dict[str, Waiter] = {}
        self._stopping = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        call = self._named(scope)
        if call is None:
            await self._clients(scope, receive, send)
            return
        request = Request(scope, receive)
        try:
            response = await self._answer(call, request)
            await response(scope, receive, send)
        except ClientDisconnect:
            pass  # the worker has died or was killed

    def notify_waiters(self) -> None:
        """Rings those for whom there is something new."""
        for worker_id, hold in self._taking.items():
            if self._pool.has_jobs_or_left(worker_id):
                hold.notify()
        for worker_id, hold in self._listening.items():
            if self._pool.has_stop_requests(worker_id):
                hold.notify()

    def stop(self) -> None:
        """Ends all waiting, now and from now on."""
        self._stopping = True
        for hold in (*self._taking.values(), *self._listening.values()):
            hold.notify()

    def _named(self, scope: Scope) -> WorkerRequest | None:
        path = scope["path"]
        if not path.startswith(self._prefix):
            return None
        op, *rest = path.removeprefix(self._prefix).split("/")
        if op not in _OPS or not 1 <= len(rest) <= 2 or not _of_this_machine(scope):
            return None
        return WorkerRequest(WorkerOp(op), rest[0], "".join(rest[1:]))

    async def _answer(self, call: WorkerRequest, request: Request) -> Response:
        if not self._pool.is_registered(call.worker_id):
            async with long_poll(request) as hold:
                await hold.wait(LEFT_HELD_S)
            return responses.UNKNOWN_WORKER
        match call.op:
            case WorkerOp.TAKE | WorkerOp.TAKE_BATCH:
                return await self._take(call, request)
            case WorkerOp.STOP:
                return await self._jobs_to_stop(call, request)
            case WorkerOp.PING:
                running = _asked(request, "job_id", "")
                self._pool.ping(call.worker_id, running.split(","), self._scheduler().now)
            case WorkerOp.DONE | WorkerOp.STREAM:
                try:
                    self._post(call, await request.body())
                except InvalidResponse as error:
                    return responses.bad_request(str(error))
        self._live.process_due()
        return responses.json_response({})

    def _scheduler(self) -> JobScheduler:
        return self._live.endpoint.advanced_to(self._live.clock.now())

    def _post(self, call: WorkerRequest, body: bytes) -> None:
        if call.op is WorkerOp.DONE:
            self._pool.job_result(self._scheduler(), call.worker_id, call.job_id, decode_result(body))
        else:
            self._pool.add_chunk(self._scheduler(), call.worker_id, call.job_id, decode_chunk(body))
            self._live.ring(call.job_id)

    async def _take(self, call: WorkerRequest, request: Request) -> Response:
        batch = call.op is WorkerOp.TAKE_BATCH
        wanted = int(_asked(request, "batch_size", "1")) if batch else 1
        busy = _asked(request, "job_in_progress", "1") != "0"
        self._pool.open_take(self._scheduler(), call.worker_id, wanted, busy)
        self._live.process_due()
        try:
            await self._long_poll(self._taking, self._pool.has_jobs_or_left, call, request)
        except ClientDisconnect:
            self._pool.take_disconnected(self._scheduler(), call.worker_id)
            self._live.process_due()
            raise
        offers = [Offer(job.id, job.input) for job in self._pool.close_take(call.worker_id)]
        if not offers:
            return Response(status_code=HTTPStatus.NO_CONTENT)
        return responses.json_response(offers if batch else offers[0])

    async def _jobs_to_stop(self, call: WorkerRequest, request: Request) -> Response:
        await self._long_poll(self._listening, self._pool.has_stop_requests, call, request)
        job_ids = self._pool.jobs_to_stop(call.worker_id)
        return (
            responses.json_response(JobsToStop(job_ids)) if job_ids else Response(status_code=HTTPStatus.NO_CONTENT)
        )

    async def _long_poll(
        self, waiting: dict[str, Waiter], come: Callable[[str], bool], call: WorkerRequest, request: Request
    ) -> None:
        """Returns when something has come for the worker, after a while, or when the server stops."""
        until = self._live.clock.now() + LONG_POLL_S
        async with long_poll(request) as hold:
            waiting[call.worker_id] = hold
            try:
                while not (come(call.worker_id) or hold.client_left or self._stopping):
                    left_s = until - self._live.clock.now()
                    if left_s <= 0:
                        return
                    await hold.wait(left_s)
            finally:
                if waiting.get(call.worker_id) is hold:
                    del waiting[call.worker_id]


def _asked(request: Request, name: str, default: str) -> str:
    return parse_qs(request.url.query).get(name, [default])[-1]


def _of_this_machine(scope: Scope) -> bool:
    """Whether both ends of the connection have the same address."""
    client, server = scope.get("client"), scope.get("server")
    return client is not None and server is not None and client[0] == server[0]
