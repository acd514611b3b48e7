"""The scenarios that come with loadtest are found by name, and load."""

from __future__ import annotations

from pathlib import Path

import pytest

from loadtest.errors import UsageError
from loadtest.scenario.loading.load import load_scenario
from loadtest.scenario.loading.shipped import SMOKE, scenario_file, shipped_scenario, shipped_scenarios

ROOT = Path(__file__).parents[4]


def test_every_scenario_of_the_repository_is_shipped() -> None:
    assert sorted(shipped_scenarios().values()) == sorted((ROOT / "scenarios").glob("*.yaml"))
    assert load_scenario(shipped_scenario(SMOKE)).name == "smoke"


def test_a_name_is_a_shipped_scenario_unless_there_is_such_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert scenario_file(Path("steady")) == shipped_scenario("steady")
    for named in ("steady.yaml", "mine/steady", "nothing"):
        assert scenario_file(Path(named)) == Path(named)
    Path("steady").write_text("")
    assert scenario_file(Path("steady")) == Path("steady")
    with pytest.raises(UsageError, match='"nothing" is not a scenario of loadtest; write one of: breakpoint, burst'):
        shipped_scenario("nothing")
