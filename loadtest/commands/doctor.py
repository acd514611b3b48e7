"""`loadtest doctor`: what this machine has for sending load, and remedies for what it lacks."""

from __future__ import annotations

import os
import platform
import shutil
import socket
import sys
import textwrap
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from loadtest.process import LEAST_FILES, UNLIMITED, raise_limit
from loadtest.protocol.addresses import LOOPBACK

PACKAGES = ("loadtest", "locust", "gevent", "numpy", "pandas", "pyarrow", "uvloop", "runpod", "xlsxwriter")
OPTIONAL = {"runpod": "handler", "xlsxwriter": "xlsx"}
"""Packages that only an extra needs."""
PORTS = {5557: "loadtest run --expect-workers", 8000: "loadtest serve", 8089: "Locust's web page"}
PORT_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
ENOUGH_FILES = 4096
ENOUGH_PORTS = 10_000
ENOUGH_BYTES = 10**9
BUSY = 0.5
"""The load per core from which a run is likely to send late."""
LATE_MS = 5.0
"""How late a thread may wake up; a run is invalid if jobs are sent this late."""
WAKE_UPS = 40
WIDTH, INDENT = 80, 19


class State(StrEnum):
    """The state of one thing: good, worth a look, or such that no run is possible."""

    OK = "ok"
    LOOK = "look"
    BAD = "bad"


@dataclass(frozen=True)
class Finding:
    """One line: a thing, its state, its figures, and the remedy if it has one."""

    name: str
    state: State
    found: str
    remedy: str = ""


@dataclass(frozen=True)
class Facts:
    """What was read from the machine. A number is None if this system does not say it."""

    python: tuple[int, int]
    versions: dict[str, str]
    open_files: int
    cores: int
    load_1_min: float
    wake_up_ms: float
    clock_resolution_s: float
    ports: int | None
    taken: tuple[int, ...]
    free_bytes: int | None
    writable: bool


def findings(facts: Facts) -> list[Finding]:
    """Return a line for each fact."""
    return [
        _versions(facts),
        _open_files(facts),
        _cpu(facts),
        _clock(facts),
        _port_range(facts),
        _taken_ports(facts),
        _disk(facts),
    ]


def _versions(facts: Facts) -> Finding:
    python = ".".join(map(str, facts.python))
    needed = [name for name in PACKAGES if name not in facts.versions and name not in OPTIONAL]
    found = ", ".join([f"Python {python}", *(f"{name} {each}" for name, each in facts.versions.items())])
    if needed:
        return Finding("versions", State.BAD, f"{found}; without {', '.join(needed)}", "install loadtest again")
    missing = [f"pip install 'loadtest[{extra}]'" for name, extra in OPTIONAL.items() if name not in facts.versions]
    return Finding(
        "versions", State.OK, found, f"for handlers and workbooks: {', '.join(missing)}" if missing else ""
    )


def _open_files(facts: Facts) -> Finding:
    found = "unlimited" if facts.open_files >= UNLIMITED else f"{facts.open_files:,} per process"
    if facts.open_files >= ENOUGH_FILES:
        return Finding("open files", State.OK, found)
    state = State.BAD if facts.open_files < LEAST_FILES else State.LOOK
    return Finding("open files", state, found, "one for each job in flight; raise it with: ulimit -n 65536")


def _cpu(facts: Facts) -> Finding:
    found = f"{facts.cores} cores, {facts.load_1_min:.1f} busy over the last minute"
    if facts.load_1_min / facts.cores < BUSY:
        return Finding("CPU", State.OK, found)
    return Finding("CPU", State.LOOK, found, "let other work finish, or jobs are sent late and the run is invalid")


def _clock(facts: Facts) -> Finding:
    found = f"wakes up {facts.wake_up_ms:.1f} ms late at the 95th percentile"
    if facts.clock_resolution_s > 1e-3:
        return Finding("clock", State.BAD, f"counts in {facts.clock_resolution_s * 1000:g} ms", "use another machine")
    if facts.wake_up_ms < LATE_MS:
        return Finding("clock", State.OK, found)
    return Finding("clock", State.LOOK, found, "give this machine a core of its own; see: validity.send_lag")


def _port_range(facts: Facts) -> Finding:
    if facts.ports is None:
        return Finding("local ports", State.OK, "not known on this system")
    found = f"{facts.ports:,} for connections to one address"
    if facts.ports >= ENOUGH_PORTS:
        return Finding("local ports", State.OK, found)
    remedy = 'widen them with: sysctl -w net.ipv4.ip_local_port_range="1024 65535"'
    return Finding("local ports", State.LOOK, found, remedy)


def _taken_ports(facts: Facts) -> Finding:
    if not facts.taken:
        return Finding("listening", State.OK, f"ports {', '.join(map(str, PORTS))} are free")
    uses = ", ".join(f"{port} ({PORTS[port]})" for port in facts.taken)
    return Finding("listening", State.LOOK, f"taken: {uses}", "name another port with --bind, --port or --web-port")


def _disk(facts: Facts) -> Finding:
    if not facts.writable:
        return Finding("reports", State.BAD, "cannot be written here", "change the directory, or name one with --out")
    if facts.free_bytes is None or facts.free_bytes >= ENOUGH_BYTES:
        free = "" if facts.free_bytes is None else f", {facts.free_bytes / 1e9:,.0f} GB free"
        return Finding("reports", State.OK, f"can be written here{free}")
    return Finding("reports", State.LOOK, f"{facts.free_bytes / 1e6:,.0f} MB free", "a million jobs take 100 MB")


def read_facts() -> Facts:
    """Read the facts of this machine and directory; it takes a tenth of a second."""
    folder = Path("reports") if Path("reports").is_dir() else Path()
    free_bytes = None
    with suppress(OSError):
        free_bytes = shutil.disk_usage(folder).free
    return Facts(
        python=sys.version_info[:2],
        versions=_installed(),
        open_files=raise_limit(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        load_1_min=os.getloadavg()[0],
        wake_up_ms=_wake_up_ms(),
        clock_resolution_s=time.get_clock_info("time").resolution,
        ports=_local_ports(),
        taken=tuple(port for port in PORTS if _is_taken(port)),
        free_bytes=free_bytes,
        writable=os.access(folder, os.W_OK),
    )


def _installed() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def _wake_up_ms() -> float:
    """Return how late a thread wakes up from a sleep of a millisecond, at the 95th percentile."""
    late_s = []
    for _ in range(WAKE_UPS):
        before_s = time.perf_counter()
        time.sleep(0.001)
        late_s.append(time.perf_counter() - before_s - 0.001)
    return 1000 * sorted(late_s)[round(0.95 * WAKE_UPS) - 1]


def _local_ports() -> int | None:
    try:
        first, last = map(int, PORT_RANGE.read_text().split())
    except (OSError, ValueError):
        return None
    return last - first + 1


def _is_taken(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return True
    return False


def doctor_lines(found: Sequence[Finding]) -> list[str]:
    """Return the lines to print: the state, the name, what was found, and what to do in a line below."""
    lines = [f"{platform.system()} {platform.release()} on {platform.machine()}"]
    for each in found:
        lines += _wrapped(f"{each.state:5} {each.name:12} ", each.found)
        lines += _wrapped("", each.remedy)
    return lines


def _wrapped(start: str, text: str) -> list[str]:
    indent = " " * INDENT
    return textwrap.wrap(
        text, WIDTH, initial_indent=start.ljust(INDENT), subsequent_indent=indent, break_on_hyphens=False
    )
