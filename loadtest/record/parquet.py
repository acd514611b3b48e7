"""Tables of a recorded run: read one row group at a time, and in the columns of the present schema."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from loadtest.record.sample import ADDED_COLUMNS, SAMPLES

Rows = TypeVar("Rows", pa.RecordBatch, pa.Table)


class MissingColumnError(Exception):
    """A table without one of its columns; the text names it."""


class RowGroups:
    """Some columns of a Parquet file, row group by row group; `rows` is how many all of them hold.

    Columns of repeated text are dictionary-encoded, which takes a tenth of the memory.
    """

    def __init__(self, path: Path, schema: pa.Schema, columns: Sequence[str]) -> None:
        found = pq.read_schema(path)
        require_columns(found, schema)
        encoded = [name for name in columns if name in DICTIONARY_COLUMNS and name in found.names]
        self._file = pq.ParquetFile(path, read_dictionary=encoded)
        self._schema = pa.schema([_encoded(schema.field(name)) for name in columns])
        self.rows: int = self._file.metadata.num_rows

    def __iter__(self) -> Iterator[pa.Table]:
        for group in range(self._file.num_row_groups):
            yield in_schema(self._file.read_row_group(group, columns=self._schema.names), self._schema)


DICTIONARY_COLUMNS = tuple(field.name for field in SAMPLES if field.type == pa.string() and field.name != "job_id")
"""The text columns whose values repeat; each job id is another."""


def _encoded(field: pa.Field) -> pa.Field:
    return pa.field(field.name, pa.dictionary(pa.int32(), pa.string())) if field.name in DICTIONARY_COLUMNS else field


def require_columns(found: pa.Schema, schema: pa.Schema) -> None:
    """Raise MissingColumnError if a column is missing that runs of every schema have."""
    missing = [name for name in schema.names if name not in (*found.names, *ADDED_COLUMNS)]
    if missing:
        raise MissingColumnError(f'lacks the column "{missing[0]}"')


def in_schema(rows: Rows, schema: pa.Schema) -> Rows:
    """Return a batch or a table in this schema; a column added after the recording is null.

    Raises MissingColumnError if another column is missing.
    """
    require_columns(rows.schema, schema)
    known = rows.schema.names
    columns = [
        rows.column(field.name).cast(field.type) if field.name in known else pa.nulls(rows.num_rows, field.type)
        for field in schema
    ]
    return type(rows).from_arrays(columns, schema=schema)
