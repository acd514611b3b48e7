"""What a process has of its system: its open files, and streams that neither stop nor end it."""

from __future__ import annotations

import atexit
import io
import os
import resource
import select
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn, TextIO

from loadtest.errors import ExitCode, UsageError

SIGNAL_EXIT_CODES = {
    signal.SIGINT: ExitCode.SIGINT,
    signal.SIGTERM: ExitCode.SIGTERM,
    signal.SIGHUP: ExitCode.SIGTERM,
    signal.SIGQUIT: ExitCode.SIGTERM,
}
"""The signals that end a run, and its exit code then."""


def ending_signals() -> list[signal.Signals]:
    """Return the signals that end a run; SIGHUP is not one if the process was started to ignore it, as by `nohup`.

    A shell lets jobs in the background ignore SIGINT and SIGQUIT: only who means the run sends it those.
    """
    hang_up = signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN
    return [number for number in SIGNAL_EXIT_CODES if number is not signal.SIGHUP or hang_up]


def exit_at_signals() -> None:
    """End at once at a signal, with the exit code of a run.

    For a process that has nothing to clean up yet: an exception could be lost in an import meanwhile.
    """

    def end(number: int, _frame: object) -> None:
        os._exit(SIGNAL_EXIT_CODES[signal.Signals(number)])

    for number in ending_signals():
        signal.signal(number, end)


def leave(code: int) -> NoReturn:
    """End this process with an exit code, after what it registered for its end; its output is flushed by then."""
    atexit._run_exitfuncs()
    os._exit(code)


def ignore_signals() -> None:
    """Let no signal end this process before it has returned the exit code of what it has done."""
    for number in SIGNAL_EXIT_CODES:
        signal.signal(number, signal.SIG_IGN)


LEAST_FILES = 32
"""The open files without which not even libraries can be loaded, or pipes to a child process be opened."""
OWN_FILES = 64
"""The open files of a process that are not connections to the endpoint: libraries, shards, links to the others."""
UNLIMITED = 2**31


def raise_limit() -> int:
    """Raise the limit of open files of this process and its children as far as the system allows; return it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # macOS has a lower limit than it reports
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return UNLIMITED if soft == resource.RLIM_INFINITY else soft


def refuse_too_few_files() -> None:
    """Raise the limit of open files of this process. Raises UsageError if it stays below LEAST_FILES."""
    limit = raise_limit()
    if limit < LEAST_FILES:
        raise UsageError(
            f"the limit of open files is {limit}, and {LEAST_FILES} are needed; raise it with: ulimit -n 1024"
        )


def too_few(connections: int, limit: int) -> str:
    """Return why a process may lack open files for this many connections at once; empty if it has enough."""
    needed = connections + OWN_FILES
    if needed <= limit:
        return ""
    return (
        f"{connections:,} connections at once would need {needed:,} open files, the limit is {limit:,}; "
        f"raise it with: ulimit -n {needed}"
    )


def open_page(page: Path) -> None:
    """Show a page in the user's browser, or say that there is none."""
    import webbrowser

    if not webbrowser.open(page.resolve().as_uri()):
        tell(f"note: no browser was found; open {page} yourself")


def refuse_taken(option: str, host: str, port: int) -> None:
    """Raise UsageError, which names the option, if this machine cannot listen on an address."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        shown = f"[{host}]" if ":" in host else host
        raise UsageError(
            f"{option}: cannot listen on {shown}:{port}: {error.strerror}; name another address or port"
        ) from None


PIPE_BYTES = 4096
"""A pipe or terminal that is writable takes this many bytes at once."""


class DroppingStream:
    """A stream to a terminal, pipe or file whose reader may be stopped or gone: `write` returns at once."""

    def __init__(self, stream: TextIO) -> None:
        self._file = stream.fileno()
        self.encoding = stream.encoding

    def write(self, text: str) -> int:
        """Write the text, or as much of it as fits; return its length."""
        write_what_fits(self._file, text.encode(self.encoding, "replace"))
        return len(text)

    def flush(self) -> None:
        """Return at once, since nothing is held back."""

    def fileno(self) -> int:
        """Return the file descriptor."""
        return self._file

    def isatty(self) -> bool:
        """Return whether it is a terminal."""
        return os.isatty(self._file)


def write_what_fits(file: int, content: bytes) -> None:
    """Write the bytes that fit without waiting, in pieces of PIPE_BYTES; a reader that is gone takes none."""
    try:
        for start in range(0, len(content), PIPE_BYTES):
            if not select.select([], [file], [], 0)[1]:
                return
            os.write(file, content[start : start + PIPE_BYTES])
    except OSError:
        return


def tell(text: str) -> None:
    """Write a line on standard error, or drop it if its reader has stopped."""
    try:
        stream: TextIO | DroppingStream = DroppingStream(sys.stderr)
    except io.UnsupportedOperation:  # a stream in memory always takes it
        stream = sys.stderr
    stream.write(f"{text}\n")


class ForgivingStream:
    """A standard stream whose reader may have gone, or whose disk may be full: `error` is the first failed write.

    What it cannot write, or has no character for, is dropped or replaced.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.error: OSError | None = None
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")

    def write(self, text: str) -> int:
        """Write a text, or drop it; return its length."""
        if self.error is None:
            try:
                self._stream.write(text)
            except OSError as error:
                self._give_up(error)
        return len(text)

    def flush(self) -> None:
        """Write the buffer, or drop it."""
        if self.error is None:
            try:
                self._stream.flush()
            except OSError as error:
                self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        self.error = error
        # What is still buffered is written when the process ends, which must not fail again.
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, self._stream.fileno())
        os.close(null)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def forgive() -> tuple[ForgivingStream, ForgivingStream]:
    """Replace standard output and standard error, also if they are closed; return both."""
    # The descriptor of a closed stream would be that of the next file or pipe, which children could not inherit.
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)
    null = Path(os.devnull)
    out = ForgivingStream(sys.stdout or null.open("w"))
    err = ForgivingStream(sys.stderr or null.open("w"))
    sys.stdout, sys.stderr = out, err
    return out, err
