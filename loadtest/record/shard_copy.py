"""Copying a shard that grows to another machine: the same bytes at the same offsets."""

from __future__ import annotations

from pathlib import Path

from loadtest.errors import RecordingError


def read_from(path: Path, offset: int, max_bytes: int) -> bytes:
    """Return at most `max_bytes` of a file from an offset on; empty if the file does not exist yet."""
    try:
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(max_bytes)
    except FileNotFoundError:
        return b""


def append_at(path: Path, offset: int, content: bytes) -> int:
    """Append bytes if the file ends at their offset; return its size then."""
    try:
        with path.open("ab") as file:
            if file.tell() == offset:
                file.write(content)
            return file.tell()
    except OSError as error:
        raise RecordingError(f"{path}: cannot record: {error.strerror or error}; free some space") from error
