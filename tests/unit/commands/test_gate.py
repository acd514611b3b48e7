"""`loadtest gate` on a made-up run directory: what it writes, what it prints, what it refuses."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from loadtest.commands.gate import GateRequest, gate
from loadtest.errors import ExitCode, LoadtestError, RunDirectoryError, UsageError
from loadtest.record.directory import RunDirectory
from loadtest.record.run import Ending
from tests.unit.analyze.rows import START_AT, job, requests, run, samples, scenario

QUICK = {"delay_ms": 7}
SLOW = {"delay_ms": 5000}


def recorded(folder: Path, table: pa.Table, gates: tuple[str, ...] = (), **changes: Any) -> Path:
    directory = RunDirectory(folder)
    folder.mkdir(exist_ok=True)
    directory.write_run(run(scenario(gates=gates), offered={"run": [len(table) // 10] * 10}, **changes))
    pq.write_table(table, folder / "samples.parquet")
    pq.write_table(requests((1000, 0, "run", 200, 10, 10)), folder / "requests.parquet")
    return folder


def hundred(**changes: Any) -> pa.Table:
    return samples(*(job(seq, seq / 10, **changes) for seq in range(100)))


def judged(folder: Path, *gates: str, environment: dict[str, str] | None = None, **files: Any) -> tuple[int, str]:
    said = StringIO()
    request = GateRequest(folder, gates=list(gates), **files)
    status = gate(request, environment or {}, Console(file=said, width=80))
    return status, said.getvalue()


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ((), ExitCode.PASS),
        (("delay p90 < 2s",), ExitCode.PASS),
        (("delay p90 < 2s", "delay p90 < 1ms"), ExitCode.FAIL),
        (("delay p99 < 2s",), ExitCode.INCONCLUSIVE),
        (("delay p99 < 2s", "delay p90 < 1ms"), ExitCode.FAIL),
    ],
)
def test_gates_of_the_scenario_and_of_the_command_line_are_alike(
    tmp_path: Path, asked: tuple[str, ...], status: ExitCode
) -> None:
    assert judged(recorded(tmp_path, hundred(**QUICK), asked))[0] == status
    assert judged(recorded(tmp_path, hundred(**QUICK)), *asked)[0] == status
    assert judged(recorded(tmp_path, hundred(**QUICK), asked), *asked)[0] == status


def test_an_invalid_or_aborted_run_has_that_verdict_whatever_its_gates(tmp_path: Path) -> None:
    failed = hundred(outcome="failed")
    assert judged(recorded(tmp_path, failed), "delay p90 < 2s")[0] == ExitCode.INVALID
    cut = recorded(tmp_path, hundred(**SLOW), ending=Ending.ABORTED, reason="stopped")
    assert judged(cut, "delay p90 < 2s")[0] == ExitCode.ABORTED


def test_it_writes_junit_into_the_run_directory_and_to_the_given_files(tmp_path: Path) -> None:
    folder = recorded(tmp_path / "run", hundred(**SLOW))
    judged(folder, "delay p90 < 2s", junit=tmp_path / "x.xml", markdown=tmp_path / "x.md")
    written = (folder / "gate.xml").read_bytes()
    assert (tmp_path / "x.xml").read_bytes() == written
    assert ElementTree.fromstring(written).get("failures") == "1"
    assert "| fail | delay p90 &lt; 2s | 5.00 s | 100 |" in (tmp_path / "x.md").read_text()
    assert {path.name for path in folder.iterdir()} == {
        "run.json",
        "samples.parquet",
        "requests.parquet",
        "gate.xml",
    }


def test_the_summary_of_a_ci_job_is_added_to(tmp_path: Path) -> None:
    page = tmp_path / "summary.md"
    page.write_text("# Build\n")
    judged(recorded(tmp_path / "run", hundred()), environment={"GITHUB_STEP_SUMMARY": str(page)})
    assert page.read_text().startswith("# Build\n## Load test made: pass\n")


def test_it_prints_the_verdict_and_a_line_for_each_gate(tmp_path: Path) -> None:
    folder = recorded(tmp_path, hundred(**SLOW))
    _, said = judged(folder, "delay p90 < 2s", "delay p99 < 9s", "errors < 5 %")
    whole = " ".join(said.split())
    assert whole.startswith("FAIL 1 gate of 3 failed: delay p90 < 2s. Delay was 2s or more for 100 of 100 jobs;")
    assert "inconclusive: delay p99 < 9s. Delay was 9s or more for 0 of 100 jobs." in whole
    lines = [line.rstrip() for line in said.splitlines()]
    assert [line.split()[-1] for line in lines if line.endswith(("  pass", "  fail"))] == ["fail", "pass"]
    assert max(map(len, said.splitlines())) <= 80
    assert "\x1b" not in said


def test_a_gate_given_twice_is_judged_once(tmp_path: Path) -> None:
    folder = recorded(tmp_path, hundred(), ("delay p90 < 2s",))
    judged(folder, "delay p90<2000ms", "delay p50 < 2s", "delay p50 < 2s")
    root = ElementTree.fromstring((folder / "gate.xml").read_bytes())
    assert [case.get("name") for case in root[0]] == ["delay p90 < 2s", "delay p50 < 2s", "errors < 1 %"]


def test_a_baseline_is_found_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "reports" / "baselines").mkdir(parents=True)
    recorded(tmp_path / "reports" / "baselines" / "v1", hundred())
    monkeypatch.chdir(tmp_path)
    assert judged(Path("v1"), "delay p90 < 2s")[0] == ExitCode.PASS


def test_a_run_with_old_keys_is_a_baseline_for_the_same_scenario_with_new_ones(tmp_path: Path) -> None:
    folder, baseline = recorded(tmp_path / "run", hundred()), recorded(tmp_path / "v1", hundred())
    record = json.loads((baseline / "run.json").read_text())
    record["scenario"]["patience"] = record["scenario"].pop("job_timeout")
    (baseline / "run.json").write_text(json.dumps(record | {"scenario_hash": "of the old keys"}))
    judged(folder, baselines=[baseline])
    assert "against the baseline" in (folder / "gate.xml").read_text()


@pytest.mark.parametrize("kept", [True, False], ids=["with requests", "without requests"])
def test_a_baseline_that_was_sent_late_is_refused_whichever_tables_were_kept(tmp_path: Path, kept: bool) -> None:
    late = samples(*(job(seq, seq / 10, sent_at=START_AT + seq / 10 + 0.3) for seq in range(100)))
    folder, baseline = recorded(tmp_path / "run", hundred()), recorded(tmp_path / "v1", late)
    if not kept:
        (baseline / "requests.parquet").unlink()
    with pytest.raises(UsageError, match="not valid: Jobs were sent within 300"):
        judged(folder, baselines=[baseline])


def test_a_baseline_that_was_throttled_is_refused(tmp_path: Path) -> None:
    folder, baseline = recorded(tmp_path / "run", hundred()), recorded(tmp_path / "v1", hundred())
    pq.write_table(requests((1000, 0, "run", 429, 10, 10)), baseline / "requests.parquet")
    with pytest.raises(UsageError, match="its measurement is not valid: 10 of 10 requests were answered 429"):
        judged(folder, baselines=[baseline])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("dealy p95 < 2s", '--gate "dealy p95 < 2s": "dealy p95" is not a metric; write "delay p95 < 2s"'),
        ("delay p95 <\n2s during night", '--gate "delay p95 < 2s during night": no stage is called "night"'),
        ("delay p95 < 2s of stream", "the scenario has none"),
    ],
)
def test_an_invalid_gate_is_refused_in_one_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(UsageError) as refused:
        judged(recorded(tmp_path, hundred()), text)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "gate.xml").exists()


@pytest.mark.parametrize("option", ["junit", "markdown"])
def test_a_file_that_cannot_be_written_is_named(tmp_path: Path, option: str) -> None:
    with pytest.raises(UsageError, match=f"--{option} .*: cannot be written: "):
        judged(recorded(tmp_path / "run", hundred()), **{option: tmp_path / "none" / "x"})


def test_a_path_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunDirectoryError, match="not a run directory") as refused:
        judged(tmp_path / "none")
    assert isinstance(refused.value, LoadtestError)


def test_a_baseline_of_another_kind_is_refused_and_needs_only_record_and_samples(tmp_path: Path) -> None:
    folder = recorded(tmp_path / "run", hundred())
    baseline = recorded(tmp_path / "v1", hundred(), seed=7)
    (baseline / "requests.parquet").unlink()
    with pytest.raises(UsageError, match="its seed is 7, that of the run 1"):
        judged(folder, baselines=[baseline])
    with pytest.raises(UsageError, match='--tolerance 5: "5" is not a share with its sign; write it like "1 %"'):
        judged(folder, baselines=[baseline], tolerance="5")
    with pytest.raises(RunDirectoryError, match="not a run directory"):
        judged(folder, baselines=[tmp_path / "none"])
