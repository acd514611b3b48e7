"""Errors of jobs, grouped by outcome, status and text."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from loadtest.record.sample import SAMPLES, Outcome

MAX_GROUPS = 20
_KEYS = ["outcome", "http_status", "error"]
_SCHEMA = pa.schema([SAMPLES.field(name) for name in (*_KEYS, "seq", "job_id")])


class ErrorGroup(msgspec.Struct, frozen=True):
    """Jobs with the same outcome, status and error text, and one of them as an example."""

    outcome: str
    http_status: int | None
    error: str
    jobs: int
    seq: int
    job_id: str | None


def error_counts(samples: pa.Table) -> pa.Table:
    """Count the jobs of some rows that did not complete by outcome, status and error, with the first of each."""
    failed = samples.select([*_KEYS, "seq", "job_id"])
    failed = failed.filter(pc.not_equal(failed.column("outcome"), Outcome.COMPLETED.value)).cast(_SCHEMA)
    aggregates = [("seq", "count"), ("seq", "first"), ("job_id", "first")]
    counts: pa.Table = failed.group_by(_KEYS, use_threads=False).aggregate(aggregates)
    return counts


def error_groups(counts: Sequence[pa.Table]) -> list[ErrorGroup]:
    """Return the most frequent errors, at most 20, the most frequent first, from the counts of all rows."""
    if not counts:
        return []
    aggregates = [("seq_count", "sum"), ("seq_first", "first"), ("job_id_first", "first")]
    groups = pa.concat_tables(counts).group_by(_KEYS, use_threads=False).aggregate(aggregates)
    groups = groups.rename_columns(
        [name.rpartition("_")[0] if name not in _KEYS else name for name in groups.column_names]
    )
    order = [("seq_count", "descending"), ("seq_first", "ascending")]
    return [
        ErrorGroup(
            outcome=row["outcome"],
            http_status=row["http_status"],
            error=row["error"] or "",
            jobs=row["seq_count"],
            seq=row["seq_first"],
            job_id=row["job_id_first"],
        )
        for row in groups.sort_by(order).slice(0, MAX_GROUPS).to_pylist()
    ]
