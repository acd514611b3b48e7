"""Standard output and standard error that never end a command: its exit code is that of its result."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any


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
