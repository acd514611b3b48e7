"""The rows of a large table in pieces, so that memory stays flat: from shards, and from a Parquet file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from loadtest.record.sample import SAMPLES, in_schema, require_columns
from loadtest.record.shards import batches

ROW_GROUP = 128 * 1024
DICTIONARY_COLUMNS = tuple(field.name for field in SAMPLES if field.type == pa.string() and field.name != "job_id")
"""The text columns whose values repeat; each job id is another."""


def row_groups(schema: pa.Schema, shards: list[Path]) -> Iterator[pa.Table]:
    """Yield the rows of all shards in tables of about ROW_GROUP rows."""
    pending: list[pa.RecordBatch] = []
    for shard in shards:
        for batch in batches(shard, schema):
            pending.append(batch)
            if sum(part.num_rows for part in pending) >= ROW_GROUP:
                yield pa.Table.from_batches(pending, schema)
                pending = []
    if pending:
        yield pa.Table.from_batches(pending, schema)


class RowGroups:
    """Some columns of a Parquet file, row group by row group; `rows` is how many all of them hold.

    Columns of repeated text are dictionary-encoded, which takes a tenth of the memory.
    """

    def __init__(self, path: Path, schema: pa.Schema, columns: Sequence[str]) -> None:
        found = pq.read_schema(path)
        self._schema = pa.schema([_encoded(schema.field(name)) for name in columns])
        require_columns(found, self._schema)
        encoded = [name for name in columns if name in DICTIONARY_COLUMNS and name in found.names]
        self._file = pq.ParquetFile(path, read_dictionary=encoded)
        self.rows: int = self._file.metadata.num_rows

    def __iter__(self) -> Iterator[pa.Table]:
        for group in range(self._file.num_row_groups):
            yield in_schema(self._file.read_row_group(group, columns=self._schema.names), self._schema)


def _encoded(field: pa.Field) -> pa.Field:
    return pa.field(field.name, pa.dictionary(pa.int32(), pa.string())) if field.name in DICTIONARY_COLUMNS else field
