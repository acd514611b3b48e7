"""What the vendor's worker SDK asks for over HTTP: jobs, the stop channel, and places for results, chunks, pings."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import parse_qs

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from loadtest.endpoint.floor import Floor
from loadtest.endpoint.staff import Staff
from loadtest.errors import BadAnswer
from loadtest.serve import replies
from loadtest.serve.held import held
from loadtest.serve.live import Hold, LiveEndpoint
from loadtest.worker_wire import JobsToStop, Offer, WorkerOp, decode_chunk, decode_result

HELD_S = 20.0
"""How long a take or the stop channel is held open for something to come; the SDK gives up after 90 s."""
LEFT_HELD_S = 1.0
"""How long a worker that has left is kept waiting, since the SDK asks again at once."""

_OPS = frozenset(WorkerOp)
Asgi = Callable[[Scope, Receive, Send], Awaitable[None]]


@dataclass(frozen=True)
class Call:
    """One request of a worker: what it asks for, who it is, and the job it speaks of."""

    op: WorkerOp
    worker_id: str
    job_id: str


class WorkerSide:
    """The worker's side of an endpoint; every other request goes on to the clients' side.

    Only this machine's own processes are heard, and of them only those that know a worker's id.
    """

    def __init__(self, clients: Asgi, live: LiveEndpoint, staff: Staff, endpoint_id: str) -> None:
        self._clients = clients
        self._live = live
        self._staff = staff
        self._prefix = f"/v2/{endpoint_id}/"
        self._taking: dict[str, Hold] = {}
        self._listening: dict[str, Hold] = {}
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

    def settled(self) -> None:
        """Rings those for whom there is something new."""
        for worker_id, hold in self._taking.items():
            if self._staff.called(worker_id):
                hold.ring()
        for worker_id, hold in self._listening.items():
            if self._staff.warned(worker_id):
                hold.ring()

    def stop(self) -> None:
        """Ends all waiting, now and from now on."""
        self._stopping = True
        for hold in (*self._taking.values(), *self._listening.values()):
            hold.ring()

    def _named(self, scope: Scope) -> Call | None:
        path = scope["path"]
        if not path.startswith(self._prefix):
            return None
        op, *rest = path.removeprefix(self._prefix).split("/")
        if op not in _OPS or not 1 <= len(rest) <= 2 or not _of_this_machine(scope):
            return None
        return Call(WorkerOp(op), rest[0], "".join(rest[1:]))

    async def _answer(self, call: Call, request: Request) -> Response:
        if not self._staff.knows(call.worker_id):
            async with held(request) as hold:
                await hold.rung(LEFT_HELD_S)
            return replies.UNKNOWN_WORKER
        match call.op:
            case WorkerOp.TAKE | WorkerOp.TAKE_BATCH:
                return await self._take(call, request)
            case WorkerOp.STOP:
                return await self._jobs_to_stop(call, request)
            case WorkerOp.PING:
                running = _asked(request, "job_id", "")
                self._staff.ping(call.worker_id, running.split(","), self._floor().now)
            case WorkerOp.DONE | WorkerOp.STREAM:
                try:
                    self._post(call, await request.body())
                except BadAnswer as fault:
                    return replies.bad_request(str(fault))
        self._live.settle()
        return replies.reply({})

    def _floor(self) -> Floor:
        return self._live.endpoint.at(self._live.clock.now())

    def _post(self, call: Call, body: bytes) -> None:
        if call.op is WorkerOp.DONE:
            self._staff.done(self._floor(), call.worker_id, call.job_id, decode_result(body))
        else:
            self._staff.post(self._floor(), call.worker_id, call.job_id, decode_chunk(body))
            self._live.ring(call.job_id)

    async def _take(self, call: Call, request: Request) -> Response:
        batch = call.op is WorkerOp.TAKE_BATCH
        wanted = int(_asked(request, "batch_size", "1")) if batch else 1
        busy = _asked(request, "job_in_progress", "1") != "0"
        self._staff.ask(self._floor(), call.worker_id, wanted, busy)
        self._live.settle()
        try:
            await self._news(self._taking, self._staff.called, call, request)
        except ClientDisconnect:
            self._staff.break_off(self._floor(), call.worker_id)
            self._live.settle()
            raise
        offers = [Offer(job.id, job.input) for job in self._staff.collect(call.worker_id)]
        if not offers:
            return Response(status_code=HTTPStatus.NO_CONTENT)
        return replies.reply(offers if batch else offers[0])

    async def _jobs_to_stop(self, call: Call, request: Request) -> Response:
        await self._news(self._listening, self._staff.warned, call, request)
        job_ids = self._staff.jobs_to_stop(call.worker_id)
        return replies.reply(JobsToStop(job_ids)) if job_ids else Response(status_code=HTTPStatus.NO_CONTENT)

    async def _news(
        self, waiting: dict[str, Hold], come: Callable[[str], bool], call: Call, request: Request
    ) -> None:
        """Returns when something has come for the worker, after a while, or when the server stops."""
        until = self._live.clock.now() + HELD_S
        async with held(request) as hold:
            waiting[call.worker_id] = hold
            try:
                while not (come(call.worker_id) or hold.client_left or self._stopping):
                    left_s = until - self._live.clock.now()
                    if left_s <= 0:
                        return
                    await hold.rung(left_s)
            finally:
                if waiting.get(call.worker_id) is hold:
                    del waiting[call.worker_id]


def _asked(request: Request, name: str, default: str) -> str:
    return parse_qs(request.url.query).get(name, [default])[-1]


def _of_this_machine(scope: Scope) -> bool:
    """Whether both ends of the connection have the same address."""
    client, server = scope.get("client"), scope.get("server")
    return client is not None and server is not None and client[0] == server[0]
