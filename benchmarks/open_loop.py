"""Open load: how late requests are sent, and what ten thousand jobs in flight cost."""

from __future__ import annotations

import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from benchmarks import clients
from benchmarks.measure import cpu_s, environment, pinned, running, wait_until_sent
from benchmarks.target import Target
from loadtest.record.directory import RunDirectory

LAG_DURATION_S = 6
FLIGHT = 10_000
FLIGHT_PER_S = 195
"""A little below the rate at which the limit of /status lets each job be polled once."""
FLIGHT_WINDOW_S = 5


@dataclass(frozen=True)
class Lag:
    """Send lag in milliseconds, and the share of the intended requests that were sent."""

    p50_ms: float
    p99_ms: float
    started: float


@dataclass(frozen=True)
class Flight:
    """Memory, share of a core, send lag and polls per second with FLIGHT jobs in flight."""

    memory_mb: float
    cpu_share: float
    lag: Lag
    polls_per_s: float


def loadtest_lag(target: Target, rate_per_s: int) -> Lag:
    """Return the send lag of loadtest with Poisson arrivals, from its samples."""
    load = {"arrivals": "poisson", "stages": [{"rate": f"{rate_per_s}/s", "for": f"{LAG_DURATION_S}s"}]}
    client = clients.loadtest(target.url, target.directory, target.certificate, load)
    with running(client, target.directory) as process:
        wait_until_sent(client, process, target, requests=1)
        time.sleep(LAG_DURATION_S + 1.5)
    lag_ms, offered = _lag_ms(target.directory)
    return _lag(lag_ms, len(lag_ms) / offered)


def k6_lag(target: Target, rate_per_s: int) -> Lag:
    """Return the send lag of k6 with evenly spaced arrivals, by its own clock of whole milliseconds."""
    summary = target.directory / "k6.json"
    client = clients.k6(target.url, rate_per_s, LAG_DURATION_S)
    command = [*pinned(client), "--summary-export", str(summary)]
    subprocess.run(command, env=environment(client), check=True, capture_output=True, timeout=LAG_DURATION_S + 40)
    metrics = msgspec.json.decode(summary.read_bytes())["metrics"]
    sent = metrics["iterations"]["count"]
    return Lag(metrics["send_lag"]["p(50)"], metrics["send_lag"]["p(99)"], sent / (rate_per_s * LAG_DURATION_S))


def flight(target: Target) -> Flight:
    """Measure FLIGHT jobs that do not end, each polled within the limit of /status, in one process."""
    load = {"arrivals": "poisson", "stages": [{"rate": f"{FLIGHT_PER_S}/s", "for": f"{FLIGHT / FLIGHT_PER_S:.2f}s"}]}
    load["max_in_flight"] = 2 * FLIGHT
    more = {"flows": {"run": {"input": {"prompt": "hello"}}}, "drain": {"within": "60s", "cancel_within": "1s"}}
    client = clients.loadtest(target.url, target.directory, target.certificate, load, **more)
    with running(client, target.directory) as process:
        wait_until_sent(client, process, target, requests=1)
        time.sleep(FLIGHT / FLIGHT_PER_S + 1)
        polls, before = target.requests(), cpu_s(process)
        time.sleep(FLIGHT_WINDOW_S)
        polls_per_s = (target.requests() - polls) / FLIGHT_WINDOW_S
        cpu_share = (cpu_s(process) - before) / FLIGHT_WINDOW_S
        memory_mb = process.memory_info().rss / 1e6
        process.terminate()
        process.wait(60)
    lag_ms, offered = _lag_ms(target.directory)
    return Flight(memory_mb, cpu_share, _lag(lag_ms, len(lag_ms) / offered), polls_per_s)


def _lag_ms(directory: Path) -> tuple[NDArray[np.float64], int]:
    """Return the lag of every recorded job and the number of intended jobs, and delete the run."""
    run = RunDirectory(directory / "run")
    run.merge()
    samples = run.table("samples")
    offered = sum(map(sum, run.read_run().offered.values()))
    lag_ms = (samples["sent_at"].to_numpy() - samples["intended_at"].to_numpy()) * 1000
    shutil.rmtree(run.path)
    return lag_ms, offered


def _lag(lag_ms: NDArray[np.float64], started: float) -> Lag:
    p50, p99 = np.percentile(lag_ms, (50, 99), method="inverted_cdf")
    return Lag(float(p50), float(p99), started)
