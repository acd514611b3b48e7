"""The server that all clients are measured against, on a core of its own."""

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
        """The endpoint's URL."""
        return f"http://127.0.0.1:{self.port}/v2/bench"

    @property
    def tls_url(self) -> str:
        """The same over TLS; `certificate` vouches for it."""
        return f"https://localhost:{self.tls_port}/v2/bench"

    @property
    def certificate(self) -> Path:
        """The certificate, self-signed."""
        return self.directory / "certificate.pem"

    def requests(self) -> int:
        """How many requests it has answered, this one not counted."""
        answer = httpx.get(f"http://127.0.0.1:{self.port}/counts", trust_env=False).raise_for_status()
        counts = re.search(rb"\n (\d+) (\d+) (\d+)", answer.content)
        assert counts is not None
        return int(counts[3]) - 1


@contextmanager
def target(directory: Path) -> Iterator[Target]:
    """A target that answers, until the block ends."""
    nginx = shutil.which("nginx") or "/usr/sbin/nginx"
    served = Target(directory, _free_port(), _free_port())
    wanted = shlex.split("-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost")
    files = ["-keyout", str(directory / "key.pem"), "-out", str(served.certificate)]
    names = ["-addext", "subjectAltName=DNS:localhost"]
    subprocess.run(["openssl", "req", "-x509", *wanted, *names, *files], check=True, capture_output=True)
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
    by = time.monotonic() + 5
    while time.monotonic() < by:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise TimeoutError("nginx does not answer")
