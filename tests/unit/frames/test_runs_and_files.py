"""Several runs are one table, and a run is CSV files or a workbook."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

import loadtest
from loadtest.cli import app
from loadtest.errors import UsageError
from loadtest.frames import export as exports
from loadtest.frames.columns import FRAMES, RUNS


def test_a_table_of_runs_has_a_row_per_run_with_its_figures(reports: Path) -> None:
    (reports / "baselines").mkdir()
    (reports / "page.html").write_text("")
    table = loadtest.read_many("reports/*")
    assert table.path.tolist() == ["reports/a", "reports/b", "reports/c"]
    assert {name: str(dtype) for name, dtype in table.dtypes.items()} == {
        **{column.name: column.dtype for column in RUNS},
        **dict.fromkeys(table.columns[len(RUNS) :], "float64"),
    }
    first = loadtest.read("reports/a").summary
    row = table.iloc[0]
    assert (row.verdict, row.achieved_per_s) == (str(first.verdict), first.arrivals.achieved_per_s)
    assert row.run_execution_p95_ms == first.flows["run"].execution_ms.p95
    assert (row.run_execution_p95_low_ms, row.run_execution_p95_high_ms) == first.flows["run"].execution_ms.ci95[
        "p95"
    ]
    assert pd.isna(table.webhook_delay_p50_ms.iloc[2])
    assert not [name for name in table.columns if name.startswith("openai_")]


def test_a_run_that_cannot_be_read_is_a_row_that_says_why(reports: Path) -> None:
    (reports / "b" / "run.json").write_text("{")
    table = loadtest.read_many([reports / "a", reports / "b"])
    assert table.problem.isna().tolist() == [True, False]
    assert "run.json: cannot be read" in table.problem[1]
    assert table.verdict.isna().tolist() == [False, True]


def test_no_run_at_all_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no run directory; name the directories that hold a run\.json"):
        loadtest.read_many(str(tmp_path / "*"))


def test_csv_files_hold_what_the_frames_hold(reports: Path) -> None:
    done = CliRunner().invoke(app, ["export", "reports/a", "--csv"], catch_exceptions=False)
    assert done.stdout.split() == [f"reports/a/export/{name}.csv" for name in FRAMES]
    jobs, back = loadtest.read("reports/a").jobs, pd.read_csv("reports/a/export/jobs.csv")
    assert list(back) == list(jobs)
    assert back.delay_ms.tolist() == pytest.approx(jobs.delay_ms.tolist(), nan_ok=True)
    assert back.outcome.tolist() == jobs.outcome.tolist()
    assert (pd.to_datetime(back.finished_at) == jobs.finished_at).sum() == jobs.finished_at.count()


def test_a_workbook_has_a_sheet_per_table_and_no_formulas(reports: Path) -> None:
    path = reports / "a" / "samples.parquet"
    rows = pq.read_table(path).to_pylist()
    rows[0] |= {"error": "=1+1"}
    pq.write_table(type(pq.read_table(path)).from_pylist(rows, pq.read_schema(path)), path)
    assert CliRunner().invoke(app, ["export", "reports/a", "--xlsx", "--out", "x"]).exit_code == 0
    with zipfile.ZipFile("x/run.xlsx") as book:
        assert re.findall(r'sheet name="(\w+)"', book.read("xl/workbook.xml").decode()) == list(FRAMES)
        sheet, texts = (book.read(f"xl/{name}.xml").decode() for name in ("worksheets/sheet1", "sharedStrings"))
    assert sheet.count("<row ") == len(rows) + 1
    filled = loadtest.read("reports/a").jobs.count().sum()
    assert len(re.findall("<c [^>]*>(?=<v>)", sheet)) == filled + len(FRAMES["jobs"])
    assert "<t>=1+1</t>" in texts
    assert "<f>" not in sheet


def test_what_cannot_be_exported_is_refused(reports: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = reports / "a"
    with pytest.raises(UsageError, match="no format is named; add --csv, --xlsx, or both"):
        exports.export(exports.ExportRequest(run))
    (reports / "taken").write_text("")
    with pytest.raises(UsageError, match="cannot be written"):
        exports.export(exports.ExportRequest(run, csv=True, out=reports / "taken"))
    monkeypatch.setattr(exports, "SHEET_ROWS", 10)
    with pytest.raises(UsageError, match="rows of jobs; a sheet holds 10, so use --csv"):
        exports.export(exports.ExportRequest(run, xlsx=True, out=reports))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UsageError, match="pip install 'loadtest\\[xlsx\\]'"):
        exports.export(exports.ExportRequest(run, xlsx=True))
