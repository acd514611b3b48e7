"""A run ends with what its gates say, and `loadtest gate` on its directory says the same."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.integration.run.conftest import LATE_IS_SOUND, Finished, steady

FAST = {"workers": {"active": 10, "max": 10}, "service": "30ms"}
GOOD, BAD, FAR = "execution p90 < 5s", "execution p90 < 10ms", "execution p99.9 < 5s"
ASKED = {**steady("40/s", "2s"), "endpoint": FAST, **LATE_IS_SOUND}
Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.mark.parametrize(
    ("gates", "verdict", "status"),
    [
        ([GOOD, BAD, FAR], "fail", 1),
        ([GOOD, FAR], "inconclusive", 4),
    ],
)
def test_run_and_gate_end_with_what_the_gates_say(
    run: Callable[..., Finished], command: Command, gates: list[str], verdict: str, status: int
) -> None:
    finished = run({**ASKED, "gates": gates})
    assert_said(finished, command, gates, verdict, status)


def assert_said(finished: Finished, command: Command, gates: list[str], verdict: str, status: int) -> None:
    """The run and `loadtest gate` on its directory say this."""
    assert (finished.status, finished.summary["verdict"]) == (status, verdict)
    assert [each["gate"] for each in finished.summary["gates"]] == gates
    assert finished.is_complete()
    reported = finished.stdout
    again = command("gate", str(finished.out))
    assert (again.returncode, again.stderr) == (status, "")
    assert again.stdout.splitlines()[0] == reported.splitlines()[0]


def test_gates_can_be_set_for_one_run_and_asked_for_afterwards(
    run: Callable[..., Finished], command: Command, tmp_path: Path
) -> None:
    gates = [GOOD, "errors < 10 %"]
    finished = run(ASKED, "--set", f"gates={json.dumps(gates)}")
    assert_said(finished, command, gates, "pass", 0)
    for gate, status in ((GOOD, 0), (BAD, 1), (FAR, 4)):
        assert command("gate", str(finished.out), "--gate", gate).returncode == status
    files = ["--junit", str(tmp_path / "j.xml"), "--markdown", str(tmp_path / "m.md")]
    assert command("gate", str(finished.out), "--gate", BAD, *files).returncode == 1
    assert ElementTree.parse(tmp_path / "j.xml").getroot().get("failures") == "1"
    assert "execution p90 &lt; 10ms" in (tmp_path / "m.md").read_text()


def test_a_gate_that_is_none_is_one_line_before_anything_is_sent(run: Callable[..., Finished]) -> None:
    finished = run({**ASKED, "gates": ["dealy p95 < 2s"]})
    assert finished.status == 2
    assert finished.stderr.count("\n") == 1
    assert 'gates[0]: "dealy p95" is not a metric; write "delay p95 < 2s"' in finished.stderr
    assert not finished.out.exists()


def test_an_abort_gate_ends_a_run_while_it_goes_on(run: Callable[..., Finished]) -> None:
    rule = {"over": "5s", "gates": ["execution p95 < 10ms"]}
    finished = run({**steady("20/s", "60s"), "endpoint": FAST, "abort": rule})
    assert finished.status == 5
    assert finished.summary["verdict"] == "aborted"
    assert 'abort.gates: "execution p95 < 10ms" does not hold: ' in finished.summary["reason"]
    assert "jobs that completed in the last 5 s took 10ms or more" in finished.summary["reason"]
    assert finished.summary["run"]["duration_s"] < 15
    assert finished.is_complete()


def test_what_cannot_be_judged_is_one_line(command: Command, tmp_path: Path) -> None:
    refused = command("gate", str(tmp_path))
    assert (refused.returncode, refused.stdout, refused.stderr.count("\n")) == (2, "", 1)
    assert "not a run directory" in refused.stderr
