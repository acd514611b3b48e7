"""Append-only shards: the rows of a process, on disk while the run goes on, readable after any crash.

A shard is an Arrow stream. A batch that a crash cut off ends it; all batches before it are readable. It is copied to
another machine as it grows: the same bytes at the same offsets.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from io import FileIO
from pathlib import Path
from typing import Any

import pyarrow as pa

from loadtest.errors import RecordingError
from loadtest.record.sample import in_schema

END_OF_STREAM = b"\xff\xff\xff\xff\x00\x00\x00\x00"


class Shard:
    """A file of rows in one schema, opened for appending at the first row."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self.path = path
        self._schema = schema
        self._file: FileIO | None = None
        self._size = 0

    def append(self, columns: Iterable[Sequence[Any]]) -> None:
        """Write rows, given as one sequence per column in the schema's order; all or none.

        Raises RecordingError if the disk is full; rows written before stay readable, and the same rows can be
        written again.
        """
        arrays = [_array(column, field.type) for column, field in zip(columns, self._schema, strict=True)]
        batch = pa.record_batch(arrays, schema=self._schema)
        try:
            if self._file is None:
                self._file = self.path.open("wb", buffering=0)
            if self._size == 0:
                self._put(self._file, self._schema.serialize())
            self._put(self._file, batch.serialize())
        except OSError as error:
            raise RecordingError(f"{self.path}: cannot record: {error.strerror or error}; free some space") from error

    def _put(self, file: FileIO, message: pa.Buffer) -> None:
        rest = memoryview(message)
        try:
            while rest:
                rest = rest[file.write(rest) :]
        except OSError:
            # A full disk takes the beginning of a message: a torn message would hide all that follows it.
            file.truncate(self._size)
            file.seek(self._size)
            raise
        self._size += len(message)

    def close(self) -> None:
        """End the stream; nothing can be appended after it."""
        if self._file is not None:
            with suppress(OSError), self._file:
                self._file.write(END_OF_STREAM)


def _array(column: Sequence[Any], kind: pa.DataType) -> pa.Array:
    first, n = column[0], len(column)
    # Many columns hold one value (outcome) or only nulls, which is found faster than converted.
    if first == column[-1] and column.count(first) == n:
        return pa.nulls(n, kind) if first is None else pa.repeat(pa.scalar(first, kind), n)
    return pa.array(column, kind)


def batches(path: Path, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Yield the whole batches of a shard, in order; a torn end is left out."""
    with path.open("rb") as file:
        try:
            reader = pa.ipc.open_stream(file)
        except pa.ArrowInvalid:
            return
        while True:
            try:
                batch = reader.read_next_batch()
            except (StopIteration, pa.ArrowInvalid, OSError):
                return
            yield in_schema(batch, schema)


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
