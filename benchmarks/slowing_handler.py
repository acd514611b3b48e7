"""A handler for `benchmarks.capacity_handler`: up to four jobs at once, which slow each other down.

Each job has its work in seconds, drawn from its id, and all jobs of a worker progress at the same speed: with n in
hand each takes 1 + 0.3 (n - 1) times as long as alone, as the jobs of an engine that computes them in batches do.
"""

from __future__ import annotations

import asyncio
import random
import time
from typing import Any

CONCURRENCY = 4
_SLOWER = 0.3
_working: dict[str, float] = {}
_changed = asyncio.Condition()


def concurrency_modifier(current: int) -> int:
    """Return the number of jobs that the SDK may take at once."""
    return CONCURRENCY


async def handler(job: dict[str, Any]) -> dict[str, float]:
    """Work until this job's share of the worker's time is enough."""
    left_s = random.Random(job["id"]).lognormvariate(-1.0, 0.5)
    began = time.monotonic()
    _working[job["id"]] = left_s
    await _notify()
    try:
        while left_s > 0:
            slowdown, before = 1 + _SLOWER * (len(_working) - 1), time.monotonic()
            await _change_within(left_s * slowdown)
            left_s -= (time.monotonic() - before) / slowdown
    finally:
        del _working[job["id"]]
        await _notify()
    return {"seconds": time.monotonic() - began}


async def _notify() -> None:
    async with _changed:
        _changed.notify_all()


async def _change_within(seconds: float) -> None:
    """Return when the number of jobs changes, or after this time."""
    async with _changed:
        try:
            await asyncio.wait_for(_changed.wait(), seconds)
        except TimeoutError:
            return


if __name__ == "__main__":
    import runpod

    runpod.serverless.start({"handler": handler, "concurrency_modifier": concurrency_modifier})
