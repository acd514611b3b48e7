"""What a client does while it is let run: requests as the server counts them, and the time of one core."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.clients import Client
from benchmarks.target import Target

CORE = "1"
BEGINS_WITHIN_S = 20
WARM_UP_S = 1.0


@dataclass(frozen=True)
class Speed:
    """Requests per second, and CPU time (user and system) a request in microseconds."""

    per_s: float
    cpu_us: float


@contextmanager
def running(client: Client, directory: Path) -> Iterator[psutil.Process]:
    """The client on its core until the block ends, away from this project's own settings of Locust."""
    with tempfile.TemporaryFile() as said:
        command = ["taskset", "-c", CORE, *client.command]
        env = {**os.environ, **client.env}
        started = subprocess.Popen(command, stdout=said, stderr=said, cwd=directory, env=env)
        try:
            yield psutil.Process(started.pid)
        finally:
            started.kill()
            started.wait()


def speed(client: Client, target: Target, for_s: float = 3.0) -> Speed:
    """How fast a client goes once it has warmed up."""
    with running(client, target.directory) as process:
        before, by = target.requests(), time.monotonic() + BEGINS_WITHIN_S
        while target.requests() - before < 500:
            if time.monotonic() > by or not process.is_running():
                raise RuntimeError(f"{client.name} sends nothing: {' '.join(client.command)}")
            time.sleep(0.1)
        time.sleep(WARM_UP_S)
        first, cpu_before, began = target.requests(), _cpu_s(process), time.perf_counter()
        time.sleep(for_s)
        requests, cpu_s, took_s = target.requests() - first, _cpu_s(process) - cpu_before, time.perf_counter() - began
        return Speed(requests / took_s, cpu_s / requests * 1e6)


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)
