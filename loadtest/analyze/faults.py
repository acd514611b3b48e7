"""What went wrong, grouped by what was said."""

from __future__ import annotations

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from loadtest.record.sample import Outcome

MOST_GROUPS = 20


class FaultGroup(msgspec.Struct, frozen=True):
    """Jobs that ended alike and said the same, and one of them to look at."""

    outcome: str
    http_status: int | None
    error: str
    jobs: int
    seq: int
    job_id: str | None


def fault_groups(samples: pa.Table) -> list[FaultGroup]:
    """The commonest ways in which jobs did not complete, at most 20, the commonest first."""
    failed = samples.filter(pc.not_equal(samples.column("outcome"), Outcome.COMPLETED.value))
    if len(failed) == 0:
        return []
    keys = ["outcome", "http_status", "error"]
    groups = failed.group_by(keys, use_threads=False).aggregate(
        [("seq", "count"), ("seq", "first"), ("job_id", "first")]
    )
    order = [("seq_count", "descending"), ("seq_first", "ascending")]
    return [
        FaultGroup(
            outcome=row["outcome"],
            http_status=row["http_status"],
            error=row["error"] or "",
            jobs=row["seq_count"],
            seq=row["seq_first"],
            job_id=row["job_id_first"],
        )
        for row in groups.sort_by(order).slice(0, MOST_GROUPS).to_pylist()
    ]
