"""A text stream that never waits for its reader: output that does not fit now is dropped."""

from __future__ import annotations

import os
import select
from typing import TextIO

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
