"""A release compared with the one before it: the scenario is the same, the endpoint is another."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.integration.conftest import Serve
from tests.integration.run.conftest import LATE_IS_SOUND, Command, Finished, Start, open_load

SCENARIO = open_load("60/s", "6s", name="release", flows={"runsync": {"input": {"prompt": "hello"}}}, **LATE_IS_SOUND)


def endpoint(median_ms: float) -> dict[str, object]:
    """Return an endpoint on which some jobs wait, so that its delay exceeds the machine's own."""
    return {"workers": {"active": 10, "max": 10}, "service": {"median": f"{median_ms}ms", "sigma": 0.3}}


@pytest.fixture(scope="module")
def releases(start_module: Start, serve_module: Serve) -> dict[str, Finished]:
    """A run of each release, by name, at the same time: a busy machine affects all of them."""
    slower = [
        word for key, value in endpoint(150).items() for word in ("--set", f"endpoint.{key}={json.dumps(value)}")
    ]
    changes = {
        "before": ("--target", serve_module(endpoint(100)).url),
        "same": ("--target", serve_module(endpoint(100)).url),
        "slower": slower,
    }
    begun = {name: start_module(SCENARIO, *change) for name, change in changes.items()}
    finished = {name: run.finish() for name, run in begun.items()}
    assert {run.status for run in finished.values()} == {0}
    return finished


class Judge:
    """`loadtest gate` on one run with another as its baseline."""

    def __init__(self, releases: dict[str, Finished], command: Command) -> None:
        self._releases, self._command = releases, command

    def __call__(self, run: str, baseline: str, *arguments: str, **environment: str) -> Finished:
        compared = [str(self._releases[run].out), "--baseline", str(self._releases[baseline].out)]
        return self._command("gate", *compared, "--tolerance", "15 %", *arguments, COLUMNS="300", **environment)


@pytest.fixture
def gate(releases: dict[str, Finished], command: Command) -> Judge:
    return Judge(releases, command)


def test_same_release_is_never_found_worse(gate: Judge) -> None:
    judged = gate("same", "before")
    assert judged.status in (0, 4), judged.stdout
    assert "fail" not in judged.stdout.lower()
    compared = [line for line in judged.stdout.splitlines() if "against the baseline" in line]
    for metric in ("throughput", "runsync end_to_end_ms p50", "runsync execution_ms p95"):
        assert any(line.startswith(metric) for line in compared), metric
    if judged.status == 4:
        reasons = ("would have been found", "would do", "n too small")
        assert any(reason in judged.stdout for reason in reasons), judged.stdout


def test_slower_release_fails_and_the_metric_is_named(releases: dict[str, Finished], gate: Judge) -> None:
    hashes = {releases[name].run["scenario_hash"] for name in ("before", "slower")}
    assert len(hashes) == 1, "the endpoint is no part of the scenario"
    judged = gate("slower", "before")
    assert judged.status == 1, judged.stdout
    assert judged.stdout.startswith("FAIL  ")
    verdicts = {
        line.split(" against")[0]: line.split()[-1] for line in judged.stdout.splitlines() if "against" in line
    }
    assert verdicts["runsync execution_ms p95"] == "fail", judged.stdout
    assert "times the baseline" in judged.stdout


def test_faster_release_passes(gate: Judge) -> None:
    judged = gate("before", "slower")
    assert judged.status in (0, 4), judged.stdout
    assert "fail" not in judged.stdout.lower()


def test_ci_gets_the_verdict_in_its_own_formats(gate: Judge, tmp_path: Path) -> None:
    junit, page = tmp_path / "junit.xml", tmp_path / "page.md"
    page.write_text("# Build 7\n")
    judged = gate("slower", "before", "--junit", str(junit), GITHUB_STEP_SUMMARY=str(page))
    assert judged.status == 1
    suites = ElementTree.parse(junit).getroot()
    cases = {case.get("name"): case for case in suites.iter("testcase")}
    failed = {name for name, case in cases.items() if case.find("failure") is not None}
    assert "runsync execution_ms p95 against the baseline" in failed
    assert int(suites.get("failures", "0")) == len(failed)
    assert int(suites.get("tests", "0")) == len(cases)
    assert page.read_text().startswith("# Build 7\n## Load test release: fail\n")
    assert "runsync execution\\_ms p95 against the baseline" in page.read_text()


def test_runs_are_compared_on_a_page_and_in_a_table(
    releases: dict[str, Finished], command: Command, tmp_path: Path
) -> None:
    page, before, slower = tmp_path / "page.html", str(releases["before"].out), str(releases["slower"].out)
    compared = command("compare", before, slower, "--out", str(page))
    assert (compared.status, compared.stderr) == (0, "")
    assert "endpoint.service.median" in compared.stdout
    assert "worse" in compared.stdout
    assert page.read_text().startswith("<!doctype html>")
    alike = command("compare", before, before, "--out", str(page))
    assert (alike.status, "inconclusive" in alike.stdout) == (0, True)
