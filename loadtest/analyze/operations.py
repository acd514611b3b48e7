"""The requests of each operation, and its limit."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from loadtest.analyze.jobs import floats
from loadtest.analyze.stats.bins import Bins, rounded
from loadtest.analyze.summary import OperationSummary
from loadtest.arrays import Floats, Mask
from loadtest.protocol.operations import TOO_MANY_REQUESTS, Limit, Op
from loadtest.scenario.model import Scenario

_SPAN_S = 10


def operation_summaries(
    requests: pa.Table, scenario: Scenario, peak_requests: Mapping[str, int], completed: int = 0
) -> dict[str, OperationSummary]:
    """Return each operation's figures, from rows in the schema of `requests.parquet`.

    `peak_requests` holds the fullest 10 seconds over all processes together. Without it, the counts of the processes
    are summed: exact for one process, an upper bound for several. `completed` is the number of completed jobs of the
    run.
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
    """Return the most requests that any 10 seconds can hold if no `per_s` seconds hold more than the limit."""
    return limit.requests * ceil(10 / limit.per_s)


def requests_over_time(rows: pa.Table, bins: Bins, scenario: Scenario) -> dict[str, dict[str, list[float]]]:
    """Return by operation, then by bin: `requests` and `throttled` (429s) per second, and `limit_use`.

    That is the fullest 10 seconds that end in the bin as a share of the limit, for operations with one. Rows are in
    the schema of `requests.parquet`: counts by the whole second of the response. The fullest 10 seconds by the time
    of the send, wherever they start, are those of `OperationSummary.most_in_10_s`.
    """
    operations = rows.column("operation").to_numpy()
    second, answered = floats(rows, "second"), floats(rows, "requests")
    refused = floats(rows, "status") == TOO_MANY_REQUESTS
    masks: dict[str, Mask] = {name: operations == name for name in sorted(set(operations))}
    limits = {name: scenario.limit(Op(name)) for name in masks if name in set(Op)}
    return {
        "requests": {name: _per_second(bins, second[mask], answered[mask]) for name, mask in masks.items()},
        "throttled": {
            name: _per_second(bins, second[mask & refused], answered[mask & refused])
            for name, mask in masks.items()
            if np.any(mask & refused)
        },
        "limit_use": {
            name: rounded(_most_in_10_s(bins, second[masks[name]], answered[masks[name]]) / allowed_in_10_s(limit))
            for name, limit in limits.items()
            if limit is not None
        },
    }


def _per_second(bins: Bins, second: Floats, answered: Floats) -> list[float]:
    """Return rates per bin; requests are known by whole seconds of the epoch, which the end of a bin may divide."""
    before = bins.start_at % 1
    at = np.concatenate([second + before / 2, second + (1 + before) / 2])
    return bins.per_second(at, np.concatenate([answered * before, answered * (1 - before)]))


def _most_in_10_s(bins: Bins, second: Floats, answered: Floats) -> Floats:
    """Return for each bin the most requests in any 10 whole seconds that end in it."""
    first = int(bins.start_at // 1)
    count = int(np.ceil(bins.start_at + bins.count * bins.width_s)) - first
    index = np.clip(second - first, 0, count - 1).astype(np.int64)
    sums = np.concatenate([np.zeros(_SPAN_S), np.cumsum(np.bincount(index, answered, count))])
    trailing = sums[_SPAN_S:] - sums[:-_SPAN_S]
    most: Floats = np.zeros(bins.count)
    middle_at: Floats = np.arange(count, dtype=np.float64) + (first + 0.5)
    np.maximum.at(most, bins.index(middle_at), trailing)
    return most
