"""The webhook receiver of a process: a small HTTP server that the endpoint notifies of ended jobs."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable
from typing import Any

import msgspec
from gevent.event import AsyncResult
from gevent.pywsgi import WSGIServer

from loadtest.clock import SleepingClock
from loadtest.drive.masking import SecretMask
from loadtest.errors import UsageError
from loadtest.flows.steps import NO_RESPONSE, Response
from loadtest.protocol.addresses import reachable_host, url_host
from loadtest.scenario.model import WebhookReceiverSettings

MAX_BODY_BYTES = 32 * 10**6
"""The largest notification that is read; the endpoint's own results have 20 MB at most."""
EARLY_KEPT_S = 60.0
"""How long a notification is kept without a waiter: one may come before the response to its submission does."""
MAX_EARLY_BYTES = 64 * 10**6
"""The most that they take together: the endpoint may repeat those of jobs that have ended."""
NOTIFICATION_BYTES = 1000
"""What one takes next to its body, at most."""


class NotificationId(msgspec.Struct, frozen=True):
    """The id of the job that a notification is about."""

    id: str


_decoder = msgspec.json.Decoder(NotificationId)


class Notifications:
    """The notifications that came, and the waits for those that will."""

    def __init__(self, clock: SleepingClock) -> None:
        self._clock = clock
        self._awaited: dict[str, list[AsyncResult[Response]]] = {}
        self._early: dict[str, Response] = {}
        self._early_bytes = 0

    def wait_for(self, job_id: str, until: float) -> Response:
        """Return the notification of this job, now or when it comes; NO_RESPONSE if there is none by `until`.

        An endpoint may give several jobs one id: its notification is that of all that wait for it.
        """
        if job_id in self._early:
            return self._forget(job_id)
        notification: AsyncResult[Response] = AsyncResult()
        waiting = self._awaited.setdefault(job_id, [])
        waiting.append(notification)
        try:
            self._clock.wait(notification, until)
            return notification.value or NO_RESPONSE
        finally:
            waiting.remove(notification)
            if not waiting:
                del self._awaited[job_id]

    def __repr__(self) -> str:
        return f"<Notifications: {len(self._awaited)} jobs awaited, {len(self._early)} early notifications>"

    def deliver(self, job_id: str, answer: Response) -> None:
        """Give a notification to all that wait for it, or keep it for a while for one that will."""
        waiting = self._awaited.get(job_id)
        if waiting is not None:
            for notification in waiting:
                if not notification.ready():
                    notification.set(answer)
            return
        if job_id in self._early:
            self._forget(job_id)
        self._early_bytes += len(answer.body) + NOTIFICATION_BYTES
        expired_at = answer.answered_at - EARLY_KEPT_S
        while self._early:
            oldest_id = next(iter(self._early))
            if self._early_bytes <= MAX_EARLY_BYTES and self._early[oldest_id].answered_at >= expired_at:
                break
            self._forget(oldest_id)
        self._early[job_id] = answer

    def _forget(self, job_id: str) -> Response:
        answer = self._early.pop(job_id)
        self._early_bytes -= len(answer.body) + NOTIFICATION_BYTES
        return answer


class WebhookReceiver:
    """A receiver at `url`, whose path cannot be guessed. Raises UsageError if it cannot listen or be reached."""

    def __init__(
        self, settings: WebhookReceiverSettings, process: int, clock: SleepingClock, mask: SecretMask
    ) -> None:
        port = settings.port + process if settings.port else 0
        self._mask = mask
        self._clock = clock
        self._path = f"/{secrets.token_urlsafe(12)}"
        notifications = Notifications(clock)
        self.wait_for, self._deliver = notifications.wait_for, notifications.deliver
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
        body = request["wsgi.input"].read(MAX_BODY_BYTES + 1)
        if len(body) > MAX_BODY_BYTES:
            start("413 Content Too Large", [])
            return [b""]
        try:
            job_id = _decoder.decode(body).id
        # Not JSON, not UTF-8, or nested too deep.
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            start("400 Bad Request", [])
            return [b""]
        self._deliver(job_id, Response(200, self._mask.body(body), at, at))
        start("200 OK", [("Content-Length", "0")])
        return [b""]
