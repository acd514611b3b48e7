"""Results are built from a run directory, or one line names the damage."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console
from typer.testing import CliRunner

from loadtest.analyze.run_data import COLUMNS
from loadtest.analyze.summary import Summary
from loadtest.cli import app
from loadtest.commands.capacity import CapacityRequest, capacity
from loadtest.commands.compare import CompareRequest, compare_runs
from loadtest.commands.gate import GateRequest, gate
from loadtest.commands.read_run import read_run
from loadtest.commands.results import build_results, summarize_and_judge
from loadtest.errors import ExitCode, RunDirectoryError
from loadtest.record.directory import TABLES, RunDirectory, create_run
from loadtest.record.recorder import Recorder
from loadtest.record.sample import ADDED_COLUMNS, HEALTH, SAMPLES, UNREAD_COLUMNS, Sample
from tests.unit.analyze.rows import START_AT, job, requests, run, samples, scenario, ten_jobs


@pytest.fixture
def recorded(tmp_path: Path) -> RunDirectory:
    directory = RunDirectory(tmp_path)
    directory.write_run(run())
    pq.write_table(ten_jobs(), tmp_path / "samples.parquet")
    pq.write_table(requests((1000, 0, "run", 200, 10, 10)), tmp_path / "requests.parquet")
    return directory


def figures(directory: RunDirectory) -> Summary:
    """Return every figure of the run, without a report."""
    data = read_run(directory)
    return summarize_and_judge(data, data.scenario.gates)


COLUMNS_OF = [(name, column) for name in ("samples", "requests", "health") for column in TABLES[name].names]


@pytest.mark.parametrize(("name", "column"), COLUMNS_OF, ids=[f"{name} {column}" for name, column in COLUMNS_OF])
def test_a_table_of_another_version_is_read_unless_it_lacks_a_column_that_is_needed(
    recorded: RunDirectory, name: str, column: str
) -> None:
    path = recorded.path / f"{name}.parquet"
    if name == "health":
        pq.write_table(pa.Table.from_pylist([{"at": START_AT + at, "running": 1} for at in range(9)], HEALTH), path)
    whole = figures(recorded)
    pq.write_table(pq.read_table(path).drop_columns([column]), path)
    unread = {*SAMPLES.names} - {*COLUMNS} if name == "samples" else {*UNREAD_COLUMNS}
    if column in {*unread, *ADDED_COLUMNS}:
        assert figures(recorded) == whole
    else:
        advice = "use the version that wrote it: not known"
        with pytest.raises(RunDirectoryError, match=f'{name}.parquet: lacks the column "{column}"; {advice}$'):
            figures(recorded)


def test_the_same_directory_gives_the_same_summary_again(recorded: RunDirectory) -> None:
    first = build_results(recorded)
    written = recorded.summary.read_bytes()
    assert build_results(recorded) == first
    assert recorded.summary.read_bytes() == written
    assert first.jobs["completed"] == 10


def gated(folder: Path, *gates: str) -> RunDirectory:
    """Return a run of ten jobs whose scenario has these gates."""
    directory = RunDirectory(folder)
    directory.write_run(run(scenario(gates=gates)))
    pq.write_table(ten_jobs(), folder / "samples.parquet")
    pq.write_table(requests((1000, 0, "run", 200, 10, 10)), folder / "requests.parquet")
    return directory


@pytest.mark.parametrize(
    ("gate", "word"),
    [("delay max < 1s", "pass"), ("delay p50 < 1ms", "fail"), ("delay p95 < 1s", "inconclusive")],
)
def test_the_gates_of_the_scenario_decide_the_verdict(tmp_path: Path, gate: str, word: str) -> None:
    summary = build_results(gated(tmp_path, "delay max < 2s", gate))
    assert summary.verdict.value == word
    written = json.loads((tmp_path / "summary.json").read_text())
    assert [each["verdict"] for each in written["gates"]] == ["pass", word, "pass"]
    assert written["gates"][-1]["gate"] == "errors < 1 %"
    assert written["verdict"] == word
    assert gate.replace("<", "&lt;") in (tmp_path / "gate.xml").read_text()
    assert gate.replace("<", "&lt;") in (tmp_path / "report.html").read_text()


def renamed_back(scenario: dict[str, Any]) -> None:
    """Give a recorded scenario the keys of release 0.1."""
    scenario["patience"] = scenario.pop("job_timeout")
    scenario["validity"]["little"] = scenario["validity"].pop("littles_law")
    scenario["flows"]["run"]["polling"]["at_most"] = scenario["flows"]["run"]["polling"].pop("max_interval")
    scenario["endpoint"]["lacks"] = scenario["endpoint"].pop("unsupported_operations")


def test_a_recorded_run_with_old_keys_gives_the_summary_of_the_new_ones(recorded: RunDirectory) -> None:
    before = build_results(recorded)
    edited(lambda record: renamed_back(record["scenario"]) or record.update(scenario_hash="0123"))(recorded.path)
    assert build_results(recorded) == before


def edited(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        said = json.loads((folder / "run.json").read_text())
        change(said)
        (folder / "run.json").write_text(json.dumps(said))

    return edit


def torn(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:200]) and None


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda folder: (folder / "run.json").unlink(), "run.json is missing"),
        (torn("run.json"), "run.json: cannot be read: Input data was truncated; copy the run directory again, whole"),
        (lambda folder: (folder / "run.json").write_bytes(b"\xff"), "run.json: cannot be read: "),
        (
            lambda folder: (folder / "run.json").write_bytes(b'{"scenario":' + b"[" * 9999),
            "run.json: cannot be read: ",
        ),
        (edited(lambda said: said.update(schema=4)), "run.json: has schema 4, this version reads 1 to 3"),
        (edited(lambda said: said["scenario"].update(later=1)), "run.json: scenario.later: Extra inputs are not"),
        (edited(lambda said: said.update(scenario={})), "run.json: scenario.name: Field required"),
        (lambda folder: (folder / "samples.parquet").unlink(), "samples.parquet: is missing"),
        (lambda folder: (folder / "requests.parquet").unlink(), "requests.parquet: is missing"),
        (torn("samples.parquet"), "samples.parquet: cannot be read"),
        (torn("requests.parquet"), "requests.parquet: cannot be read"),
        (lambda folder: (folder / "health.parquet").write_bytes(b""), "health.parquet: cannot be read"),
        (
            lambda folder: pq.write_table(requests(), folder / "samples.parquet"),
            'samples.parquet: lacks the column "seq"',
        ),
        (
            lambda folder: pq.write_table(samples(job(0, 0.0, flow=None)), folder / "samples.parquet"),
            'samples.parquet: cannot be read: lacks a value in the column "flow"; copy',
        ),
        (
            lambda folder: pq.write_table(samples(job(0, np.nan)), folder / "samples.parquet"),
            'samples.parquet: cannot be read: lacks a value in the column "intended_at"; copy',
        ),
    ],
)
def test_damage_is_one_line_that_names_the_file(
    recorded: RunDirectory, damage: Callable[[Path], object], said: str
) -> None:
    damage(recorded.path)
    with pytest.raises(RunDirectoryError) as refused:
        build_results(recorded)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)
    assert refused.value.exit_code is ExitCode.USAGE
    assert not recorded.report.exists()


def going_on(folder: Path) -> RunDirectory:
    """Return a run with a job on record, whose lock this process holds."""
    directory = create_run(scenario(), folder / "run", "")
    directory.write_run(msgspec.structs.replace(directory.read_run(), processes=run().processes))
    recorder = Recorder(directory)
    recorder.tally.add()
    recorder.record([(Sample(0, "run", 1.0, outcome="completed", sent_at=1.0), ())])
    recorder.flush(0.0)
    return directory


@pytest.mark.parametrize(
    "read",
    [
        build_results,
        read_run,
        lambda directory: gate(GateRequest(directory.path), {}, Console()),
        lambda directory: compare_runs(CompareRequest([directory.path] * 2), Console()),
        lambda directory: capacity(CapacityRequest([directory.path], "1/s", "delay p95 < 2s"), Console()),
    ],
)
def test_run_that_goes_on_is_not_touched(tmp_path: Path, read: Callable[[RunDirectory], object]) -> None:
    owner = going_on(tmp_path)
    before = {path: path.read_bytes() for path in owner.path.rglob("*") if path.is_file()}
    with pytest.raises(RunDirectoryError, match="its run still goes on"):
        read(RunDirectory(owner.path))
    assert {path: path.read_bytes() for path in owner.path.rglob("*") if path.is_file()} == before
    owner.release()
    assert len(read_run(RunDirectory(owner.path)).jobs) == 1


def test_owner_of_a_run_merges_its_own_shards(tmp_path: Path) -> None:
    assert len(read_run(going_on(tmp_path)).jobs) == 1


def test_every_report_of_a_run_with_a_damaged_shard_ends_with_3(tmp_path: Path) -> None:
    owner = going_on(tmp_path)
    shard = owner.shard_path("samples", 0)
    shard.write_bytes(shard.read_bytes() + b"torn")
    owner.release()
    ended = [CliRunner().invoke(app, [name, str(owner.path)]).exit_code for name in ("recover", "report", "recover")]
    assert ended == [3, 3, 3]
    assert owner.read_run().unread_bytes > 0


def test_shard_of_another_run_is_refused_and_kept(tmp_path: Path) -> None:
    owner, other = going_on(tmp_path / "a"), going_on(tmp_path / "b")
    foreign = owner.shard_path("samples", 5)
    foreign.write_bytes(other.shard_path("samples", 0).read_bytes())
    owner.release()
    with pytest.raises(RunDirectoryError, match=r"samples-5\.arrow: is of another run; move it away"):
        build_results(RunDirectory(owner.path))
    foreign.unlink()
    assert build_results(RunDirectory(owner.path)).jobs["submitted"] == 1


def test_run_without_an_audit_is_never_valid(recorded: RunDirectory) -> None:
    recorded.write_run(run(audit=[]))
    summary = build_results(recorded)
    assert (summary.verdict, [each.name for each in summary.validity.checks if not each.ok]) == (
        "invalid",
        ["samples recorded"],
    )


def test_exceptions_of_tasks_make_the_run_invalid_and_name_the_most_frequent(tmp_path: Path) -> None:
    directory = gated(tmp_path, "delay p50 < 1ms")
    errors = {"KeyError at tasks.py:7": 3, "ValueError at tasks.py:9": 1}
    directory.write_run(msgspec.structs.replace(directory.read_run(), task_errors=errors))
    summary = build_results(directory)
    assert (summary.verdict, summary.verdict.exit_code) == ("invalid", 3)
    assert "4 tasks ended with an exception: KeyError at tasks.py:7." in summary.reason


def test_machine_that_was_short_of_something_makes_the_run_invalid_and_not_failed(tmp_path: Path) -> None:
    directory = gated(tmp_path, "delay p50 < 1ms")
    cause = "this machine is short of open files"
    directory.write_run(msgspec.structs.replace(directory.read_run(), shortages={"rare": 1, cause: 60}))
    summary = build_results(directory)
    assert (summary.verdict, summary.verdict.exit_code) == ("invalid", 3)
    assert summary.reason.startswith(f"The measurement is not valid: 61 requests could not be sent: {cause}.")
    directory.write_run(msgspec.structs.replace(directory.read_run(), ending="aborted", reason="too many errors"))
    summary = build_results(directory)
    assert (summary.verdict, cause in summary.reason) == ("aborted", True)
