"""A generator handler: each chunk tells when it was posted. It is not started here: whoever runs it does that."""

import time


def handler(job):
    for index in range(job["input"]["count"]):
        yield {"index": index, "at": time.time()}
        time.sleep(job["input"].get("gap_s", 0.1))
        if index == job["input"].get("fails_at"):
            raise RuntimeError("no more")
