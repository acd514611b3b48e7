"""The server that all clients send to, on a core of its own."""

from __future__ import annotations

import re
import shlex
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

CORE = "0"
CONF = Path(__file__).with_name("nginx.conf")


@dataclass(frozen=True)
class Target:
    """An nginx with fixed bodies."""

    directory: Path
    port: int
    tls_port: int

    @property
    def url(self) -> str:
        """Return the endpoint's URL."""
        return f"http://127.0.0.1:{self.port}/v2/bench"

    @property
    def tls_url(self) -> str:
        """Return the endpoint's URL over TLS, with `certificate`."""
        return f"https://localhost:{self.tls_port}/v2/bench"

    @property
    def certificate(self) -> Path:
        """Return the path of the self-signed certificate."""
        return self.directory / "certificate.pem"

    def requests(self) -> int:
        """Return how many requests it has answered, without this one."""
        response = httpx.get(f"http://127.0.0.1:{self.port}/counts", trust_env=False).raise_for_status()
        counts = re.search(rb"\n (\d+) (\d+) (\d+)", response.content)
        assert counts is not None
        return int(counts[3]) - 1


@contextmanager
def target(directory: Path) -> Iterator[Target]:
    """Run nginx until the block ends."""
    nginx = shutil.which("nginx") or "/usr/sbin/nginx"
    served = Target(directory, _free_port(), _free_port())
    options = shlex.split("-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost")
    files = ["-keyout", str(directory / "key.pem"), "-out", str(served.certificate)]
    names = ["-addext", "subjectAltName=DNS:localhost"]
    subprocess.run(["openssl", "req", "-x509", *options, *names, *files], check=True, capture_output=True)
    conf = CONF.read_text()
    for name, value in {"dir": directory, "port": served.port, "tls_port": served.tls_port}.items():
        conf = conf.replace(f"@{name}@", str(value))
    (directory / "nginx.conf").write_text(conf)
    directory.chmod(0o755)
    server = subprocess.Popen(["taskset", "-c", CORE, nginx, "-p", str(directory), "-c", "nginx.conf"])
    try:
        _wait_for(served.port)
        yield served
    finally:
        server.terminate()
        server.wait(10)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise TimeoutError("nginx does not answer")
