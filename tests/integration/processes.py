"""Processes that run `loadtest`, forked from one that has imported it: the imports take seconds of processor time."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(
    [
        "loadtest.cli",
        "loadtest.commands.capacity",
        "loadtest.commands.compare",
        "loadtest.commands.gate",
        "loadtest.commands.results",
        "loadtest.commands.run",
        "loadtest.commands.search",
        "loadtest.serve.server",
        "tests.integration.processes",
    ]
)


class LoadtestProcess:
    """A call of `loadtest`, with methods like those of subprocess.Popen; its output goes to two files in a folder."""

    def __init__(self, folder: Path, environment: Mapping[str, str], *arguments: str) -> None:
        self._output = folder / "stdout", folder / "stderr"
        for path in self._output:
            path.touch()
        stdin, self._stdin = _FORKS.Pipe(duplex=False)
        self._process = _FORKS.Process(target=_main, args=(stdin, *self._output, dict(environment), arguments))
        self._process.start()
        stdin.close()
        assert self._process.pid is not None
        self.pid = self._process.pid

    @property
    def stdout(self) -> str:
        """Return what it has written to standard output so far."""
        return self._output[0].read_text()

    @property
    def stderr(self) -> str:
        """Return what it has written to standard error so far."""
        return self._output[1].read_text()

    def poll(self) -> int | None:
        """Return the exit code, or None while it runs."""
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit code once it has ended. Raises TimeoutExpired."""
        self._process.join(timeout)
        code = self.poll()
        if code is None:
            raise subprocess.TimeoutExpired("loadtest", timeout or 0.0, self.stdout, self.stderr)
        return code

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal unless it has ended."""
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def close_stdin(self) -> None:
        """End its standard input."""
        self._stdin.close()

    def end(self, number: signal.Signals, within_s: float) -> None:
        """Send a signal, wait for the end, and kill it if it takes longer."""
        self.send_signal(number)
        self._process.join(within_s)
        self.send_signal(signal.SIGKILL)
        self._process.join()
        self._stdin.close()


def _main(stdin: Connection, out: Path, err: Path, environment: dict[str, str], arguments: tuple[str, ...]) -> None:
    from loadtest.cli import main

    os.environ.clear()
    os.environ.update(environment)
    os.dup2(stdin.fileno(), 0)
    for number, path in ((1, out), (2, err)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_APPEND), number)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115
    sys.argv = ["loadtest", *arguments]
    main()
