"""What was asked of each operation, beside what the scenario allowed."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil

import pyarrow as pa
import pyarrow.compute as pc

from loadtest.analyze.summary import OperationSummary
from loadtest.protocol import Limit, Op
from loadtest.scenario.model import Scenario

TOO_MANY_REQUESTS = 429


def operation_summaries(
    requests: pa.Table, scenario: Scenario, peak_requests: Mapping[str, int], completed: int = 0
) -> dict[str, OperationSummary]:
    """Each operation's figures, from rows in the schema of `requests.parquet`.

    Where several processes sent, `fullest` holds the fullest 10 seconds of all of them together. Where it does
    not, what each process counted is summed: for one the count itself, for several an upper bound.
    `completed` are the jobs of the run that did, over which requests are set.
    """
    operations = sorted(pc.unique(requests.column("operation")).to_pylist())
    rows = {name: requests.filter(pc.equal(requests.column("operation"), name)) for name in operations}
    return {name: _operation(rows[name], name, scenario, peak_requests.get(name), completed) for name in operations}


def _operation(
    rows: pa.Table, name: str, scenario: Scenario, peak_requests: int | None, completed: int
) -> OperationSummary:
    counted = rows.group_by("process").aggregate([("most_in_10_s", "max")]).column("most_in_10_s_max")
    limit = scenario.limit(Op(name)) if name in set(Op) else None
    requests = _total(rows.column("requests"))
    return OperationSummary(
        requests=requests,
        most_in_10_s=_total(counted) if peak_requests is None else peak_requests,
        limit=None if limit is None else allowed_in_10_s(limit),
        throttled=_total(rows.filter(pc.equal(rows.column("status"), TOO_MANY_REQUESTS)).column("requests")),
        per_completed_job=requests / completed if completed else None,
    )


def _total(column: pa.ChunkedArray) -> int:
    return int(pc.sum(column).as_py() or 0)


def allowed_in_10_s(limit: Limit) -> int:
    """The most requests that 10 seconds can hold, wherever they start, without any `per_s` holding too many."""
    return limit.requests * ceil(10 / limit.per_s)
