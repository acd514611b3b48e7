"""Append-only shards: what a process recorded, on disk while the run goes, readable after any death.

A shard is an Arrow stream. A batch that was cut off by a crash ends it; all batches before stand.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from loadtest.errors import RecordingError


class Shard:
    """A file of rows under one schema, open for appending; opened at the first row."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self.path = path
        self._schema = schema
        self._file: Any = None
        self._stream: Any = None

    def append(self, batch: pa.RecordBatch) -> None:
        """Write rows and hand them to the system.

        Raises RecordingError where the disk refuses; what was written before stays readable.
        """
        try:
            if self._stream is None:
                self._file = self.path.open("wb")
                self._stream = pa.ipc.new_stream(self._file, self._schema)
            self._stream.write_batch(batch)
            self._file.flush()
        except OSError as fault:
            raise RecordingError(f"{self.path}: cannot record: {fault.strerror or fault}; free some space") from fault

    def close(self) -> None:
        """End the stream; nothing can be appended after."""
        if self._stream is not None:
            self._stream.close()
            self._file.close()
            self._stream = None


def batch_of(columns: Iterable[Sequence[Any]], schema: pa.Schema) -> pa.RecordBatch:
    """Rows, given as one sequence a column in the schema's order."""
    arrays = [_array(column, field.type) for column, field in zip(columns, schema, strict=True)]
    return pa.record_batch(arrays, schema=schema)


def _array(column: Sequence[Any], kind: pa.DataType) -> pa.Array:
    # Whole columns often hold nothing (chunks where nothing streams), which is known faster than converted.
    if column[0] is None and column.count(None) == len(column):
        return pa.nulls(len(column), kind)
    return pa.array(column, kind)


def batches(path: Path, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """The whole batches of a shard, in order; a torn end is left out."""
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
            yield batch.cast(schema)
