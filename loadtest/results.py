"""From what was recorded to what is read: tables, summary, report; from the run directory alone."""

from __future__ import annotations

import msgspec
import pyarrow as pa
from pydantic import ValidationError

from loadtest.analyze.series import series
from loadtest.analyze.summarize import summarize
from loadtest.analyze.summary import Summary
from loadtest.errors import RunDirectoryError
from loadtest.record.audit import audit, fullest_of_all
from loadtest.record.directory import TABLES, RunDirectory
from loadtest.record.run import Run
from loadtest.report.html import report_html
from loadtest.scenario.model import Scenario

ALWAYS_THERE = ("samples", "requests")
"""Every run has these tables, be they empty; the others only where there was something to put in."""


def build(directory: RunDirectory) -> Summary:
    """Merge the shards, then write `summary.json` and `report.html`; done again, it gives the same.

    Raises RunDirectoryError where the directory holds no run, or a damaged one.
    """
    run = directory.read_run()
    _refuse_other_versions(run, directory)
    if directory.has_shards():
        run = msgspec.structs.replace(run, audit=audit(directory), fullest=fullest_of_all(directory))
        directory.write_run(run)
        directory.merge()
    tables = {name: _table(directory, name) for name in TABLES}
    samples, requests = tables["samples"], tables["requests"]
    summary = summarize(run, samples, requests, tables["chunks"], tables["health"])
    directory.write(directory.summary, msgspec.json.format(msgspec.json.encode(summary), indent=2))
    drawn = series(run, samples, requests, tables["health"])
    directory.write(directory.report, report_html(run, summary, drawn).encode())
    return summary


def _refuse_other_versions(run: Run, directory: RunDirectory) -> None:
    place = directory.path / "run.json"
    if run.schema != 1:
        raise RunDirectoryError(f"{place}: has schema {run.schema}, this version reads 1; use the one that wrote it")
    try:
        Scenario.model_validate(run.scenario)
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
