"""An async handler, three jobs at once: it waits as long as its input says, and leaves a mark if it is cancelled."""

import asyncio
from pathlib import Path

import runpod


async def handler(job):
    asked = job["input"]
    try:
        await asyncio.sleep(asked.get("s", 0))
    except asyncio.CancelledError:
        Path(asked["mark"]).touch()
        raise
    return {"slept": asked.get("s", 0)}


runpod.serverless.start({"handler": handler, "concurrency_modifier": lambda _: 3})
