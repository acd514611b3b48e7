"""Why jobs did not complete: one row per cause, however many ids, numbers and addresses its texts name."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from loadtest.analyze.summary import Cause
from loadtest.record.sample import SAMPLES, ErrorKind, Outcome

MAX_CAUSES = 20
_MAX_KEPT = 1000
"""The most causes that are kept of each piece of the samples: texts that all differ must not fill the memory."""
_MAX_ERROR_LENGTH = 500
_VARYING = (
    r"\[?[0-9a-fA-F]{0,4}(:[0-9a-fA-F]{0,4}){2,7}(%[0-9a-z]+)?\]?(:[0-9]+)?"  # an IPv6 address, or a time of day
    r"|[A-Za-z0-9_+-]{24,}=*"  # an id without digits
    r"|[A-Za-z_+-]*[0-9][A-Za-z0-9_+-]*([.,:][0-9][A-Za-z0-9_+-]*)*"  # a number, an id, an IPv4 address
)
"""The parts of a text that differ from job to job, as a regular expression of RE2."""
_KEYS = ["outcome", "http_status", "pattern"]
_EXAMPLE = ["error", "seq", "job_id"]
_SCHEMA = pa.schema([SAMPLES.field(name) for name in ("outcome", "http_status", *_EXAMPLE)])


def cause_counts(samples: pa.Table) -> pa.Table:
    """Count the jobs of some rows that did not complete by their cause, with the first of each as an example.

    Jobs that completed with an empty output count as well.
    """
    completed = pc.equal(samples.column("outcome"), Outcome.COMPLETED.value)
    empty = pc.fill_null(pc.equal(samples.column("error_kind"), ErrorKind.EMPTY_OUTPUT.value), False)
    failed = samples.filter(pc.or_(pc.invert(completed), empty)).select(_SCHEMA.names).cast(_SCHEMA)
    failed = failed.append_column("pattern", failed.column("error"))
    failed = failed.append_column("jobs", pa.array([1] * len(failed), pa.int64()))
    counts = _summed(failed)
    texts = pc.utf8_slice_codeunits(pc.fill_null(counts.column("error"), ""), 0, _MAX_ERROR_LENGTH)
    patterns = pc.replace_substring_regex(texts, _VARYING, "#")
    patterns = pc.utf8_trim_whitespace(pc.replace_substring_regex(patterns, r"\s+", " "))
    counts = counts.set_column(counts.column_names.index("error"), "error", texts)
    counts = _summed(counts.set_column(counts.column_names.index("pattern"), "pattern", patterns))
    return _most_frequent(counts, _MAX_KEPT)


def causes(counts: Sequence[pa.Table]) -> list[Cause]:
    """Return the most frequent causes, at most 20, the most frequent first, from the counts of all rows."""
    if not counts:
        return []
    found = _most_frequent(_summed(pa.concat_tables(counts)), MAX_CAUSES)
    return [Cause(**{name: row[name] for name in Cause.__struct_fields__}) for row in found.to_pylist()]


def _summed(rows: pa.Table) -> pa.Table:
    """Return one row per cause, with the number of its jobs and the first of them."""
    whole = pc.ScalarAggregateOptions(skip_nulls=False)  # every field of the example is of the same job
    aggregates = [("jobs", "sum"), *((name, "first", whole) for name in _EXAMPLE)]
    summed = rows.group_by(_KEYS, use_threads=False).aggregate(aggregates)
    names = [name if name in _KEYS else name.rpartition("_")[0] for name in summed.column_names]
    result: pa.Table = summed.rename_columns(names)
    return result


def _most_frequent(counts: pa.Table, most: int) -> pa.Table:
    return counts.sort_by([("jobs", "descending"), ("seq", "ascending")]).slice(0, most)
