"""The commands, called as functions of their arguments."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from loadtest.cli import app
from loadtest.errors import ScenarioError

SMOKE = str(Path(__file__).parents[2] / "scenarios" / "smoke.yaml")
runner = CliRunner()


def test_check_tells_what_would_be_sent() -> None:
    result = runner.invoke(app, ["check", SMOKE])
    assert result.exit_code == 0
    assert "target      embedded endpoint" in result.stdout
    assert "484 submissions" in result.stdout
    assert result.stderr == ""


def test_check_takes_overrides_a_seed_and_a_target() -> None:
    changes = ["--set", "load.stages.0.rate=2/s", "--set", "load.arrivals=constant", "--seed", "9"]
    result = runner.invoke(app, ["check", SMOKE, *changes, "--target", "http://127.0.0.1:9/v2/x"])
    assert result.exit_code == 0
    assert "24 submissions" in result.stdout
    assert "seed        9, schedule" in result.stdout
    assert "target      http://127.0.0.1:9/v2/x" in result.stdout


def test_a_fault_in_a_scenario_is_an_error_of_the_family() -> None:
    result = runner.invoke(app, ["check", SMOKE, "--set", "load.stages.0.rate=20"])
    assert isinstance(result.exception, ScenarioError)
    assert result.stdout == ""


def test_the_schema_is_json() -> None:
    result = runner.invoke(app, ["schema"])
    assert result.exit_code == 0
    assert json.loads(result.stdout)["properties"]["load"]


@pytest.mark.parametrize(
    "arguments", [["chekc"], ["check"], ["check", SMOKE, "--sed", "1"], ["serve", "--port", "x"]]
)
def test_what_the_command_line_does_not_know_is_bad_usage(arguments: list[str]) -> None:
    assert runner.invoke(app, arguments).exit_code == 2


@pytest.mark.parametrize("command", ["capacity", "check", "compare", "gate", "schema", "serve"])
def test_every_command_says_what_it_does_in_one_sentence(command: str) -> None:
    listed = runner.invoke(app, ["--help"]).stdout
    line = next(line for line in listed.splitlines() if line.strip().startswith(command + " "))
    assert line.endswith(".")
    assert not line.endswith("...")
    assert runner.invoke(app, [command, "--help"]).exit_code == 0
