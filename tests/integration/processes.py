"""Processes that run `loadtest`, forked from one that has imported it: the imports take seconds of processor time."""

from __future__ import annotations

import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import IO, NoReturn, Self

from loadtest.commands.driver import NO_FDS, OPTIONS

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
        "tests.integration.warm",
        # A part of Locust, which itself cannot be imported here, since it patches the process.
        "flask",
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
    from loadtest import commands
    from loadtest.cli import main

    # As from a terminal, even if the tests were started under nohup or in the background of a script.
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(environment)
    os.dup2(stdin.fileno(), 0)
    for number, path in ((1, out), (2, err)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_APPEND), number)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115
    sys.argv = ["loadtest", *arguments]
    for module in (commands.driver, commands.run, commands.search):
        module.Driver = Driver  # type: ignore[attr-defined]
    main()


class Driver:
    """A master or a generator, forked from the command when it begins: a Driver, and the process of one."""

    def __init__(self) -> None:
        self._code: int | None = None
        self.pid = 0
        self.process = self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.pid:
            self.wait()

    def begin(self, arguments: Sequence[str], log: IO[bytes], fds: Mapping[str, Sequence[int]] = NO_FDS) -> None:
        """Fork, and run Locust there."""
        self.pid = os.fork()
        if self.pid == 0:
            named = {option: ",".join(map(str, each)) for option, each in fds.items() if option and each}
            options = [text for pair in named.items() for text in pair]
            given = [fd for each in fds.values() for fd in each]
            _drive(["-m", "loadtest.drive", *OPTIONS, *arguments, *options], log, given)

    def poll(self) -> int | None:
        """Return the exit code, or None while it runs."""
        if self._code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self._code = os.waitstatus_to_exitcode(status) if pid else None
        return self._code

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit code once it has ended. Raises TimeoutExpired."""
        began = time.monotonic()
        while (code := self.poll()) is None:
            if timeout is not None and time.monotonic() - began > timeout:
                raise subprocess.TimeoutExpired("loadtest.drive", timeout)
            time.sleep(0.01)
        return code

    def send_signal(self, number: int) -> None:
        """Send a signal unless it has not begun, or has ended."""
        if self.pid and self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """End it."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)


def _drive(command: Sequence[str], log: IO[bytes], pass_fds: Sequence[int]) -> NoReturn:
    """Run what the command would run, as a new process would have it."""
    code = 1
    try:
        os.setsid()
        os.chdir("/")
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            signal.signal(signal.SIGHUP, signal.SIG_DFL)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for number in (1, 2):
            os.dup2(log.fileno(), number)
        first = 3
        for fd in [*sorted(pass_fds), os.sysconf("SC_OPEN_MAX")]:
            os.closerange(first, fd)
            first = fd + 1
        sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w")  # noqa: SIM115
        module = command.index("-m") + 1
        sys.argv = list(command[module:])
        runpy.run_module(command[module], run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
