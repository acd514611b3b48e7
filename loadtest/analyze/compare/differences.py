"""Differences between runs that may explain different times: scenario, seed, target, versions, processes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from loadtest.protocol.json_values import encode_json
from loadtest.record.run import RunRecord

_EXCLUDED_KEYS = ("seed", "target")
"""Taken from the run's own record instead: a command line may have changed them."""


class Difference(msgspec.Struct, frozen=True):
    """One value that is not the same in all runs, and its text in each; None if a run does not have it."""

    what: str
    values: tuple[str | None, ...]


def differences(runs: Sequence[RunRecord]) -> list[Difference]:
    """Return everything that differs among runs but their times: the scenario's values first, in its order."""
    scenarios = [dict(_leaves(_without(run.scenario))) for run in runs]
    facts = [_facts(run) for run in runs]
    versions = [{f"version of {name}": version for name, version in run.versions.items()} for run in runs]
    return [*_unequal(scenarios), *_unequal(facts), *_unequal(versions)]


def target_of(run: RunRecord) -> str:
    """Return the target of a run; an endpoint that the run itself started has a different port each time."""
    target = run.scenario.get("target")
    if isinstance(target, dict) and "handler" in target:
        return str(target["handler"])
    return "embedded" if target == "embedded" else run.target


def _without(scenario: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in scenario.items() if key not in _EXCLUDED_KEYS}


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield every single value of a scenario under its dotted path, as JSON."""
    if isinstance(value, dict) and value:
        for key, each in value.items():
            yield from _leaves(each, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list) and value:
        for index, each in enumerate(value):
            yield from _leaves(each, f"{path}.{index}")
    else:
        yield path, encode_json(value).decode()


def _facts(run: RunRecord) -> dict[str, str]:
    return {
        "scenario hash": run.scenario_hash,
        "seed": str(run.seed),
        "target": target_of(run),
        "processes": str(len(run.processes)),
        "processes lost": str(len(set(run.lost))),
        "machines": str(len({each.host for each in run.processes})),
        "end": "none on record" if run.ending is None else run.ending.value,
    }


def _unequal(each_run: Sequence[Mapping[str, str]]) -> list[Difference]:
    names = dict.fromkeys(name for one in each_run for name in one)
    found = [Difference(name, tuple(one.get(name) for one in each_run)) for name in names]
    return [each for each in found if len(set(each.values)) > 1]
