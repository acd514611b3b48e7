"""Tells ended jobs to the URLs that their submissions named."""

from __future__ import annotations

import asyncio
from http import HTTPStatus

import httpx

from loadtest.clock import Clock
from loadtest.endpoint.job import Job, to_response
from loadtest.endpoint.settings import Webhooks
from loadtest.protocol.client_messages import encode
from loadtest.serve.journal import Journal

RESPONSE_TIMEOUT_S = 10.0


class Notifier:
    """Posts each job as `/status` would show it, up to `tries` times until the answer is 200; each try is journalled.

    Redirects are not followed. What is not told when the server stops is told no more.
    """

    def __init__(self, settings: Webhooks, clock: Clock, journal: Journal) -> None:
        self._settings = settings
        self._clock = clock
        self._journal = journal
        self._client: httpx.AsyncClient | None = None
        self._under_way: set[asyncio.Task[None]] = set()

    def notify(self, job: Job) -> None:
        """The job has ended; its webhook, where it has one, hears of it."""
        if job.webhook is None:
            return
        telling = asyncio.create_task(self._deliver(job.id, job.webhook, encode(to_response(job))))
        self._under_way.add(telling)
        telling.add_done_callback(self._under_way.discard)

    async def _deliver(self, job_id: str, url: str, body: bytes) -> None:
        for number in range(1, self._settings.tries + 1):
            if number > 1:
                await asyncio.sleep(self._settings.retry_interval)
            at = self._clock.now()
            status = await self._post(url, body)
            self._journal.webhook(job_id, at, status)
            if status == HTTPStatus.OK:
                return

    async def _post(self, url: str, body: bytes) -> int | None:
        """The status of the answer; None where none came."""
        if self._client is None:
            # An endpoint of this machine has no business with the proxies that its user goes out by.
            self._client = httpx.AsyncClient(timeout=RESPONSE_TIMEOUT_S, trust_env=self._settings.allow_remote)
        try:
            answered = await self._client.post(url, content=body, headers={"Content-Type": "application/json"})
        except (httpx.HTTPError, httpx.InvalidURL):
            return None
        return answered.status_code

    async def close(self) -> None:
        """Give up what is under way."""
        for telling in list(self._under_way):
            telling.cancel()
        if self._client is not None:
            await self._client.aclose()
