"""A table too large to be held: its rows come a piece at a time, as they stand in the file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from loadtest.record.sample import SAMPLES


class MissingColumnError(Exception):
    """A table lacks a column; its text says which."""


class RowGroups:
    """Some columns of a Parquet file, row group by row group; `rows` is how many all of them hold.

    Words that come again and again are places in a dictionary of each piece, which costs a tenth of the text.
    """

    def __init__(self, path: Path, schema: pa.Schema, columns: Sequence[str]) -> None:
        require_columns(pq.read_schema(path), schema)
        self._file = pq.ParquetFile(path, read_dictionary=[name for name in columns if name in DICTIONARY_COLUMNS])
        self._schema = pa.schema([_encoded(schema.field(name)) for name in columns])
        self.rows: int = self._file.metadata.num_rows

    def __iter__(self) -> Iterator[pa.Table]:
        for group in range(self._file.num_row_groups):
            yield (
                self._file.read_row_group(group, columns=self._schema.names)
                .select(self._schema.names)
                .cast(self._schema)
            )


DICTIONARY_COLUMNS = tuple(each.name for each in SAMPLES if each.type == pa.string() and each.name != "job_id")
"""The columns of text in which the same words come again; of ids each is another."""


def _encoded(field: pa.Field) -> pa.Field:
    return pa.field(field.name, pa.dictionary(pa.int32(), pa.string())) if field.name in DICTIONARY_COLUMNS else field


def require_columns(found: pa.Schema, schema: pa.Schema) -> None:
    """LackingError where columns of a schema are not among those that were found."""
    lacking = [column for column in schema.names if column not in found.names]
    if lacking:
        raise MissingColumnError(f'lacks the column "{lacking[0]}"')
