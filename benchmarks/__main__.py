"""`make bench`: measures this harness beside its peers and writes the results into README.md beside this file.

Two cores: one for the client, one for an nginx that answers fixed bodies. Clients take turns, and what counts is
the median over the rounds of the ratios within a round, so that whatever else the machine does weighs on all.
"""

from __future__ import annotations

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
from benchmarks.open_loop import FLIGHT, flight, k6_lag, our_lag
from benchmarks.recording import recording_cost
from benchmarks.target import Target, target

ROUNDS = 3
RATES_PER_S = (200, 1000, 5000)
README = Path(__file__).with_name("README.md")
MARK = "<!-- what follows is written by `make bench` -->\n"


def main() -> None:
    """Measure everything, and write it down."""
    with tempfile.TemporaryDirectory() as name, target(Path(name)) as served:
        parts = [_machine(), _throughput(served), _send_lag(served), _flight(served), _recording(served.directory)]
    README.write_text(README.read_text().partition(MARK)[0] + MARK + "\n" + "\n\n".join(parts) + "\n")
    print("\n\n".join(parts))


def _throughput(served: Target) -> str:
    plain = [
        clients.ours(served.url, served.directory, served.certificate),
        clients.fast_http_user(served.url),
        clients.k6(served.url),
        clients.hey(served.url),
        clients.wrk(served.url, served.directory),
    ]
    rounds = [_round(plain, served) for _ in range(ROUNDS)]
    lines = _speeds(rounds)
    tls = [
        lambda: clients.ours(served.tls_url, served.directory, served.certificate),
        lambda: clients.fast_http_user(served.tls_url),
    ]
    lines += _speeds([_round([make() for make in tls], served) for _ in range(ROUNDS)], " over TLS")
    head = (
        "| POST /runsync, 64 connections | requests/s | CPU a request | loadtest is faster by | by CPU |\n"
        "|---|--:|--:|--:|--:|"
    )
    return "\n".join([head, *lines])


def _round(there: list[Client], served: Target) -> dict[str, Speed]:
    speeds = {}
    for client in there:
        if client.command[0]:
            _tell(client.name)
            speeds[client.name] = speed(client, served)
    return speeds


def _speeds(rounds: list[dict[str, Speed]], suffix: str = "") -> list[str]:
    lines = []
    for name in rounds[0]:
        of_name = [each[name] for each in rounds]
        ours = [each["loadtest"] for each in rounds]
        by_rate = median(we.per_s / they.per_s for we, they in zip(ours, of_name, strict=True))
        by_cpu = median(they.cpu_us / we.cpu_us for we, they in zip(ours, of_name, strict=True))
        per_s, cpu_us = median(each.per_s for each in of_name), median(each.cpu_us for each in of_name)
        ratios = " | " if name == "loadtest" else f"{by_rate:.2f} × | {by_cpu:.2f} ×"
        lines.append(f"| {name}{suffix} | {per_s:,.0f} | {cpu_us:.1f} µs | {ratios} |")
    return lines


def _send_lag(served: Target) -> str:
    lines = ["| open load | send lag p50 | p99 | sent of what was due |", "|---|--:|--:|--:|"]
    for rate_per_s in RATES_PER_S:
        for name, measured in (("loadtest, Poisson", our_lag), ("k6, constant-arrival-rate", k6_lag)):
            _tell(f"{name} {rate_per_s}/s")
            lag = measured(served, rate_per_s)
            lines.append(
                f"| {name}, {rate_per_s}/s | {lag.p50_ms:.2f} ms | {lag.p99_ms:.2f} ms | {lag.started:.2%} |"
            )
    return "\n".join(lines)


def _flight(served: Target) -> str:
    _tell(f"{FLIGHT} jobs in flight")
    seen = flight(served)
    return (
        f"{FLIGHT:,} jobs in flight in one process, polled {seen.polls_per_s:.0f} times a second: "
        f"{seen.memory_mb:.0f} MB, {seen.cpu_share:.0%} of a core, send lag p99 {seen.lag.p99_ms:.2f} ms."
    )


def _recording(directory: Path) -> str:
    _tell("recording")
    cost = recording_cost(directory)
    return (
        f"Recording a sample with its request: {cost.cpu_us:.1f} µs of CPU, {cost.bytes:.0f} bytes of "
        f"`samples.parquet`; the longest call held the loop for {cost.longest_ms:.1f} ms."
    )


def _machine() -> str:
    said = subprocess.run(["lscpu"], capture_output=True, text=True, check=True).stdout
    about = dict(line.split(":", 1) for line in said.splitlines() if ":" in line)
    cpu, cores = about["Model name"].strip(), about["CPU(s)"].strip()
    kept = {name: version(name) for name in ("locust", "gevent", "httptools", "pyarrow")}
    versions = ", ".join(f"{name} {number}" for name, number in kept.items())
    day = datetime.now(UTC).date()
    return f"{day}, {cpu}, {cores} cores, {platform.system()}, Python {platform.python_version()}, {versions}."


def _tell(what: str) -> None:
    print(what, file=sys.stderr)


if __name__ == "__main__":
    main()
