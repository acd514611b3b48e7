"""Recorded runs keep their figures: each command finds what the version that recorded them found, apart from texts.

Runs a and b are of `mixed.yaml` with one seed, b against an endpoint whose chunks came more slowly; c is of
`closed.yaml`. They were recorded at 3e6cf29, with the YAML keys of that version in their `run.json`. What `report`
has to find is each `summary.json`, all else is in `expected.json`. An object of JSON may gain keys; a
list or a table may not gain rows. No figure depends on the clock or on the number of cores: simulations draw from
`--seed`. Without figures: pages (HTML), sentences, and versions.
"""

from __future__ import annotations

import json
import math
import re
import shutil
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner

from loadtest.cli import app

ROOT = Path(__file__).parents[2]
RECORDED = ROOT / "tests" / "data" / "recorded"
EXPECTED = json.loads((RECORDED / "expected.json").read_text())
WORDS = ("verdict", "standing", "worker_id")
"""Keys of JSON whose text is a figure: one of a few values, or an identifier."""
VERDICTS = ("pass", "fail", "inconclusive", "invalid", "aborted")
_NUMBER = r"[+−-]?\$?\d[\d.,]*(?: ?(?:ms|s|min|h|%|/s|×))?"
FIGURE = re.compile(rf"–|{_NUMBER}(?: to {_NUMBER})?")

GATES = {
    "gate a": ["gate", "a", "--gate", "delay p90 < 400ms of run", "--gate", "submit p50 < 20ms"],
    "gate b against a": ["gate", "b", "--baseline", "a"],
    "gate a against b": ["gate", "a", "--baseline", "b", "--tolerance", "10 %"],
    "gate c": ["gate", "c"],
}
CAPACITY = {
    "plan": ["a", "--rate", "1/s", "--slo", "delay p95 < 2s", "--workers", "0 to 1",
             "--scaler", "request count 1", "--idle-timeout", "2s", "--max-workers", "1"],
    "prediction": ["a", "--check", "b", "--workers", "2 to 9", "--scaler", "request count 2", "--idle-timeout", "1s"],
}  # fmt: skip


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("a", "b", "c"):
        shutil.copytree(RECORDED / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", ["a", "b", "c"])
def test_report_finds_the_figures_of_the_summary(runs: Path, name: str) -> None:
    summary = runs / name / "summary.json"
    recorded = figures(json.loads(summary.read_text()))
    summary.unlink()
    assert command("report", name)[0] == 0
    assert differences(recorded, figures(json.loads(summary.read_text()))) == []


@pytest.mark.parametrize("name", GATES)
def test_gate_finds_the_recorded_verdicts(runs: Path, name: str) -> None:
    assert differences(EXPECTED["gate"][name], gate_figures(GATES[name])) == []


def test_compare_finds_the_recorded_ratios(runs: Path) -> None:
    assert differences(EXPECTED["compare"], compare_figures()) == []


@pytest.mark.parametrize("name", CAPACITY)
def test_capacity_finds_the_recorded_figures(runs: Path, name: str) -> None:
    assert differences(EXPECTED["capacity"][name], capacity_figures(CAPACITY[name])) == []


@pytest.mark.parametrize("path", EXPECTED["schedules"])
def test_a_scenario_has_the_recorded_schedule(path: str) -> None:
    assert schedule(path) == EXPECTED["schedules"][path]


def test_a_figure_that_differs_is_named() -> None:
    then = {"n": 3, "times": [1.0, None], "verdict": "pass"}
    assert differences(then, {"n": 3, "times": [1.0 + 1e-12, None], "verdict": "pass", "new": 1}) == []
    assert differences(then, {"n": 4, "times": [1.001, 0.0]}) == [
        ".n: 3, now 4", ".times.0: 1.0, now 1.001", ".times.1: None, now 0.0", ".verdict: missing",
    ]  # fmt: skip
    assert differences([1], [1, 2]) == [": 1 entries, now 2"]
    assert differences(True, 1) == [": True, now 1"]


def command(*arguments: str) -> tuple[int, str]:
    """Run a command in this process; its exit code and what it printed."""
    environment = {"COLUMNS": "200", "GITHUB_STEP_SUMMARY": None}
    result = CliRunner().invoke(app, arguments, env=environment, catch_exceptions=False)
    return result.exit_code, result.stdout


def gate_figures(arguments: list[str]) -> dict[str, Any]:
    """Return the exit code, kinds and counts of the JUnit cases, and the figures of the Markdown tables."""
    code, _ = command(*arguments, "--junit", "junit.xml", "--markdown", "summary.md")
    root = ElementTree.parse("junit.xml").getroot()
    counts = ("tests", "failures", "errors", "skipped", "time")
    return {
        "exit": code,
        "suites": [{key: float(each.attrib[key]) for key in counts if key in each.attrib} for each in root.iter()
                   if each.tag in ("testsuites", "testsuite")],
        "cases": [[each.tag for each in case] for case in root.iter("testcase")],
        "tables": rows(Path("summary.md").read_text(), r"\s*\|\s*"),
    }  # fmt: skip


def compare_figures() -> dict[str, Any]:
    """Return the exit code and the figures of the printed table, without its column of verdicts."""
    code, printed = command("compare", "a", "b", "--out", "page.html")
    return {"exit": code, "table": rows(printed.replace("  inconclusive", ""), r"\s{2,}")}


def capacity_figures(arguments: list[str]) -> dict[str, Any]:
    """Return the exit code and the figures of the file that `loadtest capacity` writes."""
    code, _ = command("capacity", *arguments, "--out", "capacity.json")
    return {"exit": code, "found": figures(json.loads(Path("capacity.json").read_text()))}


def schedule(path: str) -> str | None:
    """Return the fingerprint of a scenario's schedule, twelve hexadecimal digits; None in the closed model."""
    code, printed = command("check", str(ROOT / path))
    assert code == 0, printed
    found = re.search(r"\b[0-9a-f]{12}\b", printed)
    return found and found[0]


def rows(text: str, separator: str) -> list[list[str]]:
    """Return the figures and verdicts in the cells of a printed table, row by row, without rows of text alone."""
    cells = (re.split(separator, line.strip().strip("|").strip()) for line in text.splitlines())
    found = ([cell for cell in row if cell in VERDICTS or FIGURE.fullmatch(cell)] for row in cells)
    return [row for row in found if row]


def figures(value: Any, key: str = "") -> Any:
    """Return the numbers, truth values and words of a JSON value, without its other texts."""
    if isinstance(value, dict):
        return {name: figures(each, name) for name, each in value.items() if not is_text(each, name)}
    if isinstance(value, list):
        return [figures(each, key) for each in value if not is_text(each, key)]
    return value


def is_text(value: Any, key: str) -> bool:
    return isinstance(value, str) and key not in WORDS


def differences(then: Any, now: Any, path: str = "") -> list[str]:
    """Return each figure of `then` that `now` does not have, with its path; numbers agree to a billionth."""
    if isinstance(then, dict) and isinstance(now, dict):
        missing = [f"{path}.{key}: missing" for key in then if key not in now]
        both = [differences(then[key], now[key], f"{path}.{key}") for key in then if key in now]
        return [*(each for found in both for each in found), *missing]
    if isinstance(then, list) and isinstance(now, list):
        if len(then) != len(now):
            return [f"{path}: {len(then)} entries, now {len(now)}"]
        pairs = enumerate(zip(then, now, strict=True))
        return [each for index, (one, other) in pairs for each in differences(one, other, f"{path}.{index}")]
    return [] if same(then, now) else [f"{path}: {then!r}, now {now!r}"]


def same(then: Any, now: Any) -> bool:
    if isinstance(then, bool) or isinstance(now, bool):
        return then is now
    if isinstance(then, int | float) and isinstance(now, int | float):
        return math.isclose(then, now, rel_tol=1e-9)
    return bool(then == now)
