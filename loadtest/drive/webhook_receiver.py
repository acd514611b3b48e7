"""The webhook receiver of a process: a small HTTP server that the endpoint notifies of ended jobs."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable
from typing import Any

import msgspec
from gevent.event import AsyncResult
from gevent.pywsgi import WSGIServer

from loadtest.addresses import reachable_host, url_host
from loadtest.clock import SleepingClock
from loadtest.errors import UsageError
from loadtest.flows.steps import NO_RESPONSE, Response
from loadtest.scenario.model import WebhookReceiverSettings

LARGEST_BYTES = 256 * 10**6
MAX_EARLY = 10_000
"""The most notifications kept without a waiter: one may come before the response to its submission does."""


class NotificationId(msgspec.Struct, frozen=True):
    """The id of the job that a notification is about."""

    id: str


_decoder = msgspec.json.Decoder(NotificationId)


class WebhookReceiver:
    """A receiver at `url`, whose path cannot be guessed. Raises UsageError if it cannot listen or be reached."""

    def __init__(self, settings: WebhookReceiverSettings, process: int, clock: SleepingClock) -> None:
        port = settings.port + process if settings.port else 0
        self._clock = clock
        self._path = f"/{secrets.token_urlsafe(12)}"
        self._awaited: dict[str, AsyncResult[Response]] = {}
        self._early: dict[str, Response] = {}
        self._server = WSGIServer((settings.host, port), self._answer, log=None, error_log=None)
        try:
            self._server.start()
        except OSError as error:
            raise UsageError(
                f"webhooks: cannot listen on {settings.host} port {port}: {error.strerror}; name another"
            ) from None
        own = f"http://{url_host(reachable_host(settings.host))}:{self._server.server_port}"
        given = settings.url
        if given is not None and process > 0 and "{port}" not in given:
            raise UsageError('webhooks.url: it leads to one of several processes; write "{port}" for the port')
        self.url = (
            own if given is None else given.rstrip("/").replace("{port}", str(self._server.server_port))
        ) + self._path

    def wait_for(self, job_id: str, until: float) -> Response:
        """Return the notification of this job, now or when it comes; NO_RESPONSE if there is none by `until`."""
        early = self._early.pop(job_id, None)
        if early is not None:
            return early
        notification: AsyncResult[Response] = AsyncResult()
        self._awaited[job_id] = notification
        try:
            self._clock.wait(notification, until)
            return notification.value or NO_RESPONSE
        finally:
            del self._awaited[job_id]

    def close(self) -> None:
        """Stop listening."""
        self._server.stop(timeout=1)

    def _answer(
        self, request: dict[str, Any], start: Callable[[str, list[tuple[str, str]]], object]
    ) -> Iterable[bytes]:
        at = self._clock.now()
        if request["PATH_INFO"].rpartition("/")[2] != self._path[1:] or request["REQUEST_METHOD"] != "POST":
            start("404 Not Found", [])
            return [b""]
        body = request["wsgi.input"].read(LARGEST_BYTES)
        try:
            job_id = _decoder.decode(body).id
        except msgspec.MsgspecError:
            start("400 Bad Request", [])
            return [b""]
        self._deliver(job_id, Response(200, body, at, at))
        start("200 OK", [("Content-Length", "0")])
        return [b""]

    def _deliver(self, job_id: str, answer: Response) -> None:
        awaited = self._awaited.get(job_id)
        if awaited is not None:
            if not awaited.ready():
                awaited.set(answer)
            return
        if len(self._early) >= MAX_EARLY:
            del self._early[next(iter(self._early))]
        self._early[job_id] = answer
