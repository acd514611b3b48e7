"""A process that drives or sends: it is started first, since it imports Locust, and hears later what it is to do."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Self

LOCUSTFILE = Path(__file__).parents[1] / "drive" / "locustfile.py"
LOCUST = [sys.executable, "-P", "-m", "loadtest.drive"]
OPTIONS = ["-f", str(LOCUSTFILE), "--loglevel", "WARNING"]
NO_FDS: Mapping[str, Sequence[int]] = {}


class Driver:
    """A process that imports Locust, then waits for `begin`; as a context, it ends there if it has not begun.

    It is in a session of its own, so that Ctrl-C reaches this process alone, which passes it on.
    """

    def __init__(self) -> None:
        self._link, theirs = socket.socketpair()
        with theirs:
            self.process = subprocess.Popen(
                [*LOCUST, "--wait"],
                stdin=theirs.fileno(),
                start_new_session=True,
                cwd=LOCUSTFILE.anchor,  # where no locust.conf is read, and no package shadows one of Python's own
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._link.fileno() >= 0:
            self._link.close()
            self.process.kill()
            self.process.wait()

    def __repr__(self) -> str:
        state = "waits" if self._link.fileno() >= 0 else "has begun"
        return f"<Driver {self.process.pid}: {state}, exit code {self.process.poll()}>"

    def begin(self, arguments: Sequence[str], log: IO[bytes], fds: Mapping[str, Sequence[int]] = NO_FDS) -> None:
        """Let it run Locust with these arguments, its output in `log`.

        It inherits the file descriptors, and has their numbers as the value of the option of this name.
        """
        given = [fd for each in fds.values() for fd in each]
        counts = {option: len(each) for option, each in fds.items()}
        message = json.dumps({"arguments": [*OPTIONS, *arguments], "fds": counts}).encode() + b"\n"
        with self._link:
            try:
                socket.send_fds(self._link, [message], [log.fileno(), *given])
            except OSError:
                return  # it has ended, which its exit code says


def generator_arguments(master: tuple[str, int]) -> list[str]:
    """Return the arguments with which Locust sends for the master at this address."""
    host, port = master
    return ["--worker", "--master-host", host, "--master-port", str(port)]
