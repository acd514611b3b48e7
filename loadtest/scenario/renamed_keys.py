"""Scenario keys of release 0.1, accepted for one more release and in recorded runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

RENAMED = {
    "patience": "job_timeout",
    "load.most_in_flight": "max_in_flight",
    "load.think_spread": "think_distribution",
    "flows.*.polling.at_most": "max_interval",
    "search.at_most": "max_rate",
    "search.empty_within": "empty_timeout",
    "validity.wave": "cold_start_wave",
    "validity.little": "littles_law",
    "endpoint.lacks": "unsupported_operations",
    "endpoint.payloads.refused_with": "too_large_status",
    "endpoint.policy.overdue": "timeout_outcome",
    "endpoint.revival.takes": "duration",
    "endpoint.take_pause.blocked": "blocking_handler",
    "endpoint.take_pause.lasts": "duration",
    "endpoint.webhooks.anywhere": "allow_remote",
    "endpoint.webhooks.apart": "retry_interval",
}


def new_key(path: Sequence[str | int]) -> str | None:
    """Return the present name of the key at a path of the scenario; None if it was not renamed."""
    parts = [str(part) for part in path]
    if parts[:1] == ["flows"] and len(parts) > 1:
        parts[1] = "*"
    return RENAMED.get(".".join(parts))


def with_new_keys(data: Any, path: tuple[str | int, ...] = ()) -> Any:
    """Return a copy of a scenario's data in which every renamed key has its present name."""
    if not isinstance(data, dict):
        return data
    return {new_key((*path, key)) or key: with_new_keys(value, (*path, key)) for key, value in data.items()}
