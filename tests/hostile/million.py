"""A million jobs through one process: `loadtest run` against an endpoint that answers at once, and its memory.

Each job has an id of its own, and one of a hundred fails with an error of its own: what is kept for each id or error
shows as growth.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import threading
import time
from itertools import count
from pathlib import Path

import psutil

from loadtest.record.audit import read_count
from loadtest.record.directory import RunDirectory

USERS = 64
STEPS = 10
WARM_UP_STEPS = 2
"""Buffers, caches and the statistics of Locust reach their size in the first steps."""
FLAT_MB = 3.0
"""The memory may grow by this much from one step to the next, in the mean after the warm-up."""
LIMIT = "100000 per 1 s, 1000 at once"
FAILS_EVERY = 100


class InstantEndpoint(asyncio.Protocol):
    """One connection of an endpoint that completes each job at once."""

    numbers = count()
    transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer a request, which fits into one segment."""
        if data.startswith(b"GET"):
            self._send(b'{"jobs":{"inQueue":0,"inProgress":0},"workers":{"idle":1,"running":0}}')
            return
        number = next(self.numbers)
        job = b'{"id":"%d-%d-u1","status":"%s","delayTime":1,"executionTime":1,"workerId":"t8tnuv6d4x7xm8",%s}'
        failed = number % FAILS_EVERY == 0
        rest = b'"error":"cannot read file %d of %d"' % (number, number * 7) if failed else b'"output":"done"'
        self._send(job % (number, number * 31, b"FAILED" if failed else b"COMPLETED", rest))

    def _send(self, body: bytes) -> None:
        self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))


def serve() -> str:
    """Serve the endpoint on a free port, in a thread that ends with this process; return its URL."""
    ready, port = threading.Event(), [0]

    async def listen() -> None:
        server = await asyncio.get_running_loop().create_server(InstantEndpoint, "127.0.0.1", 0)
        port[0] = server.sockets[0].getsockname()[1]
        ready.set()
        await server.serve_forever()

    threading.Thread(target=lambda: asyncio.run(listen()), daemon=True).start()
    ready.wait()
    return f"http://127.0.0.1:{port[0]}/v2/x"


def run_million(jobs: int) -> int:
    """Send this many jobs, print the memory of the process that sends them ten times, and return 1 if it grows."""
    scenario = {
        "name": "million",
        "load": {"model": "closed", "stages": [{"users": USERS, "for": "2h"}]},
        "flows": {"runsync": {"input": {"prompt": "a cat"}}},
        "limits": {"runsync": LIMIT},
        "ceilings": {"jobs": jobs},
    }
    with tempfile.TemporaryDirectory(prefix="million-") as name:
        folder = Path(name)
        (folder / "scenario.json").write_text(json.dumps(scenario))
        command = [sys.executable, "-m", "loadtest", "run", str(folder / "scenario.json"), "--target", serve()]
        run = subprocess.Popen(
            [*command, "--out", str(folder / "run")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            memory_mb = _watch(run, RunDirectory(folder / "run").sent_count_path(0), jobs)
            code = run.wait()
        finally:
            if run.poll() is None:
                run.terminate()
                run.wait()
    if len(memory_mb) < STEPS:
        print(f"the run ended with {code} after {len(memory_mb)} of {STEPS} steps")
        return 1
    growth_mb = (memory_mb[-1] - memory_mb[WARM_UP_STEPS]) / (STEPS - 1 - WARM_UP_STEPS)
    print(f"{growth_mb:.2f} MB more per {jobs // STEPS:,} jobs after the warm-up; at most {FLAT_MB:g} are allowed")
    return 1 if growth_mb > FLAT_MB else 0


def _watch(run: subprocess.Popen[bytes], sent: Path, jobs: int) -> list[float]:
    """Return the memory of the process that sends, in MB, after each tenth of the jobs."""
    memory_mb: list[float] = []
    began_at = time.monotonic()
    while run.poll() is None and len(memory_mb) < STEPS:
        time.sleep(0.02)
        count_now = read_count(sent) if sent.exists() else 0
        if count_now < jobs * (len(memory_mb) + 1) // STEPS - jobs // (20 * STEPS):
            continue
        senders = [each for each in psutil.Process(run.pid).children() if "--run" in each.cmdline()]
        if senders:
            memory_mb.append(senders[0].memory_info().rss / 1e6)
            rate = count_now / (time.monotonic() - began_at)
            print(f"{count_now:>10,} jobs: {memory_mb[-1]:.1f} MB, {rate:,.0f} jobs/s", flush=True)
    return memory_mb
