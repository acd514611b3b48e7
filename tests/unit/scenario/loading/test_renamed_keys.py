"""Keys of release 0.1 still load, each with one warning that names its place and its present name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from loadtest.errors import ScenarioError
from loadtest.scenario.loading.load import load_scenario, load_settings
from loadtest.scenario.renamed_keys import RENAMED, with_new_keys
from loadtest.serve.server import ServeOptions, endpoint_settings

OPEN = {"load": {"stages": [{"rate": "20/s", "for": "15s"}]}}
CLOSED = {"load": {"model": "closed", "stages": [{"users": 2, "for": "15s"}]}}
SEARCH = OPEN | {"gates": ["delay p95 < 2s"], "search": {"max_rate": "30/s"}}
VALUES: dict[str, Any] = {
    "patience": "30s",
    "load.most_in_flight": 5,
    "load.think_spread": "exponential",
    "flows.*.polling.at_most": "3s",
    "search.at_most": "40/s",
    "search.empty_within": "10s",
    "validity.wave": "10 %",
    "validity.little": "10 %",
    "endpoint.lacks": ["status-sync"],
    "endpoint.payloads.refused_with": 413,
    "endpoint.policy.overdue": "FAILED",
    "endpoint.revival.takes": "1s",
    "endpoint.take_pause.blocked": True,
    "endpoint.take_pause.lasts": "1s",
    "endpoint.webhooks.anywhere": True,
    "endpoint.webhooks.apart": "1s",
}
"""A value for every old key, other than its default."""


def path_of(old: str) -> tuple[str, ...]:
    return tuple(old.replace("*", "run").split("."))


def scenario_with(path: tuple[str, ...], value: Any) -> dict[str, Any]:
    base = CLOSED if path[-1].startswith("think") else SEARCH if path[0] == "search" else OPEN
    data: dict[str, Any] = json.loads(json.dumps(base))
    if path[-1] == "at_most":
        data.get("search", {}).pop("max_rate", None)
    inner = data
    for part in path[:-1]:
        inner = inner.setdefault(part, {})
    inner[path[-1]] = value
    return data


def written(folder: Path, data: dict[str, Any]) -> Path:
    path = folder / "x.yaml"
    path.write_text(json.dumps(data, indent=1))
    return path


def line_of(path: Path, key: str) -> int:
    return next(number for number, line in enumerate(path.read_text().splitlines(), 1) if f'"{key}":' in line)


def test_there_is_a_value_for_every_renamed_key() -> None:
    assert VALUES.keys() == RENAMED.keys()


@pytest.mark.parametrize("old", RENAMED)
def test_an_old_key_loads_as_its_new_one_with_a_warning_that_names_its_line(tmp_path: Path, old: str) -> None:
    path, new, warnings = path_of(old), RENAMED[old], list[str]()
    file = written(tmp_path, scenario_with(path, VALUES[old]))
    loaded = load_scenario(file, warn=warnings.append)
    assert warnings == [
        f'{file}:{line_of(file, path[-1])}: "{path[-1]}" is now called "{new}"; '
        "the next release will refuse the old name"
    ]
    assert loaded == load_scenario(written(tmp_path, scenario_with((*path[:-1], new), VALUES[old])))
    assert loaded != load_scenario(
        written(tmp_path, CLOSED if "think" in old else SEARCH if "search" in old else OPEN)
    )


@pytest.mark.parametrize("old", RENAMED)
def test_an_old_key_can_be_set_on_the_command_line_with_a_warning(tmp_path: Path, old: str) -> None:
    path, new, warnings = path_of(old), RENAMED[old], list[str]()
    base = CLOSED if "think" in old else SEARCH if path[0] == "search" else OPEN
    option = f"{'.'.join(path)}={json.dumps(VALUES[old])}"
    loaded = load_scenario(written(tmp_path, base), [option], warn=warnings.append)
    [warning] = warnings
    assert warning.startswith(f'--set {option}: "{path[-1]}" is now called "{new}"; ')
    assert loaded == load_scenario(tmp_path / "x.yaml", [f"{'.'.join((*path[:-1], new))}={json.dumps(VALUES[old])}"])


@pytest.mark.parametrize("old", RENAMED)
def test_an_old_key_next_to_its_new_one_is_refused_with_its_line(tmp_path: Path, old: str) -> None:
    path, new = path_of(old), RENAMED[old]
    data = scenario_with(path, VALUES[old])
    inner = data
    for part in path[:-1]:
        inner = inner[part]
    inner[new] = VALUES[old]
    file = written(tmp_path, data)
    with pytest.raises(ScenarioError) as refused:
        load_scenario(file)
    assert str(refused.value).startswith(f"{file}:{line_of(file, path[-1])}: ")
    assert f'"{path[-1]}" is the old name of "{new}", which is given too; keep one of them' in str(refused.value)


@pytest.mark.parametrize("old", [old for old in RENAMED if old.startswith("endpoint.")])
def test_the_config_file_of_serve_may_have_old_keys(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], old: str
) -> None:
    path = path_of(old)
    data = scenario_with(path, VALUES[old])["endpoint"]
    file = written(tmp_path, data)
    settings = endpoint_settings(ServeOptions(config=file))
    warning = f'warning: {file}:{line_of(file, path[-1])}: "{path[-1]}" is now called "{RENAMED[old]}"; '
    assert capfd.readouterr().err.startswith(warning)
    new = scenario_with((*path[:-1], RENAMED[old]), VALUES[old])["endpoint"]
    assert settings == load_settings(written(tmp_path, new))


def test_recorded_data_with_new_keys_stays_as_it_is() -> None:
    data = scenario_with(("job_timeout",), "30s")
    assert with_new_keys(data) == data
