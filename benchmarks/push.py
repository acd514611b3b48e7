"""`python -m benchmarks.push`: users without think time, against the documented limits, for a minute.

On one, two and four generators, and on four with one killed after 30 s and another joining after 40 s. One row per
operation: its limit, its requests in the server's fullest 10 s, wherever they start, and in the last 10 s of the
load, and how many requests of any operation the server answered 429.
"""

from __future__ import annotations

import socket
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.served import LOADTEST, Run, Served, served
from loadtest.protocol.operations import OPERATIONS, Op
from loadtest.traffic.arrivals import max_in_window

USERS = 100
DURATION_S = 60
KILL_AFTER_S = 30
JOIN_AFTER_S = 40
FLOWS = {"run": {"weight": 1, "polling": {"every": "100ms"}}, "runsync": {"weight": 1}}
ENDPOINT = {"workers": {"active": 200, "max": 200}, "service": "10ms"}
HEAD = ("generators", "operation", "limit", "fullest 10 s", "of limit", "last 10 s", "429s", "exit")


def main() -> None:
    """Run the loads, and print what the server counted."""
    print("".join(f"{title:>20}" for title in HEAD), flush=True)
    for processes in (1, 2, 4):
        with tempfile.TemporaryDirectory() as name:
            _push(Path(name), str(processes), "--processes", str(processes))
    with tempfile.TemporaryDirectory() as name:
        _push_with_losses(Path(name))


def _scenario(duration_s: int) -> dict[str, object]:
    return {"load": {"model": "closed", "stages": [{"users": USERS, "for": f"{duration_s}s"}]}, "flows": FLOWS}


def _push(directory: Path, title: str, *arguments: str) -> None:
    with served(directory, ENDPOINT) as target:
        run = Run(directory, _scenario(DURATION_S), target.url, *arguments)
        status = run.wait()
    _print(title, target, run, status)


def _push_with_losses(directory: Path) -> None:
    """Push on four generators, kill one, and add another; 20 s longer, so that the new one gets its share."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    command = [*LOADTEST, "worker", "--master", address]
    with served(directory, ENDPOINT) as target:
        run = Run(directory, _scenario(DURATION_S + 20), target.url, "--expect-workers", "4", "--bind", address)
        generators = [subprocess.Popen(command, stderr=subprocess.DEVNULL) for _ in range(4)]
        run.wait_until_sending(4)
        time.sleep(KILL_AFTER_S)
        generators[0].kill()
        time.sleep(JOIN_AFTER_S - KILL_AFTER_S)
        generators.append(subprocess.Popen(command, stderr=subprocess.DEVNULL))
        status = run.wait()
        for generator in generators:
            generator.wait()
    _print("4, -1 at 30 s, +1", target, run, status)


def _print(title: str, target: Served, run: Run, status: int) -> None:
    requests, ended_at = target.requests(), run.record()["load_ended_at"]
    throttled = sum(request["status"] == 429 for request in requests)
    for op in (Op.RUN, Op.RUNSYNC, Op.STATUS):
        limit = OPERATIONS[op].limit
        assert limit is not None
        at = np.sort([request["at"] for request in requests if request["op"] == op])
        peak, last = max_in_window(at, limit.per_s), int(((at > ended_at - limit.per_s) & (at <= ended_at)).sum())
        row = (title, op, limit.requests, peak, f"{100 * peak / limit.requests:.1f} %", last, throttled, status)
        print("".join(f"{value!s:>20}" for value in row), flush=True)


if __name__ == "__main__":
    main()
