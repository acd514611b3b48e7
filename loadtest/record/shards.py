"""Append-only shards: the rows of a process, on disk while the run goes on, readable after any crash.

A shard is an Arrow stream. A batch that a crash cut off ends it; all batches before it are readable. It is copied to
another machine as it grows: the same bytes at the same offsets.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa

from loadtest.errors import recording_error
from loadtest.record.sample import MissingColumnError, in_schema

END_OF_STREAM = b"\xff\xff\xff\xff\x00\x00\x00\x00"


RUN_TOKEN = b"run"
"""The key, in the metadata of a shard's schema, of the token of the run that it belongs to."""


class Shard:
    """A file of rows in one schema; it has its name from the first row on, and never replaces another.

    The file is opened at once, so that rows can be written when the process has no file descriptor left. Raises
    RecordingError if it cannot be opened. `token` is that of the run.
    """

    def __init__(self, path: Path, schema: pa.Schema, token: str = "") -> None:
        self.path = path
        self._schema = schema
        self._head = schema.with_metadata({RUN_TOKEN: token}) if token else schema
        self._unnamed = path.with_name(f".{path.name}")
        self._named = False
        self._size = 0
        try:
            self._file = self._unnamed.open("wb", buffering=0)
        except OSError as error:
            raise recording_error(path, error, "cannot record") from error

    def append(self, columns: Iterable[Sequence[Any]]) -> None:
        """Write rows, given as one sequence per column in the schema's order; all or none.

        Raises RecordingError if the disk is full; rows written before stay readable, and the same rows can be
        written again. Raises one of UNWRITABLE if a value does not fit its column.
        """
        arrays = [_array(column, field.type) for column, field in zip(columns, self._schema, strict=True)]
        batch = pa.record_batch(arrays, schema=self._schema)
        try:
            if self._size == 0:
                self._take_name()
                self._put(self._head.serialize())
            self._put(batch.serialize())
        except OSError as error:
            raise recording_error(self.path, error, "cannot record") from error

    def _take_name(self) -> None:
        if not self._named:
            if self.path.exists():
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
            self._unnamed.rename(self.path)
            self._named = True

    def _put(self, message: pa.Buffer) -> None:
        rest = memoryview(message)
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError:
            # A full disk takes the beginning of a message: a torn message would hide all that follows it.
            self._file.truncate(self._size)
            self._file.seek(self._size)
            raise
        self._size += len(message)

    def close(self) -> None:
        """End the stream, or remove the file if it has no row; nothing can be appended after it."""
        with suppress(OSError), self._file:
            if self._size:
                self._file.write(END_OF_STREAM)
            if not self._named:
                self._unnamed.unlink()


def _array(column: Sequence[Any], kind: pa.DataType) -> pa.Array:
    first, n = column[0], len(column)
    # Many columns hold one value (outcome) or only nulls, which is found faster than converted.
    if first == column[-1] and column.count(first) == n:
        return pa.nulls(n, kind) if first is None else pa.repeat(pa.scalar(first, kind), n)
    return pa.array(column, kind)


UNWRITABLE = (pa.ArrowException, OverflowError, UnicodeError)
"""The exceptions of a value that does not fit its column: a number above int64, half of a surrogate pair."""


def fits(value: object, kind: pa.DataType) -> bool:
    """Return whether a value can be written to a column of this type."""
    try:
        _array([value], kind)
    except UNWRITABLE:
        return False
    return True


def token_of(path: Path) -> str | None:
    """Return the token of the run that a shard belongs to, "" if it names none; None if it holds nothing readable."""
    with path.open("rb") as file:
        try:
            metadata = pa.ipc.open_stream(file).schema.metadata or {}
            return str(metadata.get(RUN_TOKEN, b"").decode())
        except DAMAGE as error:
            _raise_own(error)
            return None


DAMAGE = (pa.ArrowException, OSError, MemoryError, UnicodeError, MissingColumnError)
"""The exceptions of bytes that are not a whole shard; Arrow raises OSError without a number for them."""


def _raise_own(error: Exception) -> None:
    """Raise the error again if it is the system's, and says nothing of the bytes."""
    if isinstance(error, OSError) and error.errno:
        raise error


def batches(path: Path, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Yield the whole batches of a shard, in order; what follows the first that is torn or damaged is left out."""
    return (batch for batch, _ in _batches_and_ends(path, schema) if batch is not None)


def unread_bytes(path: Path, schema: pa.Schema) -> int:
    """Return how many bytes at the end of a shard are not whole batches, after a crash or a fault of the disk."""
    end = 0
    for _, after in _batches_and_ends(path, schema):
        end = after
    return path.stat().st_size - end


def _batches_and_ends(path: Path, schema: pa.Schema) -> Iterator[tuple[pa.RecordBatch | None, int]]:
    """Yield each whole batch, and where it ends in the file; None at the end of the stream."""
    with path.open("rb") as file:
        try:
            reader = pa.ipc.open_stream(file)
            yield None, file.tell()
            for batch in reader:
                batch.validate(full=True)
                yield in_schema(batch, schema), file.tell()
            yield None, file.tell()
        except DAMAGE as error:
            _raise_own(error)


def append_at(path: Path, offset: int, content: bytes) -> int:
    """Append bytes if the file ends at their offset; return its size then."""
    try:
        with path.open("ab") as file:
            if file.tell() == offset:
                file.write(content)
            return file.tell()
    except OSError as error:
        raise recording_error(path, error, "cannot record") from error
