"""A run ends with the verdict of its gates, and `loadtest gate` on its directory agrees."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

from tests.integration.conftest import Serve
from tests.integration.run.conftest import FAST, LATE_IS_SOUND, Command, Run, Start, open_load

GOOD, BAD, FAR = "execution p90 < 5s", "execution p90 < 10ms", "execution p99.9 < 5s"


def test_run_and_gate_end_with_the_verdict_of_the_gates(
    start: Start, serve: Serve, command: Command, tmp_path: Path
) -> None:
    scenario = open_load("60/s", "1500ms", **LATE_IS_SOUND)
    verdicts = {("fail", 1): [GOOD, BAD, FAR], ("inconclusive", 4): [GOOD, FAR], ("pass", 0): [GOOD, "errors < 10 %"]}
    target = ("--target", serve(FAST).url)
    begun = [start(scenario, "--set", f"gates={json.dumps(gates)}", *target) for gates in verdicts.values()]
    for run, ((verdict, status), gates) in zip(begun, verdicts.items(), strict=True):
        finished = run.finish()
        assert (finished.status, finished.summary["verdict"]) == (status, verdict)
        assert [each["gate"] for each in finished.summary["gates"] if not each["default"]] == gates
        assert finished.is_complete()
        judged = command("gate", str(finished.out))
        assert (judged.status, judged.stderr) == (status, "")
        assert judged.stdout.splitlines()[0] == finished.stdout.splitlines()[0]
    directory = str(begun[-1].out)
    for gate, status in ((GOOD, 0), (BAD, 1), (FAR, 4)):
        assert command("gate", directory, "--gate", gate).status == status
    files = ["--junit", str(tmp_path / "j.xml"), "--markdown", str(tmp_path / "m.md")]
    assert command("gate", directory, "--gate", BAD, *files).status == 1
    assert ElementTree.parse(tmp_path / "j.xml").getroot().get("failures") == "1"
    assert "execution p90 &lt; 10ms" in (tmp_path / "m.md").read_text()


def test_abort_gate_ends_a_run_while_it_goes_on(run: Run, serve: Serve) -> None:
    rule = {"over": "5s", "gates": ["execution p95 < 10ms"]}
    finished = run(open_load("40/s", "60s", abort=rule), "--target", serve(FAST).url)
    assert finished.status == 5
    assert finished.summary["verdict"] == "aborted"
    assert 'abort.gates: "execution p95 < 10ms" does not hold: ' in finished.summary["reason"]
    assert finished.summary["run"]["duration_s"] < 30
    assert finished.is_complete()
