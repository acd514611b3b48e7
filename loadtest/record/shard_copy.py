"""A shard that grows on one machine, grown again on another: the same bytes at the same places."""

from __future__ import annotations

from pathlib import Path

from loadtest.errors import RecordingError


def read_from(path: Path, offset: int, max_bytes: int) -> bytes:
    """What a file holds from an offset on, at most so many bytes; nothing where it is not there yet."""
    try:
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(max_bytes)
    except FileNotFoundError:
        return b""


def append_at(path: Path, offset: int, content: bytes) -> int:
    """Put bytes where they belong, unless they are there already or what comes before is missing; the size then."""
    try:
        with path.open("ab") as file:
            if file.tell() == offset:
                file.write(content)
            return file.tell()
    except OSError as error:
        raise RecordingError(f"{path}: cannot record: {error.strerror or error}; free some space") from error
