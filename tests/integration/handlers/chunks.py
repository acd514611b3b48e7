"""A generator handler: each chunk holds the time at which it was posted. The worker's program starts it."""

import time


def handler(job):
    for index in range(job["input"]["count"]):
        yield {"index": index, "at": time.time()}
        if index == job["input"].get("large_at"):
            yield "x" * 1_000_001
        time.sleep(job["input"].get("gap_s", 0.1))
        if index == job["input"].get("fails_at"):
            raise RuntimeError("no more")
