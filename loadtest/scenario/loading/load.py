"""The loading of a scenario's file: read, overridden, validated; every error is one line that names its place."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from loadtest.endpoint.settings import EndpointSettings
from loadtest.errors import ScenarioError, url_without_secrets
from loadtest.process import tell
from loadtest.scenario.flows import TASK_FLOWS
from loadtest.scenario.loading.errors import URL_KEYS, Issue, issues
from loadtest.scenario.loading.feasibility import doubtful_inputs, find_issues
from loadtest.scenario.loading.files import read_field, read_text
from loadtest.scenario.loading.yaml_document import Document, parse_yaml, rename_keys
from loadtest.scenario.loading.yaml_document import Path as KeyPath
from loadtest.scenario.model import Scenario
from loadtest.scenario.renamed_keys import new_key, with_new_keys
from loadtest.traffic.settings import ClosedLoad, Locustfile
from loadtest.units import StrictModel, quoted

Model = TypeVar("Model", bound=StrictModel)


@dataclass(frozen=True)
class Override:
    """A value given on the command line, and its path; `label` is how the user wrote it, for messages."""

    label: str
    path: KeyPath
    value: Any


def _print_warning(text: str) -> None:
    tell(f"warning: {text}")


def load_scenario(
    path: Path,
    overrides: Sequence[str] = (),
    seed: int | None = None,
    target: str | None = None,
    warn: Callable[[str], None] = _print_warning,
) -> Scenario:
    """Return the scenario of a file, with `--set`, `--seed` and `--target` applied and its files read in.

    A target given here replaces the file's whole target, so that its key never goes to another host.
    `warn` gets one line for each key of an earlier release, with its present name, and for inputs that look doubtful.
    Raises ScenarioError, one line with file, line or override, path, error and fix; also if it can never be sent.
    """
    document = _document(path, (), warn)
    changes = _changes(overrides, seed, target, warn)
    scenario = _scenario(document.data, document, changes, path, warn)
    if isinstance(scenario.load, ClosedLoad) and scenario.load.locustfile is not None:
        raise ScenarioError(
            f"{path}: load.locustfile: Locust writes it; leave it out, and start the run with: "
            f"locust -f FILE --scenario {path}"
        )
    return scenario


@dataclass(frozen=True)
class TaskLoad:
    """The load of a locustfile's users: stages in place of the scenario's if there are any, `label` as given."""

    locustfile: Locustfile
    label: str = ""
    stages: Sequence[dict[str, Any]] = ()


def load_task_scenario(
    path: Path | None,
    load: TaskLoad,
    overrides: Sequence[str] = (),
    seed: int | None = None,
    target: str | None = None,
    key_variable: str | None = None,
    warn: Callable[[str], None] = _print_warning,
) -> Scenario:
    """Return the scenario of a run whose users run a locustfile's tasks, of a file or of the options alone.

    Its flows are those that tasks can use, with the file's settings. Raises ScenarioError as for any scenario, and if
    the file's load is open and no stages replace it.
    """
    document = parse_yaml("{}", "") if path is None else _document(path, (), warn)
    place = path or Path(load.locustfile.name)
    changes = _changes(overrides, seed, target, warn)
    if key_variable is not None:
        at = ("target",) if target is not None else ("target", "key_variable")
        value: Any = key_variable if target is None else {"url": target, "key_variable": key_variable}
        changes.append(Override(f"--key-variable {key_variable}", at, value))
    found = document.data.get("load")
    if load.stages:
        changes.insert(0, Override(load.label, ("load",), {"model": "closed", "stages": list(load.stages)}))
    elif not isinstance(found, dict) or found.get("model") != "closed":
        what = "no load is given" if found is None else f"the load of {place} is open, and tasks have no arrivals"
        raise ScenarioError(f"--run-time: {what}; write --users 10 --run-time 5m, or load: {{model: closed, …}}")
    changes.append(Override("the locustfile", ("load", "locustfile"), load.locustfile.model_dump()))
    data = _with_task_flows(document.data, target or document.data.get("target", "embedded"))
    return _scenario(data, document, changes, place, warn)


def _with_task_flows(data: dict[str, Any], target: object) -> dict[str, Any]:
    """Return a scenario's keys with every flow that a task can use, unless the embedded endpoint does not have it."""
    written, endpoint = data.get("flows", {}), data.get("endpoint")
    if not isinstance(written, dict):
        return data
    streams = isinstance(endpoint, dict) and bool(endpoint.keys() & {"chunks", "llm"})
    names = [name for name in TASK_FLOWS if name != "stream" or streams or target != "embedded"]
    return {**data, "flows": {**{name: {} for name in names}, **written}}


def _changes(
    overrides: Sequence[str], seed: int | None, target: str | None, warn: Callable[[str], None]
) -> list[Override]:
    changes = [_with_new_key(parse_override(text), warn) for text in overrides]
    if seed is not None:
        changes.append(Override(f"--seed {seed}", ("seed",), seed))
    if target is not None:
        changes.append(Override(f"--target {url_without_secrets(target)}", ("target",), target))
    return changes


def _scenario(
    data: dict[str, Any],
    document: Document,
    changes: Sequence[Override],
    path: Path,
    warn: Callable[[str], None],
) -> Scenario:
    scenario = _validated(Scenario, {"name": _name(path), **data}, document, changes, path)
    for issue in find_issues(scenario):
        raise ScenarioError(_line(issue, document, changes, path))
    for issue in doubtful_inputs(scenario):
        warn(_line(issue, document, changes, path))
    return scenario


def load_settings(
    path: Path | None, changes: Sequence[Override] = (), warn: Callable[[str], None] = _print_warning
) -> EndpointSettings:
    """Return an endpoint's settings, from a file with the keys of a scenario's `endpoint`, with changes applied.

    Without a file they are the defaults. Raises ScenarioError as for a scenario.
    """
    document = parse_yaml("{}", "") if path is None else _document(path, ("endpoint",), warn)
    return _validated(EndpointSettings, document.data, document, changes, path or Path())


def parse_override(text: str) -> Override:
    """Parse KEY=VALUE, where KEY is a dotted path and VALUE reads as YAML; ScenarioError for any other text."""
    key, equals, value = text.partition("=")
    shown = f"{key}={url_without_secrets(value)}" if equals and URL_KEYS & set(key.split(".")) else text
    label = f"--set {' '.join(shown.split())}"
    parts = key.strip().split(".")
    if not equals or not all(parts):
        raise ScenarioError(f'{label}: not KEY=VALUE; write it like "--set load.stages.0.rate=20/s"')
    path = tuple(int(part) if part.isascii() and part.isdigit() else part for part in parts)
    if path[0] == "target" and len(path) > 1 and path[-1] not in ("url", "handler"):
        label = f"--set {key.strip()}=…"  # the value may be a key
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


def format_path(path: KeyPath) -> str:
    """Return a path as messages write it: load.stages[0].rate."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".")


def _document(path: Path, within: tuple[str, ...], warn: Callable[[str], None]) -> Document:
    document = parse_yaml(read_text(path), str(path))
    if not isinstance(document.data, dict):
        raise ScenarioError(f'{path}: holds {quoted(document.data)}, not a mapping; write it like "load: ..."')
    for line, old, new, given_twice in rename_keys(document.node, document.data, new_key, within):
        if given_twice:
            raise ScenarioError(
                f'{path}:{line}: "{old}" is the old name of "{new}", which is given too; keep one of them'
            )
        warn(f'{path}:{line}: "{old}" is now called "{new}"; the next release will refuse the old name')
    return document


def _with_new_key(change: Override, warn: Callable[[str], None]) -> Override:
    """Return the override with every renamed key on its path under its present name."""
    path = tuple(new_key(change.path[: index + 1]) or part for index, part in enumerate(change.path))
    for old, new in zip(change.path, path, strict=True):
        if old != new:
            warn(f'{change.label}: "{old}" is now called "{new}"; the next release will refuse the old name')
    return replace(change, path=path, value=with_new_keys(change.value, change.path))


def _name(path: Path) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", path.stem).lstrip("._-") or "scenario"


def _validated(
    model: type[Model], data: dict[str, Any], document: Document, changes: Sequence[Override], path: Path
) -> Model:
    for change in changes:
        data = apply_override(data, change)
    try:
        return model.model_validate(data, context=partial(read_field, path.parent))
    except ValidationError as error:
        found = issues(error, model, data)
    first = min(
        found, key=lambda issue: (_override(issue, document, changes) is not None, document.find(issue.path)[0])
    )
    raise ScenarioError(_line(first, document, changes, path))


def _override(issue: Issue, document: Document, changes: Sequence[Override]) -> Override | None:
    """Return the last override that the issue is about: at it, inside it, in its result, or in a rule across it."""
    for change in reversed(changes):
        inside = issue.path[: len(change.path)] == change.path
        spans = change.path[: len(issue.path)] == issue.path and (
            issue.kind == "rule" or not document.find(issue.path)[1]
        )
        if inside or spans:
            return change
    return None


def _line(issue: Issue, document: Document, changes: Sequence[Override], path: Path) -> str:
    change = _override(issue, document, changes)
    place = f"{path}:{document.find(issue.path)[0]}" if change is None else change.label
    about = "" if change is not None and issue.subject == change.path else format_path(issue.subject)
    return " ".join(": ".join(part for part in (place, about, issue.text) if part).splitlines())
