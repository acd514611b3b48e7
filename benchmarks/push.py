"""`python -m benchmarks.push`: users who push as hard as they can, against the documented limits, for a minute.

On one, two and four processes, and on four of which one is killed after 30 s and another joins after 40 s. A row
an operation: its requests in the server's fullest 10 s, wherever they start, and in the last 10 s of the load,
beside the limit; and how many requests of any operation the server answered 429.
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
FOR_S = 60
KILLED_AFTER_S = 30
JOINS_AFTER_S = 40
FLOWS = {"run": {"weight": 1, "polling": {"every": "100ms"}}, "runsync": {"weight": 1}}
ENDPOINT = {"workers": {"active": 200, "max": 200}, "service": "10ms"}
HEAD = ("processes", "operation", "limit", "fullest 10 s", "of limit", "last 10 s", "429s", "exit")


def main() -> None:
    """Push, and print what the server saw."""
    print("".join(f"{title:>20}" for title in HEAD), flush=True)
    for processes in (1, 2, 4):
        with tempfile.TemporaryDirectory() as name:
            _push(Path(name), str(processes), "--processes", str(processes))
    with tempfile.TemporaryDirectory() as name:
        _push_with_losses(Path(name))


def _scenario(for_s: int) -> dict[str, object]:
    return {"load": {"model": "closed", "stages": [{"users": USERS, "for": f"{for_s}s"}]}, "flows": FLOWS}


def _push(directory: Path, title: str, *arguments: str) -> None:
    with served(directory, ENDPOINT) as target:
        run = Run(directory, _scenario(FOR_S), target.url, *arguments)
        status = run.wait()
    _print(title, target, run, status)


def _push_with_losses(directory: Path) -> None:
    """As `_push` on four processes, of which one dies and another comes; 20 s longer, for it to have its share."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    worker = [*LOADTEST, "worker", "--master", address]
    with served(directory, ENDPOINT) as target:
        run = Run(directory, _scenario(FOR_S + 20), target.url, "--expect-workers", "4", "--bind", address)
        workers = [subprocess.Popen(worker, stderr=subprocess.DEVNULL) for _ in range(4)]
        run.sending(4)
        time.sleep(KILLED_AFTER_S)
        workers[0].kill()
        time.sleep(JOINS_AFTER_S - KILLED_AFTER_S)
        workers.append(subprocess.Popen(worker, stderr=subprocess.DEVNULL))
        status = run.wait()
        for each in workers:
            each.wait()
    _print("4, -1 at 30 s, +1", target, run, status)


def _print(title: str, target: Served, run: Run, status: int) -> None:
    requests, ended_at = target.requests(), run.record()["load_ended_at"]
    throttled = sum(each["status"] == 429 for each in requests)
    for op in (Op.RUN, Op.RUNSYNC, Op.STATUS):
        limit = OPERATIONS[op].limit
        assert limit is not None
        at = np.sort([each["at"] for each in requests if each["op"] == op])
        most, last = max_in_window(at, limit.per_s), int(((at > ended_at - limit.per_s) & (at <= ended_at)).sum())
        row = (title, op, limit.requests, most, f"{100 * most / limit.requests:.1f} %", last, throttled, status)
        print("".join(f"{value!s:>20}" for value in row), flush=True)


if __name__ == "__main__":
    main()
