"""A handler that sleeps as its input says: as a coroutine, or so that the worker's event loop stands still."""

import asyncio
import time

import runpod


def handler(job):
    asked = job["input"]
    return asyncio.sleep(asked["s"], "slept") if asked["awaits"] else time.sleep(asked["s"])


runpod.serverless.start({"handler": handler})
