"""From what was recorded to what is read: tables, summary, report; from the run directory alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import pyarrow as pa
from pydantic import ValidationError

from loadtest.analyze.series import series
from loadtest.analyze.summarize import summarize
from loadtest.analyze.summary import GateResult, Summary
from loadtest.analyze.verdict import verdict
from loadtest.errors import RunDirectoryError
from loadtest.gate.evidence import evidence_of
from loadtest.gate.judge import judged
from loadtest.record.audit import audit, fullest_of_all
from loadtest.record.directory import TABLES, RunDirectory
from loadtest.record.run import Run
from loadtest.report.html import report_html
from loadtest.report.junit import junit
from loadtest.scenario.gates import Gate
from loadtest.scenario.model import Scenario

ALWAYS_THERE = ("samples", "requests")
"""Every run has these tables, be they empty; the others only where there was something to put in."""


@dataclass(frozen=True)
class Recorded:
    """What a run left: its record, what it was asked for, and its tables by name."""

    run: Run
    scenario: Scenario
    tables: dict[str, pa.Table]


def build(directory: RunDirectory) -> Summary:
    """Merge the shards, then write `summary.json`, `report.html` and `gate.xml`; done again, it gives the same.

    Raises RunDirectoryError where the directory holds no run, or a damaged one.
    """
    recorded = read(directory)
    summary = judged_summary(recorded, recorded.scenario.gates)
    directory.write(directory.summary, msgspec.json.format(msgspec.json.encode(summary), indent=2))
    run, tables = recorded.run, recorded.tables
    drawn = series(run, tables["samples"], tables["requests"], tables["health"])
    directory.write(directory.report, report_html(run, summary, drawn).encode())
    directory.write(directory.gate, junit(summary))
    return summary


def read(directory: RunDirectory, names: Sequence[str] = tuple(TABLES)) -> Recorded:
    """What a run left in these tables, its shards merged.

    RunDirectoryError where the directory holds no run, or a damaged one.
    """
    run = directory.read_run()
    scenario = _scenario_of(run, directory)
    if directory.has_shards():
        run = msgspec.structs.replace(run, audit=audit(directory), fullest=fullest_of_all(directory))
        directory.write_run(run)
        directory.merge()
    return Recorded(run, scenario, {name: _table(directory, name) for name in names})


def judged_summary(recorded: Recorded, gates: Sequence[Gate], compared: Sequence[GateResult] = ()) -> Summary:
    """Every figure of a run, what it says of these gates and of comparisons, and the verdict of all together."""
    run, tables = recorded.run, recorded.tables
    measured = summarize(run, tables["samples"], tables["requests"], tables["chunks"], tables["health"])
    held = judged(gates, evidence_of(run, tables["samples"], measured.steady)) if gates else []
    results = [*held, *compared]
    word, reason = verdict(run, measured.validity, results, measured.jobs)
    return msgspec.structs.replace(measured, gates=results, verdict=word, reason=reason)


def _scenario_of(run: Run, directory: RunDirectory) -> Scenario:
    """What a run was asked for; RunDirectoryError where another version wrote it down."""
    place = directory.path / "run.json"
    if run.schema != 1:
        raise RunDirectoryError(f"{place}: has schema {run.schema}, this version reads 1; use the one that wrote it")
    try:
        return Scenario.model_validate(run.scenario)
    except ValidationError as fault:
        first = fault.errors(include_url=False)[0]
        where = ".".join(str(part) for part in ("scenario", *first["loc"]))
        wrote = run.versions.get("loadtest", "not known")
        text = f"{place}: {where}: {first['msg']}; use the version that wrote it: {wrote}"
        raise RunDirectoryError(text) from None


def _table(directory: RunDirectory, name: str) -> pa.Table:
    path, schema = directory.path / f"{name}.parquet", TABLES[name]
    if name in ALWAYS_THERE and not path.exists():
        raise RunDirectoryError(f"{path}: is missing; copy the run directory again, whole")
    try:
        found = directory.table(name)
        lacking = [column for column in schema.names if column not in found.schema.names]
        if lacking:
            raise RunDirectoryError(f'{path}: lacks the column "{lacking[0]}"; copy the run directory again, whole')
        return found.select(schema.names).cast(schema)
    except (pa.ArrowException, OSError) as fault:
        told = str(fault).splitlines()[0]
        raise RunDirectoryError(f"{path}: cannot be read: {told}; copy the run directory again, whole") from None
