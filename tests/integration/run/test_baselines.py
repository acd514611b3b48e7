"""A release is held against the one before it: the scenario is the same, the endpoint is another."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.integration.run.conftest import WITHIN_S, Finished, Started

pytestmark = pytest.mark.alone

SLOWER = 1.5
"""Beyond the tolerance below by more than a busy machine makes of it."""
SCENARIO = {
    "name": "release",
    "load": {"stages": [{"rate": "40/s", "for": "12s"}]},
    "flows": {"runsync": {"input": {"prompt": "hello"}}},
    "drain": {"within": "5s"},
    "validity": {"send_lag": "1s", "cpu": "100 %"},
}
Gate = Callable[..., subprocess.CompletedProcess[str]]


def endpoint(median_ms: float) -> dict[str, Any]:
    """An endpoint on which some jobs wait, so that its delay is more than the machine's own."""
    return {"workers": {"active": 8, "max": 8}, "service": {"median": f"{median_ms}ms", "sigma": 0.3}}


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Started]:
    """`begun(name, *arguments)`: a run of the scenario under that name, which goes on."""
    folder = tmp_path_factory.mktemp("releases")
    scenario = folder / "release.yaml"
    scenario.write_text(json.dumps(SCENARIO))

    def begin(name: str, *arguments: str) -> Started:
        command = [sys.executable, "-m", "loadtest", "run", str(scenario), "--out", str(folder / name), *arguments]
        return Started(command, folder / name, {})

    return begin


def to_its_end(run: Started) -> Finished:
    finished = run.finish()
    assert finished.status == 0, finished.stdout + finished.stderr
    return finished


@pytest.fixture(scope="module")
def releases(begun: Callable[..., Started], serve_module: Callable[..., Any]) -> dict[str, Finished]:
    """A run of each release, by name; they go on at once, so that what the machine does befalls all of them."""
    settings = endpoint(100 * SLOWER)
    changes = [("--set", f"endpoint.{key}={json.dumps(value)}") for key, value in settings.items()]
    at_once = {
        "before": begun("before", "--target", serve_module(endpoint(100)).url),
        "same": begun("same", "--target", serve_module(endpoint(100)).url),
        "slower": begun("slower", *(word for change in changes for word in change)),
    }
    return {name: to_its_end(run) for name, run in at_once.items()}


@pytest.fixture(scope="module")
def before(releases: dict[str, Finished]) -> Finished:
    return releases["before"]


@pytest.fixture(scope="module")
def same(releases: dict[str, Finished]) -> Finished:
    return releases["same"]


@pytest.fixture(scope="module")
def slower(releases: dict[str, Finished]) -> Finished:
    return releases["slower"]


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    """`gate(run, baseline, *arguments)`: what `loadtest gate` says of a run held against another."""

    def judge(run: Finished, baseline: Finished, *arguments: str, **environment: str) -> Any:
        compared = ["gate", str(run.out), "--baseline", str(baseline.out), "--tolerance", "15 %"]
        return subprocess.run(
            [sys.executable, "-m", "loadtest", *compared, *arguments],
            capture_output=True, text=True, check=False, timeout=WITHIN_S, cwd=tmp_path,
            env={**os.environ, "COLUMNS": "300", **environment},
        )  # fmt: skip

    return judge


def test_the_same_release_is_never_found_worse(before: Finished, same: Finished, gate: Gate) -> None:
    ended = gate(same, before)
    assert ended.returncode in (0, 4), ended.stdout
    assert "fail" not in ended.stdout.lower()
    compared = [line for line in ended.stdout.splitlines() if "against the baseline" in line]
    assert compared
    for metric in ("throughput", "runsync end_to_end_ms p50", "runsync execution_ms p95"):
        assert any(line.startswith(metric) for line in compared), metric
    if ended.returncode == 4:
        assert "would have been found" in ended.stdout


def test_a_slower_release_fails_and_the_metric_is_named(before: Finished, slower: Finished, gate: Gate) -> None:
    assert slower.run["scenario_hash"] == before.run["scenario_hash"], "what is under test is no part of the scenario"
    ended = gate(slower, before)
    assert ended.returncode == 1, ended.stdout
    assert ended.stdout.startswith("FAIL  ")
    verdicts = {
        line.split(" against")[0]: line.split()[-1] for line in ended.stdout.splitlines() if "against" in line
    }
    assert verdicts["runsync execution_ms p95"] == "fail", ended.stdout
    assert "times the baseline" in ended.stdout


def test_a_faster_release_passes_and_is_what_it_is_called(before: Finished, slower: Finished, gate: Gate) -> None:
    ended = gate(before, slower)
    assert ended.returncode in (0, 4), ended.stdout
    assert "fail" not in ended.stdout.lower()


def test_ci_is_told_in_its_own_formats(before: Finished, slower: Finished, gate: Gate, tmp_path: Path) -> None:
    junit, page = tmp_path / "junit.xml", tmp_path / "page.md"
    page.write_text("# Build 7\n")
    ended = gate(slower, before, "--junit", str(junit), GITHUB_STEP_SUMMARY=str(page))
    assert ended.returncode == 1
    suites = ElementTree.parse(junit).getroot()
    cases = {case.get("name"): case for case in suites.iter("testcase")}
    failed = {name for name, case in cases.items() if case.find("failure") is not None}
    assert "runsync execution_ms p95 against the baseline" in failed
    assert int(suites.get("failures", "0")) == len(failed)
    assert int(suites.get("tests", "0")) == len(cases)
    assert page.read_text().startswith("# Build 7\n## Load test release: fail\n")
    assert "runsync execution\\_ms p95 against the baseline" in page.read_text()


@pytest.fixture(scope="module")
def brief(begun: Callable[..., Started], serve_module: Callable[..., Any]) -> dict[str, Finished]:
    """Runs that are over soon, by name: what they measure is not looked at, so that they go on at once."""
    soon = ("--target", serve_module(endpoint(20)).url, "--set", "load.stages.0.for=1s")
    changes = {"plain": (), "seed": ("--seed", "7"), "payload": ("--set", "flows.runsync.input=longer")}
    at_once = {name: begun(name, *soon, *change) for name, change in changes.items()}
    return {name: to_its_end(run) for name, run in at_once.items()}


def assert_refused(ended: subprocess.CompletedProcess[str], *words: str) -> None:
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert ended.stderr.startswith("loadtest: --baseline ")
    assert ended.stderr.count("\n") == 1
    for word in words:
        assert word in ended.stderr


def test_another_scenario_is_refused(before: Finished, brief: dict[str, Finished], gate: Gate) -> None:
    here = brief["plain"]
    hashes = [f"its scenario is {before.run['scenario_hash']}", f"that of the run {here.run['scenario_hash']}"]
    assert_refused(gate(here, before), *hashes, 'load.stages.0.for is "12s" there and "1s" here')


def test_another_seed_is_refused(brief: dict[str, Finished], gate: Gate) -> None:
    assert_refused(gate(brief["seed"], brief["plain"]), "its seed is 1, that of the run 7; run with --seed 1")


def test_another_payload_is_refused(brief: dict[str, Finished], gate: Gate) -> None:
    ended = gate(brief["payload"], brief["plain"])
    assert_refused(ended, "its payloads are ", "; send the same inputs")
    there, here = ended.stderr.split("its payloads are ")[1].split(", those of the run ")
    assert there != here.split(";")[0]
