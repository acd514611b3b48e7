"""A scenario's file → Scenario: read, overridden, validated; every fault is one line that names its place."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from loadtest.endpoint.settings import EndpointSettings
from loadtest.errors import ScenarioError
from loadtest.scenario.document import Document, parsed
from loadtest.scenario.faults import Fault, faults
from loadtest.scenario.limits import impossible
from loadtest.scenario.model import Scenario
from loadtest.scenario.overrides import Override, overridden, parse_override, spelled
from loadtest.scenario.recorded import read_json_lines, read_measured, read_text, read_trace
from loadtest.units import Frozen, shown

Model = TypeVar("Model", bound=Frozen)


def load_scenario(
    path: Path, overrides: Sequence[str] = (), seed: int | None = None, target: str | None = None
) -> Scenario:
    """The scenario of a file, with `--set`, `--seed` and `--target` put in; files that it names are read into it.

    A target given here replaces the file's whole target, so that its key never goes to another host.
    ScenarioError is one line: file, line or override, path, fault and mend; also for what can never be sent.
    """
    document = _document(path)
    changes = [parse_override(text) for text in overrides]
    if seed is not None:
        changes.append(Override(f"--seed {seed}", ("seed",), seed))
    if target is not None:
        changes.append(Override(f"--target {target}", ("target",), target))
    data = {"name": _name(path), **document.data}
    for change in changes:
        data = overridden(data, change)
    scenario = _validated(Scenario, data, document, changes, path)
    for fault in impossible(scenario):
        raise ScenarioError(_line(fault, document, changes, path))
    return scenario


def load_settings(path: Path | None, changes: Sequence[Override] = ()) -> EndpointSettings:
    """An endpoint's settings, from a file that holds what a scenario has under `endpoint`, with changes put in.

    Without a file they are the default ones. ScenarioError as for a scenario.
    """
    document = parsed("{}", "") if path is None else _document(path)
    data = document.data
    for change in changes:
        data = overridden(data, change)
    return _validated(EndpointSettings, data, document, changes, path or Path())


def _document(path: Path) -> Document:
    document = parsed(read_text(path), str(path))
    if not isinstance(document.data, dict):
        raise ScenarioError(f'{path}: holds {shown(document.data)}, not a mapping; write it like "load: ..."')
    return document


def _beside(path: Path, name: str) -> Path:
    found = path.parent / name
    if not found.is_file():
        raise ValueError(f'there is no file "{name}" in {path.parent}; a file is named from the scenario\'s folder')
    return found


def _name(path: Path) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", path.stem).lstrip("._-") or "scenario"


def _validated(
    model: type[Model], data: dict[str, Any], document: Document, changes: Sequence[Override], path: Path
) -> Model:
    readers = {
        "times": lambda name: read_trace(_beside(path, name)),
        "values": lambda name: read_measured(_beside(path, name)),
        "lines": lambda name: read_json_lines(_beside(path, name)),
        "source": lambda name: read_text(_beside(path, name)),
        "handler": lambda name: _beside(path, name).resolve(),
    }
    try:
        return model.model_validate(data, context=readers)
    except ValidationError as error:
        found = faults(error, model, data)
    first = min(found, key=lambda fault: (_override(fault, document, changes) is not None, document.line(fault.path)))
    raise ScenarioError(_line(first, document, changes, path))


def _override(fault: Fault, document: Document, changes: Sequence[Override]) -> Override | None:
    """The last override that the fault is about: at it, inside it, in what it made, or in a rule that spans it."""
    for change in reversed(changes):
        inside = fault.path[: len(change.path)] == change.path
        spans = change.path[: len(fault.path)] == fault.path and (
            fault.kind == "rule" or not document.has(fault.path)
        )
        if inside or spans:
            return change
    return None


def _line(fault: Fault, document: Document, changes: Sequence[Override], path: Path) -> str:
    change = _override(fault, document, changes)
    place = f"{path}:{document.line(fault.path)}" if change is None else change.label
    about = "" if change is not None and fault.about == change.path else spelled(fault.about)
    return " ".join(": ".join(part for part in (place, about, fault.text) if part).splitlines())
