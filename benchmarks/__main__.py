"""`make bench`: compares loadtest with other clients, and writes the results into benchmarks/README.md.

One core runs the client, another an nginx that answers fixed bodies. Clients take turns, and a ratio is the median
over the rounds of the ratios within a round, so that other work on the machine slows all of them alike.
"""

from __future__ import annotations

import argparse
import platform
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median

from benchmarks import clients
from benchmarks.clients import Client
from benchmarks.measure import Speed, speed
from benchmarks.open_loop import FLIGHT, flight, k6_lag, loadtest_lag
from benchmarks.recording import recording_cost
from benchmarks.target import Target, target

ROUNDS = 3
RATES_PER_S = (200, 1000, 5000)
README = Path(__file__).with_name("README.md")
MARK = "<!-- the rest is written by `make bench` -->\n"


def main() -> None:
    """Measure everything, and write the results into the README."""
    argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__).parse_args()
    with tempfile.TemporaryDirectory() as name, target(Path(name)) as served:
        parts = [_machine(), _throughput(served), _send_lag(served), _flight(served), _recording(served.directory)]
    README.write_text(README.read_text().partition(MARK)[0] + MARK + "\n" + "\n\n".join(parts) + "\n")
    print("\n\n".join(parts))


def _throughput(served: Target) -> str:
    plain = [
        clients.loadtest(served.url, served.directory, served.certificate),
        clients.fast_http_user(served.url),
        clients.k6(served.url),
        clients.hey(served.url),
        clients.wrk(served.url, served.directory),
    ]
    rounds = [_round(plain, served) for _ in range(ROUNDS)]
    lines = _speeds(rounds)
    tls = [
        lambda: clients.loadtest(served.tls_url, served.directory, served.certificate),
        lambda: clients.fast_http_user(served.tls_url),
    ]
    lines += _speeds([_round([make() for make in tls], served) for _ in range(ROUNDS)], " over TLS")
    head = (
        "| POST /runsync, 64 connections | requests/s | CPU per request | loadtest is faster by | by CPU |\n"
        "|---|--:|--:|--:|--:|"
    )
    return "\n".join([head, *lines])


def _round(candidates: list[Client], served: Target) -> dict[str, Speed]:
    speeds = {}
    for client in candidates:
        if client.command[0]:
            _progress(client.name)
            speeds[client.name] = speed(client, served)
    return speeds


def _speeds(rounds: list[dict[str, Speed]], suffix: str = "") -> list[str]:
    lines = []
    for name in rounds[0]:
        speeds = [speed_by_name[name] for speed_by_name in rounds]
        ours = [speed_by_name["loadtest"] for speed_by_name in rounds]
        by_rate = median(we.per_s / they.per_s for we, they in zip(ours, speeds, strict=True))
        by_cpu = median(they.cpu_us / we.cpu_us for we, they in zip(ours, speeds, strict=True))
        per_s, cpu_us = median(speed.per_s for speed in speeds), median(speed.cpu_us for speed in speeds)
        ratios = " | " if name == "loadtest" else f"{by_rate:.2f} × | {by_cpu:.2f} ×"
        lines.append(f"| {name}{suffix} | {per_s:,.0f} | {cpu_us:.1f} µs | {ratios} |")
    return lines


def _send_lag(served: Target) -> str:
    lines = ["| open load | send lag p50 | p99 | share of intended requests sent |", "|---|--:|--:|--:|"]
    for rate_per_s in RATES_PER_S:
        for name, measure in (("loadtest, Poisson", loadtest_lag), ("k6, constant-arrival-rate", k6_lag)):
            _progress(f"{name} {rate_per_s}/s")
            lag = measure(served, rate_per_s)
            lines.append(
                f"| {name}, {rate_per_s}/s | {lag.p50_ms:.2f} ms | {lag.p99_ms:.2f} ms | {lag.started:.2%} |"
            )
    return "\n".join(lines)


def _flight(served: Target) -> str:
    _progress(f"{FLIGHT} jobs in flight")
    measured = flight(served)
    return (
        f"{FLIGHT:,} jobs in flight in one process, polled {measured.polls_per_s:.0f} times a second: "
        f"{measured.memory_mb:.0f} MB, {measured.cpu_share:.0%} of a core, send lag p99 {measured.lag.p99_ms:.2f} ms."
    )


def _recording(directory: Path) -> str:
    _progress("recording")
    cost = recording_cost(directory)
    return (
        f"Recording a sample with its request: {cost.cpu_us:.1f} µs of CPU, {cost.bytes:.0f} bytes of "
        f"`samples.parquet`; the longest call blocked the loop for {cost.longest_ms:.1f} ms."
    )


def _machine() -> str:
    output = subprocess.run(["lscpu"], capture_output=True, text=True, check=True).stdout
    fields = dict(line.split(":", 1) for line in output.splitlines() if ":" in line)
    cpu, cores = fields["Model name"].strip(), fields["CPU(s)"].strip()
    packages = {name: version(name) for name in ("locust", "gevent", "httptools", "pyarrow")}
    versions = ", ".join(f"{name} {number}" for name, number in packages.items())
    day = datetime.now(UTC).date()
    return f"{day}, {cpu}, {cores} cores, {platform.system()}, Python {platform.python_version()}, {versions}."


def _progress(text: str) -> None:
    print(text, file=sys.stderr)


if __name__ == "__main__":
    main()
