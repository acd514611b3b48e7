"""The speed of a client while it runs: requests as the server counts them, and CPU time."""

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
START_TIMEOUT_S = 20
WARM_UP_S = 1.0


@dataclass(frozen=True)
class Speed:
    """Requests per second, and CPU time (user and system) per request in microseconds."""

    per_s: float
    cpu_us: float


def pinned(client: Client) -> list[str]:
    """Return the client's command, pinned to its core."""
    return ["taskset", "-c", CORE, *client.command]


def environment(client: Client) -> dict[str, str]:
    """Return the client's environment."""
    return {**os.environ, **client.env}


@contextmanager
def running(client: Client, directory: Path) -> Iterator[psutil.Process]:
    """Run the client until the block ends, in a directory without this project's settings of Locust."""
    shutil.rmtree(directory / "run", ignore_errors=True)
    with tempfile.TemporaryFile() as output:
        started = subprocess.Popen(
            pinned(client), stdout=output, stderr=output, cwd=directory, env=environment(client)
        )
        try:
            yield psutil.Process(started.pid)
        finally:
            started.kill()
            started.wait()


def wait_until_sent(client: Client, process: psutil.Process, target: Target, requests: int) -> None:
    """Wait until the client has sent this many requests. Raises RuntimeError if it does not."""
    before, deadline = target.requests(), time.monotonic() + START_TIMEOUT_S
    # Each read of the counts is a request too.
    while target.requests() - before <= requests:
        before += 1
        if time.monotonic() > deadline or process.status() == psutil.STATUS_ZOMBIE:
            raise RuntimeError(f"{client.name} sends nothing: {' '.join(client.command)}")
        time.sleep(0.1)


def speed(client: Client, target: Target, for_s: float = 3.0) -> Speed:
    """Return the speed of a client once it has warmed up."""
    with running(client, target.directory) as process:
        wait_until_sent(client, process, target, requests=500)
        time.sleep(WARM_UP_S)
        first, cpu_before, started_at = target.requests(), cpu_s(process), time.perf_counter()
        time.sleep(for_s)
        requests, elapsed_s = target.requests() - first, time.perf_counter() - started_at
        return Speed(requests / elapsed_s, (cpu_s(process) - cpu_before) / requests * 1e6)


def cpu_s(process: psutil.Process) -> float:
    """Return the user and system time of a process."""
    times = process.cpu_times()
    return float(times.user + times.system)
