"""How each client is told to post to /runsync over 64 connections, on one core, for as long as it is let."""

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
LONGER_S = 60
UNLIMITED = "20000 per 100 ms"


@dataclass(frozen=True)
class Client:
    """A command, and what it needs in its environment."""

    name: str
    command: list[str]
    env: dict[str, str] = field(default_factory=dict)


def ours(url: str, directory: Path, certificate: Path, load: object = None, **more: object) -> Client:
    """This harness, through its Locust users, with every job recorded; a closed load unless told otherwise."""
    closed = {"model": "closed", "stages": [{"users": USERS, "for": f"{LONGER_S}s"}]}
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
    """Locust's FastHttpUser, which verifies no certificate."""
    users = ["-u", str(USERS), "-r", str(USERS), "--host", url]
    return Client("FastHttpUser", [*LOCUST, "-f", str(HERE / "fast_http_user.py"), *users])


def k6(url: str, rate_per_s: int = 0, for_s: int = LONGER_S) -> Client:
    """k6, closed, or open at a constant rate."""
    env = {"URL": url, "RATE": str(rate_per_s), "FOR": f"{for_s}s", "GOMAXPROCS": "1"}
    return Client("k6", [_found("k6"), "run", "--quiet", "--no-usage-report", str(HERE / "k6.js")], env)


def wrk(url: str, directory: Path) -> Client:
    """wrk, in C: about as fast as a client can be."""
    script = directory / "wrk.lua"
    script.write_text(f"wrk.method = 'POST'; wrk.body = '{BODY}'; wrk.headers['Content-Type'] = 'application/json'")
    wanted = ["-t1", f"-c{USERS}", f"-d{LONGER_S}", "-s", str(script)]
    return Client("wrk", [_found("wrk"), *wanted, f"{url}/runsync"])


def hey(url: str) -> Client:
    """hey, in Go."""
    wanted = ["-cpus", "1", "-z", f"{LONGER_S}s", "-c", str(USERS), "-m", "POST", "-T", "application/json"]
    return Client("hey", [_found("hey"), *wanted, "-d", BODY, f"{url}/runsync"], {"GOMAXPROCS": "1"})


def _found(program: str) -> str:
    """Where a program is: beside this Python, or anywhere on the path; empty where it is not."""
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))
    return shutil.which(program, path=path) or ""
