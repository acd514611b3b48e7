"""Requests of each operation over the run's time: how many, how many were answered 429, how near to the limit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from loadtest.analyze.bins import Bins, rounded
from loadtest.analyze.jobs import Floats, Mask, floats
from loadtest.analyze.operations import TOO_MANY_REQUESTS, allowed_in_10_s
from loadtest.protocol import Op
from loadtest.scenario.model import Scenario

_SPAN_S = 10


@dataclass(frozen=True)
class RequestsOverTime:
    """By operation, then by bin.

    `limit_use` leaves out operations without a limit, `throttled` those that met no 429.
    """

    requests: dict[str, list[float]]
    throttled: dict[str, list[float]]
    limit_use: dict[str, list[float]]


def requests_over_time(rows: pa.Table, bins: Bins, scenario: Scenario) -> RequestsOverTime:
    """Requests and 429s per second, and the fullest 10 seconds that end in each bin as a share of what is allowed.

    Rows are in the schema of `requests.parquet`: counts by the whole second of the answer. The fullest 10 seconds
    by the moment of the send, wherever they start, are those of `OperationSummary.most_in_10_s`.
    """
    operations = rows.column("operation").to_numpy()
    second, answered = floats(rows, "second"), floats(rows, "requests")
    refused = floats(rows, "status") == TOO_MANY_REQUESTS
    masks: dict[str, Mask] = {name: operations == name for name in sorted(set(operations))}
    limits = {name: scenario.limit(Op(name)) for name in masks if name in set(Op)}
    return RequestsOverTime(
        requests={name: _per_second(bins, second[mask], answered[mask]) for name, mask in masks.items()},
        throttled={
            name: _per_second(bins, second[mask & refused], answered[mask & refused])
            for name, mask in masks.items()
            if np.any(mask & refused)
        },
        limit_use={
            name: rounded(_most_in_10_s(bins, second[masks[name]], answered[masks[name]]) / allowed_in_10_s(limit))
            for name, limit in limits.items()
            if limit is not None
        },
    )


def _per_second(bins: Bins, second: Floats, answered: Floats) -> list[float]:
    """They are known by whole seconds of the epoch, which one bin's end may divide."""
    before = bins.start_at % 1
    at = np.concatenate([second + before / 2, second + (1 + before) / 2])
    return bins.per_second(at, np.concatenate([answered * before, answered * (1 - before)]))


def _most_in_10_s(bins: Bins, second: Floats, answered: Floats) -> Floats:
    """For each bin the most in any 10 whole seconds of which the last one lies in it."""
    first = int(bins.start_at // 1)
    count = int(np.ceil(bins.start_at + bins.count * bins.width_s)) - first
    place = np.clip(second - first, 0, count - 1).astype(np.int64)
    sums = np.concatenate([np.zeros(_SPAN_S), np.cumsum(np.bincount(place, answered, count))])
    trailing = sums[_SPAN_S:] - sums[:-_SPAN_S]
    most: Floats = np.zeros(bins.count)
    middle_at: Floats = np.arange(count, dtype=np.float64) + (first + 0.5)
    np.maximum.at(most, bins.index(middle_at), trailing)
    return most
