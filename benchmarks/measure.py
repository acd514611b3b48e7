"""What a client does while it is let run: requests as the server counts them, and the time of one core."""

from __future__ import annotations

import os
import shutil
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


def pinned(client: Client) -> list[str]:
    """The client's command, on its core."""
    return ["taskset", "-c", CORE, *client.command]


def environment(client: Client) -> dict[str, str]:
    """What the client finds in its environment."""
    return {**os.environ, **client.env}


@contextmanager
def running(client: Client, directory: Path) -> Iterator[psutil.Process]:
    """The client until the block ends, away from this project's own settings of Locust."""
    shutil.rmtree(directory / "run", ignore_errors=True)
    with tempfile.TemporaryFile() as said:
        started = subprocess.Popen(pinned(client), stdout=said, stderr=said, cwd=directory, env=environment(client))
        try:
            yield psutil.Process(started.pid)
        finally:
            started.kill()
            started.wait()


def begun(client: Client, process: psutil.Process, target: Target, requests: int) -> None:
    """Wait until the client has sent so many requests; RuntimeError where it does not."""
    before, by = target.requests(), time.monotonic() + BEGINS_WITHIN_S
    # Every look at the counts is a request too.
    while target.requests() - before <= requests:
        before += 1
        if time.monotonic() > by or process.status() == psutil.STATUS_ZOMBIE:
            raise RuntimeError(f"{client.name} sends nothing: {' '.join(client.command)}")
        time.sleep(0.1)


def speed(client: Client, target: Target, for_s: float = 3.0) -> Speed:
    """How fast a client goes once it has warmed up."""
    with running(client, target.directory) as process:
        begun(client, process, target, requests=500)
        time.sleep(WARM_UP_S)
        first, cpu_before, began = target.requests(), cpu_s(process), time.perf_counter()
        time.sleep(for_s)
        requests, took_s = target.requests() - first, time.perf_counter() - began
        return Speed(requests / took_s, (cpu_s(process) - cpu_before) / requests * 1e6)


def cpu_s(process: psutil.Process) -> float:
    """User and system time that a process has had."""
    times = process.cpu_times()
    return float(times.user + times.system)
