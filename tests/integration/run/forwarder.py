"""A process that carries connections from a loopback port to another host: `forwarder.py PORT HOST`.

A key goes in clear to this machine alone, so that a target on another host has to be reached as one on this.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress


async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


async def forward(host: str, port: int, near: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
    try:
        far, there = await asyncio.open_connection(host, port)
    except OSError:
        back.close()
        return
    await asyncio.gather(carry(near, there), carry(far, back))


async def main(port: int, host: str) -> None:
    async def begin(near: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        await forward(host, port, near, back)

    server = await asyncio.start_server(begin, "127.0.0.1", port)
    print("listening", flush=True)  # noqa: T201
    await server.serve_forever()


asyncio.run(main(int(sys.argv[1]), sys.argv[2]))
