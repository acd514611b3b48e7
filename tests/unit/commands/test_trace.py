"""A run written as a trace: what another run then sends is what this one had."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from loadtest.cli import app
from loadtest.commands.trace import TraceRequest, write_trace
from loadtest.errors import LoadtestError, RunDirectoryError, UsageError
from loadtest.record.directory import RunDirectory
from loadtest.scenario.loading.llm_traces import FORMATS
from loadtest.scenario.loading.load import load_scenario
from loadtest.traffic.settings import OpenLoad, Trace, trace_lengths
from tests.unit.analyze import rows

JOBS = 300
RNG = np.random.default_rng(3)
AT_S = np.cumsum(RNG.exponential(0.2, JOBS))
INPUTS, OUTPUTS = RNG.integers(1, 4000, JOBS).tolist(), RNG.integers(1, 500, JOBS).tolist()
WITHIN_S = {"azure-llm": 2e-6, "mooncake": 1e-3, "burstgpt": 2e-6}


def saved(folder: Path, samples: pa.Table) -> Path:
    run = folder / "run"
    run.mkdir()
    RunDirectory(run).write_run(rows.run())
    pq.write_table(samples, run / "samples.parquet")
    return run


def llm_jobs() -> list[dict[str, object]]:
    lengths = zip(AT_S.tolist(), INPUTS, OUTPUTS, strict=True)
    return [
        rows.job(seq, at, input_tokens=given, output_tokens=made) for seq, (at, given, made) in enumerate(lengths)
    ]


@pytest.mark.parametrize("form", FORMATS)
def test_what_is_written_reads_back_with_its_count_its_times_and_its_lengths(tmp_path: Path, form: str) -> None:
    order = np.random.default_rng(1).permutation(JOBS)  # jobs are on record in the order of their ends
    jobs = llm_jobs()
    out = tmp_path / "own.trace"
    write_trace(TraceRequest(saved(tmp_path, rows.samples(*(jobs[index] for index in order))), form, out))
    scenario = tmp_path / "again.yaml"
    scenario.write_text(f"load: {{arrivals: {{trace: own.trace, format: {form}}}, stages: [{{rate: 1/s, for: 1h}}]}}")
    load = load_scenario(scenario).load
    assert isinstance(load, OpenLoad)
    assert isinstance(load.arrivals, Trace)
    assert load.arrivals.times == pytest.approx((AT_S - AT_S[0]).tolist(), abs=WITHIN_S[form])
    assert trace_lengths(load) == (tuple(INPUTS), tuple(OUTPUTS))


def test_jobs_without_tokens_are_left_out_and_counted(tmp_path: Path) -> None:
    run = saved(tmp_path, rows.samples(*llm_jobs()[:8], rows.job(8, 90.0), rows.job(9, 91.0, output_tokens=3)))
    result = CliRunner().invoke(app, ["trace", str(run), "--out", str(tmp_path / "own.csv")])
    assert result.exit_code == 0
    assert "own.csv: 8 jobs; 2 of 10 report no tokens and are left out, so its rate is lower" in result.stdout
    assert "{trace: own.csv, format: azure-llm}" in result.stdout
    assert len((tmp_path / "own.csv").read_text().splitlines()) == 9


def refusal(run: Path, form: str = "mooncake", out: str = "own.trace") -> LoadtestError:
    with pytest.raises(LoadtestError) as refused:
        write_trace(TraceRequest(run, form, run.parent / out))
    assert "\n" not in str(refused.value)
    assert not (run.parent / out).exists()
    return refused.value


def test_what_cannot_be_written_is_one_line_and_leaves_no_file(tmp_path: Path) -> None:
    run = saved(tmp_path, rows.ten_jobs())
    refused = refusal(run)
    assert isinstance(refused, UsageError)
    assert "no job of it reports tokens; a trace needs the input and output tokens" in str(refused)
    pq.write_table(rows.samples(rows.job(0, 0.0, output_tokens=4)), run / "samples.parquet")
    assert "no job with them reports input tokens" in str(refusal(run))
    assert "--format csv: is unknown; write azure-llm, mooncake or burstgpt" in str(refusal(run, "csv"))
    pq.write_table(rows.samples(*llm_jobs()[:3]), run / "samples.parquet")
    assert "--out" in str(refusal(run, out="missing/own.trace"))


def test_a_damaged_directory_is_one_line(tmp_path: Path) -> None:
    run = saved(tmp_path, rows.samples(*llm_jobs()[:3]))
    whole = (run / "samples.parquet").read_bytes()
    (run / "samples.parquet").write_bytes(whole[: len(whole) // 2])
    assert isinstance(refusal(run), RunDirectoryError)
    (run / "run.json").unlink()
    assert isinstance(refusal(run), RunDirectoryError)


def test_default_name_says_what_the_file_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = saved(tmp_path, rows.samples(*llm_jobs()[:3]))
    monkeypatch.chdir(tmp_path)
    for form in FORMATS:
        write_trace(TraceRequest(run, form))
    assert (tmp_path / "trace.csv").read_text().startswith("Timestamp,Model")
    assert (tmp_path / "trace.jsonl").read_text().startswith('{"timestamp": 0,')
