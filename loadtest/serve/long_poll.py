"""Answers that are held open until something happens, their time is over, or their client disconnects."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.requests import ClientDisconnect, Request


class Waiter:
    """One answer that is held open; the endpoint, a timer or the client's disconnect wakes it."""

    def __init__(self) -> None:
        self.client_left = False
        self._woken: asyncio.Future[None] | None = None

    def notify(self) -> None:
        """Wake the waiter, so that it checks again whether it may answer."""
        if self._woken is not None and not self._woken.done():
            self._woken.set_result(None)

    async def wait(self, timeout_s: float) -> None:
        """Return at the next notification, or after `timeout_s` seconds."""
        loop = asyncio.get_running_loop()
        self._woken = loop.create_future()
        timer = loop.call_later(timeout_s, self.notify)
        try:
            await self._woken
        finally:
            timer.cancel()


@asynccontextmanager
async def long_poll(request: Request) -> AsyncIterator[Waiter]:
    """Yield a waiter for the request's answer. Raises ClientDisconnect at the end if the client left meanwhile."""
    waiter = Waiter()

    async def watch_connection() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            continue
        waiter.client_left = True
        waiter.notify()

    watch = asyncio.create_task(watch_connection())
    try:
        yield waiter
        if waiter.client_left:
            raise ClientDisconnect
    finally:
        watch.cancel()
