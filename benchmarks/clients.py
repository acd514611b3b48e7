"""The command of each client: post to /runsync over 64 connections on one core, until it is stopped."""

from __future__ import annotations

import json
import os
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent
LOCUSTFILE = HERE.parent / "loadtest" / "drive" / "locustfile.py"
LOCUST = [sys.executable, "-m", "locust", "--headless", "--only-summary", "--loglevel", "ERROR"]
BODY = '{"input":{"prompt":"hello"}}'
USERS = 64
MAX_DURATION_S = 60
UNLIMITED = "20000 per 100 ms"


@dataclass(frozen=True)
class Client:
    """A command, and the variables that it needs in its environment."""

    name: str
    command: list[str]
    env: dict[str, str] = field(default_factory=dict)


def loadtest(url: str, directory: Path, certificate: Path, load: object = None, **more: object) -> Client:
    """Return loadtest with its Locust users and every job recorded; the load is closed by default."""
    closed = {"model": "closed", "stages": [{"users": USERS, "for": f"{MAX_DURATION_S}s"}]}
    scenario = {
        "name": "bench",
        "target": url,
        "load": load or closed,
        "flows": {"runsync": {"input": {"prompt": "hello"}}},
        "limits": dict.fromkeys(("run", "runsync"), UNLIMITED),
        "drain": {"within": "5s", "cancel_within": "1s"},
        **more,
    }
    (directory / "scenario.yaml").write_text(json.dumps(scenario))
    files = ["--scenario", str(directory / "scenario.yaml"), "--out", str(directory / "run")]
    return Client("loadtest", [*LOCUST, "-f", str(LOCUSTFILE), *files], {"SSL_CERT_FILE": str(certificate)})


def fast_http_user(url: str) -> Client:
    """Return Locust's FastHttpUser, which verifies no certificate."""
    users = ["-u", str(USERS), "-r", str(USERS), "--host", url]
    return Client("FastHttpUser", [*LOCUST, "-f", str(HERE / "fast_http_user.py"), *users])


def k6(url: str, rate_per_s: int = 0, for_s: int = MAX_DURATION_S) -> Client:
    """Return k6, closed, or open at a constant rate."""
    env = {"URL": url, "RATE": str(rate_per_s), "FOR": f"{for_s}s", "GOMAXPROCS": "1"}
    return Client("k6", [_path_of("k6"), "run", "--quiet", "--no-usage-report", str(HERE / "k6.js")], env)


def wrk(url: str, directory: Path) -> Client:
    """Return wrk, in C: about as fast as a client can be."""
    script = directory / "wrk.lua"
    script.write_text(f"wrk.method = 'POST'; wrk.body = '{BODY}'; wrk.headers['Content-Type'] = 'application/json'")
    options = ["-t1", f"-c{USERS}", f"-d{MAX_DURATION_S}", "-s", str(script)]
    return Client("wrk", [_path_of("wrk"), *options, f"{url}/runsync"])


def hey(url: str) -> Client:
    """Return hey, in Go."""
    options = ["-cpus", "1", "-z", f"{MAX_DURATION_S}s", "-c", str(USERS), "-m", "POST", "-T", "application/json"]
    return Client("hey", [_path_of("hey"), *options, "-d", BODY, f"{url}/runsync"], {"GOMAXPROCS": "1"})


def _path_of(program: str) -> str:
    """Return the path of a program, next to this Python or on the search path; empty if it is not installed."""
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))
    return shutil.which(program, path=path) or ""
