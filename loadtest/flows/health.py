"""The health of an endpoint: the check before a run, the watch during it, and the jobs that are left after it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from loadtest.clock import SleepingClock
from loadtest.errors import InvalidResponse, RunAborted
from loadtest.flows.responses import redirect_text
from loadtest.flows.steps import Response
from loadtest.protocol.client_messages import Health, decode
from loadtest.protocol.operations import Limit
from loadtest.record.recorder import HealthWriter
from loadtest.scenario.target import is_loopback
from loadtest.traffic.rate_limit import SlidingWindowLimiter

PREFLIGHT_TIMEOUT_S = 4.0
UNFINISHED_TIMEOUT_S = 10.0
POLL_INTERVAL_S = 1.0
REMOTE_POLL_INTERVAL_S = 5.0


def read_health(url: str, answer: Response) -> Health:
    """Return the health in the answer of an endpoint. Raises RunAborted, with what to do, if there is none."""
    match answer.status:
        case 0:
            raise RunAborted(f"target: {url}: {answer.error}; is it up?")
        case 401:
            raise RunAborted(f"target: {url} refuses the key (401); set its variable to a key of this endpoint")
        case 404:
            raise RunAborted(
                f"target: {url} is not an endpoint (404); give the whole URL, such as …/v2/ENDPOINT_ID, or, for a "
                "handler that the vendor's SDK serves (--rp_serve_api), its file: target: {handler: handler.py}"
            )
        case status if answer.location is not None:
            raise RunAborted(f"target: {url} answers /health with HTTP {status}: {redirect_text(answer)}")
        case status if not 200 <= status < 300:
            raise RunAborted(f"target: {url} answers /health with HTTP {status}; is it an endpoint?")
    try:
        return decode(Health, answer.body, "health answer")
    except InvalidResponse as error:
        raise RunAborted(f"target: {url} answers /health with something else: {error}") from None


class EndpointHealth:
    """The health of the endpoint at a URL. `send` asks for it, and takes a timeout in seconds.

    `limit` is that of the operation: the check before the run and the watch keep it together.
    """

    def __init__(self, url: str, send: Callable[[float], Response], limit: Limit | None = None) -> None:
        self._url = url
        self._send = send
        self._limiter = None if limit is None else SlidingWindowLimiter(limit, spaced=True)

    def preflight(self) -> None:
        """Raise RunAborted unless the target is an endpoint that accepts the key."""
        read_health(self._url, self._ask(PREFLIGHT_TIMEOUT_S))

    def unfinished_jobs(self) -> int:
        """Return the number of jobs that wait or run. Raises RunAborted if the endpoint does not report it."""
        jobs = read_health(self._url, self._ask(UNFINISHED_TIMEOUT_S)).jobs
        return jobs.in_queue + jobs.in_progress

    def _ask(self, timeout_s: float) -> Response:
        answer = self._send(timeout_s)
        if self._limiter is not None:
            self._limiter.record(answer.sent_at)
        return answer

    def watch(
        self,
        writer: HealthWriter,
        clock: SleepingClock,
        on_health: Callable[[float, Health], None] = lambda at, health: None,
    ) -> None:
        """Ask again and again until killed, and write the answers; one without health counts as a request only.

        `on_health` is called with the time and the health of each answer that has one.
        """
        every_s = POLL_INTERVAL_S if is_loopback(self._url) else REMOTE_POLL_INTERVAL_S
        try:
            while True:
                if self._limiter is not None:
                    clock.sleep_until(self._limiter.next_at(clock.now()))
                writer.sent(clock.now())
                answer, health = self._ask(every_s), None
                with suppress(RunAborted):
                    health = read_health(self._url, answer)
                writer.answered(answer.status, answer.sent_at, answer.answered_at, health)
                if health is not None:
                    on_health(answer.answered_at, health)
                clock.sleep(every_s)
        finally:
            writer.close()
