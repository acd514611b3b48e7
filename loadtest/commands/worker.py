"""`loadtest worker`: a process that sends for a run, which may be on another machine and may be started later."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path
from typing import Any, NoReturn

from loadtest.commands.driver import LOCUST, OPTIONS, generator_arguments
from loadtest.commands.run import MASTER_PORT
from loadtest.errors import RunAborted, UsageError
from loadtest.process import tell
from loadtest.protocol.addresses import split_address, url_host

RUN_TIMEOUT_S = 300.0
"""How long a run is waited for."""
ANSWER_TIMEOUT_S, RETRY_S = 1.0, 0.25


def run_worker(master: str, keep: Path | None) -> NoReturn:
    """Become a process that sends for the master at `HOST[:PORT]`, and keeps what it records in `keep`.

    Raises UsageError if the host is not found, or nothing can be kept there, RunAborted if no run listens in time.
    """
    host, port = split_address(master, MASTER_PORT, "--master")
    if keep is not None:
        try:
            keep.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"--keep {keep}: cannot be made: {error.strerror}; name another directory") from None
    command = [*LOCUST, *OPTIONS, *generator_arguments((_address_of_run(host, port), port))]
    command += [] if keep is None else ["--keep", str(keep.resolve())]
    os.execv(command[0], command)


def _address_of_run(host: str, port: int) -> str:
    """Wait until a run listens on this host; return the one of its addresses that answers.

    Locust tries the first address alone, and says nothing while it waits.
    """
    by, noted = time.monotonic() + RUN_TIMEOUT_S, False
    while time.monotonic() < by:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            raise UsageError(f"--master: {host} is not found; name the machine of `loadtest run`") from None
        for family, _, _, _, address in found:
            if answers(family, address):
                return socket.getnameinfo(address, socket.NI_NUMERICHOST | socket.NI_NUMERICSERV)[0]
        if not noted:
            tell(f"waiting up to {RUN_TIMEOUT_S:g} s for a run at {url_host(host)}:{port}")
            noted = True
        time.sleep(RETRY_S)
    raise RunAborted(
        f"--master: no run listens at {url_host(host)}:{port}; start `loadtest run --expect-workers` there"
    )


def answers(family: int, address: Any) -> bool:
    """Return whether a server accepts connections at an address."""
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.settimeout(ANSWER_TIMEOUT_S)
        return probe.connect_ex(address) == 0
