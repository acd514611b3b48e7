"""A sync handler that does what its input says, as handlers do when things go wrong."""

import os
import signal
import time
from pathlib import Path

import runpod


def first_time(asked):
    """Return whether this is the job's first try; its mark outlives the worker."""
    try:
        Path(asked["mark"]).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def handler(job):
    asked = job["input"]
    match asked["do"]:
        case "echo":
            return {"echo": asked}
        case "raise":
            raise ValueError("this input cannot be served")
        case "error":
            return {"error": "out of memory", "detail": 1}
        case "refresh":
            return {"refresh_worker": True, "pid": os.getpid()}
        case "object":
            return {"image": object()}
        case "large":
            return "x" * asked["bytes"]
        case "die":
            os.kill(os.getpid(), signal.SIGKILL)
        case "die once" if first_time(asked):
            os.kill(os.getpid(), signal.SIGKILL)
        case "hang":
            time.sleep(3600)
        case "freeze once" if first_time(asked):  # stops every process of the worker, the one that pings included
            os.killpg(os.getpgid(0), signal.SIGSTOP)
        case "die once" | "freeze once":
            return {"pid": os.getpid()}
        case unknown:
            return {"error": f"cannot {unknown}"}
    return None


runpod.serverless.start({"handler": handler})
