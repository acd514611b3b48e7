"""Answers that are held open, for as long as their clients stay."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.requests import ClientDisconnect, Request

from loadtest.serve.live import Waiter


@asynccontextmanager
async def long_poll(request: Request) -> AsyncIterator[Waiter]:
    """An answer held open; where the client hangs up meanwhile, it ends with ClientDisconnect."""
    hold = Waiter()

    async def hang_up() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            continue
        hold.disconnect()

    hanging_up = asyncio.create_task(hang_up())
    try:
        yield hold
        if hold.client_left:
            raise ClientDisconnect
    finally:
        hanging_up.cancel()
