"""The commands, called as functions of their arguments."""

from __future__ import annotations

import json
import shutil
from importlib.metadata import version
from pathlib import Path

import pytest
from typer.testing import CliRunner

from loadtest.cli import app
from loadtest.errors import ScenarioError

ROOT = Path(__file__).parents[2]
SMOKE = str(ROOT / "scenarios" / "smoke.yaml")
COMMANDS = (
    "run",
    "init",
    "scenarios",
    "doctor",
    "worker",
    "recover",
    "report",
    "reports",
    "gate",
    "compare",
    "trace",
    "capacity",
    "export",
    "check",
    "schema",
    "serve",
)
runner = CliRunner()


def test_check_shows_what_would_be_sent() -> None:
    result = runner.invoke(app, ["check", SMOKE])
    assert result.exit_code == 0
    assert "target      embedded endpoint" in result.stdout
    assert "484 submissions" in result.stdout
    assert result.stderr == ""


def test_check_accepts_overrides_a_seed_and_a_target() -> None:
    changes = ["--set", "load.stages.0.rate=2/s", "--set", "load.arrivals=constant", "--seed", "9"]
    result = runner.invoke(app, ["check", SMOKE, *changes, "--target", "http://127.0.0.1:9/v2/x"])
    assert result.exit_code == 0
    assert "24 submissions" in result.stdout
    assert "seed        9, schedule" in result.stdout
    assert "target      http://127.0.0.1:9/v2/x" in result.stdout


def test_error_in_a_scenario_is_a_scenario_error() -> None:
    result = runner.invoke(app, ["check", SMOKE, "--set", "load.stages.0.rate=20"])
    assert isinstance(result.exception, ScenarioError)
    assert result.stdout == ""


def test_schema_is_json() -> None:
    result = runner.invoke(app, ["schema"])
    assert result.exit_code == 0
    assert json.loads(result.stdout)["properties"]["load"]


@pytest.mark.parametrize(
    "arguments", [["chekc"], ["check"], ["check", SMOKE, "--sed", "1"], ["serve", "--port", "x"]]
)
def test_unknown_command_or_option_is_bad_usage(arguments: list[str]) -> None:
    assert runner.invoke(app, arguments).exit_code == 2


def test_version_is_that_of_the_package() -> None:
    result = runner.invoke(app, ["--version"])
    assert (result.exit_code, result.stdout) == (0, f"loadtest {version('loadtest')}\n")


@pytest.mark.parametrize("command", COMMANDS)
def test_help_describes_every_command_in_one_whole_sentence(command: str) -> None:
    listed = runner.invoke(app, ["--help"]).stdout
    line = next(line for line in listed.splitlines() if line.strip().startswith(command + " "))
    assert line.endswith(".")
    assert not line.endswith("...")
    assert runner.invoke(app, [command, "--help"]).exit_code == 0


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_is_whole_on_a_terminal_of_80_columns(command: str) -> None:
    shown = runner.invoke(app, [*command.split(), "--help"], env={"COLUMNS": "80"}).stdout
    usage, *lines = shown.splitlines()
    assert len(usage) <= 80
    assert [line for line in lines if len(line) > 80 or line.endswith("...")] == []


def test_scenarios_are_listed_with_their_questions_and_printed() -> None:
    listed = runner.invoke(app, ["scenarios"]).stdout
    assert "smoke       Does the whole chain work, from the schedule to the report?\n" in listed
    assert runner.invoke(app, ["scenarios", "smoke"]).stdout == Path(SMOKE).read_text()
    assert runner.invoke(app, ["check", "smoke"]).stdout == runner.invoke(app, ["check", SMOKE]).stdout


def test_init_writes_what_check_accepts(tmp_path: Path) -> None:
    done = runner.invoke(app, ["init", str(tmp_path), "--target", "embedded", "--ci", "none"], catch_exceptions=False)
    assert done.exit_code == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == [".gitignore", "loadtest.yaml"]
    assert runner.invoke(app, ["check", str(tmp_path / "loadtest.yaml")]).exit_code == 0
    refused = runner.invoke(app, ["init", str(tmp_path), "--target", "embedded", "--ci", "jenkins"])
    assert str(refused.exception) == "--ci jenkins: not known; write one of: github, gitlab, none"


def test_doctor_prints_its_findings() -> None:
    assert "open files" in runner.invoke(app, ["doctor"]).stdout


def test_a_shell_completes_commands() -> None:
    words = {"_LOADTEST_COMPLETE": "complete_bash", "COMP_WORDS": "loadtest sce", "COMP_CWORD": "1"}
    assert runner.invoke(app, [], prog_name="loadtest", env=words).stdout.split() == ["scenarios"]


@pytest.mark.parametrize("option", ["--min-difference", "--floor"])
def test_former_name_of_min_difference_is_accepted_but_not_shown(option: str, tmp_path: Path) -> None:
    runs = [shutil.copytree(ROOT / "tests" / "data" / "recorded" / name, tmp_path / name) for name in ("a", "b")]
    page = tmp_path / "page.html"
    result = runner.invoke(app, ["compare", *map(str, runs), option, "7ms", "--out", str(page)])
    assert result.exit_code == 0
    assert "7.00 ms" in page.read_text()
    assert "--floor" not in runner.invoke(app, ["compare", "--help"]).stdout
