"""`--set load.stages.0.rate=20/s`: one value of a scenario, replaced on the command line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from loadtest.errors import ScenarioError
from loadtest.scenario.loading.yaml_document import Path, parse_yaml
from loadtest.units import quoted


@dataclass(frozen=True)
class Override:
    """A value and its path; `label` is how the user wrote it, for messages."""

    label: str
    path: Path
    value: Any


def parse_override(text: str) -> Override:
    """Parse KEY=VALUE, where KEY is a dotted path and VALUE reads as YAML; ScenarioError for any other text."""
    label = f"--set {' '.join(text.split())}"
    key, equals, value = text.partition("=")
    parts = key.strip().split(".")
    if not equals or not all(parts):
        raise ScenarioError(f'{label}: not KEY=VALUE; write it like "--set load.stages.0.rate=20/s"')
    path = tuple(int(part) if part.isascii() and part.isdigit() else part for part in parts)
    return Override(label, path, parse_yaml(value, label).data if value.strip() else None)


def apply_override(data: Any, override: Override, depth: int = 0) -> Any:
    """Return a copy of the data with the override applied; missing mappings on the way are created.

    Raises ScenarioError if the path leads through a value that is neither a mapping nor a list, or past a list's end.
    """
    if depth == len(override.path):
        return override.value
    part, parent = override.path[depth], format_path(override.path[:depth]) or "the scenario"
    if data is None:
        data = {}
    if isinstance(data, list):
        if not isinstance(part, int) or part >= len(data):
            raise ScenarioError(
                f'{override.label}: {parent} is a list of {len(data)}; "{part}" is not an index in it'
            )
        return [*data[:part], apply_override(data[part], override, depth + 1), *data[part + 1 :]]
    if not isinstance(data, dict):
        raise ScenarioError(f"{override.label}: {parent} is {quoted(data)}, which has no keys; set {parent} itself")
    key = str(part)
    return {**data, key: apply_override(data.get(key), override, depth + 1)}


def format_path(path: Path) -> str:
    """Return a path as messages write it: load.stages[0].rate."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".")
