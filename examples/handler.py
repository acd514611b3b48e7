"""A handler like a real one: it keeps a CPU busy for a while, and needs only the vendor's SDK.

Its input may hold `work_ms`, the time to work (50 by default), and `text`, which it returns as a digest.
"""

import hashlib
import time

import runpod

WARM_UP_S = 0.5


def load_model():
    """Load the model, which makes a cold start long; this one takes half a second."""
    time.sleep(WARM_UP_S)
    return hashlib.sha256


MODEL = load_model()


def handler(job):
    """Hash the text repeatedly until the time is up, like an inference that keeps the device busy."""
    job_input = job["input"] or {}
    digest = MODEL(str(job_input.get("text", "")).encode())
    until = time.perf_counter() + job_input.get("work_ms", 50) / 1000
    rounds = 0
    while time.perf_counter() < until:
        digest.update(digest.digest())
        rounds += 1
    return {"digest": digest.hexdigest(), "rounds": rounds}


if __name__ == "__main__":
    runpod.serverless.start({"handler": handler})
