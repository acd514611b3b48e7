"""Notifications of ended jobs, sent to the URLs that their submissions named."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import TYPE_CHECKING

import msgspec

from loadtest.clock import Clock
from loadtest.endpoint.job import Job, to_response
from loadtest.endpoint.settings import Webhooks
from loadtest.serve.journal import Journal

if TYPE_CHECKING:
    import httpx

RESPONSE_TIMEOUT_S = 10.0


class Notifier:
    """A client that posts each job as `/status` shows it, up to `tries` times until the answer is 200.

    Each try is journalled. Redirects are not followed. Deliveries end when the server stops.
    """

    def __init__(self, settings: Webhooks, clock: Clock, journal: Journal) -> None:
        self._settings = settings
        self._clock = clock
        self._journal = journal
        self._client: httpx.AsyncClient | None = None
        self._deliveries: set[asyncio.Task[None]] = set()

    def notify(self, job: Job) -> None:
        """Start to deliver an ended job to its webhook, if it has one."""
        if job.webhook is None:
            return
        delivery = asyncio.create_task(self._deliver(job.id, job.webhook, msgspec.json.encode(to_response(job))))
        self._deliveries.add(delivery)
        delivery.add_done_callback(self._deliveries.discard)

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
        """Return the status of the answer, or None if none arrived."""
        # Slow to import, and most endpoints have no webhook to notify.
        import httpx

        if self._client is None:
            # A webhook on this machine is not reached through the proxies of the environment.
            self._client = httpx.AsyncClient(timeout=RESPONSE_TIMEOUT_S, trust_env=self._settings.allow_remote)
        try:
            response = await self._client.post(url, content=body, headers={"Content-Type": "application/json"})
        except (httpx.HTTPError, httpx.InvalidURL):
            return None
        return response.status_code

    async def close(self) -> None:
        """Cancel the deliveries that are not complete."""
        for delivery in list(self._deliveries):
            delivery.cancel()
        if self._client is not None:
            await self._client.aclose()
