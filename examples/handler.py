"""A handler like one that is shipped: it works for a while on a CPU, and needs nothing but the vendor's SDK.

Its input may hold `work_ms`, how long it works (50 by default), and `text`, which it gives back as a digest.
"""

import hashlib
import time

import runpod

WARM_UP_S = 0.5


def load_model():
    """Stands for what makes a cold start long: here it takes half a second."""
    time.sleep(WARM_UP_S)
    return hashlib.sha256


MODEL = load_model()


def handler(job):
    """Digests the text over and over until the time is up, as an inference would keep the device busy."""
    asked = job["input"] or {}
    digest = MODEL(str(asked.get("text", "")).encode())
    until = time.perf_counter() + asked.get("work_ms", 50) / 1000
    rounds = 0
    while time.perf_counter() < until:
        digest.update(digest.digest())
        rounds += 1
    return {"digest": digest.hexdigest(), "rounds": rounds}


if __name__ == "__main__":
    runpod.serverless.start({"handler": handler})
