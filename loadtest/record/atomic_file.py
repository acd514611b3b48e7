"""Files that are written whole or not at all, even if the process is killed or the disk is full."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from loadtest.errors import recording_error
from loadtest.protocol.json_values import encode_json

RESERVE_BYTES = 16 * 1024


@contextmanager
def atomic_replace(path: Path) -> Iterator[Path]:
    """Yield a file to write, which then replaces `path`. Raises RecordingError if it cannot be written."""
    partial = path.with_name(f".{path.name}.part")
    try:
        yield partial
        partial.replace(path)
    except OSError as error:
        with suppress(OSError):
            partial.unlink()
        raise recording_error(path, error) from error


def write_atomic(path: Path, content: bytes) -> None:
    """Replace a file, whole or not at all. Raises RecordingError if the disk is full."""
    with atomic_replace(path) as partial:
        partial.write_bytes(content)


def reserve_space(reserve: Path, content: bytes = b"") -> None:
    """Reserve disk space for content that grows a little until the end: remove `reserve`, then write it.

    Raises RecordingError if there is not enough space.
    """
    write_atomic(reserve, bytes(2 * len(content) + RESERVE_BYTES))


def readable_json(value: object) -> bytes:
    """Return a value as JSON for people: indented, one key per line."""
    return msgspec.json.format(encode_json(value), indent=2)
