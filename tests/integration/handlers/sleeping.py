"""A handler that sleeps as its input says: as a coroutine, or by blocking the worker's event loop."""

import asyncio
import time

import runpod


def handler(job):
    asked = job["input"]
    return asyncio.sleep(asked["s"], "slept") if asked["awaits"] else time.sleep(asked["s"])


runpod.serverless.start({"handler": handler})
