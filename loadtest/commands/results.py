"""From what was recorded to what is read: tables, summary, report; from the run directory alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import msgspec
import pyarrow as pa
from pydantic import ValidationError

from loadtest.analyze.job_table import COLUMNS, JobTable, read_job_table
from loadtest.analyze.series import series
from loadtest.analyze.summarize import summarize
from loadtest.analyze.summary import GateResult, Summary
from loadtest.analyze.verdict import verdict
from loadtest.errors import RunDirectoryError
from loadtest.gate.inputs import evidence_of
from loadtest.gate.judge import judge_all
from loadtest.record.audit import audit, peak_requests
from loadtest.record.directory import TABLES, RunDirectory
from loadtest.record.parquet import MissingColumnError
from loadtest.record.run import READABLE_SCHEMAS, RunRecord
from loadtest.report.ci.junit import junit
from loadtest.report.pages.run import report_html
from loadtest.scenario.gates import Gate
from loadtest.scenario.model import Scenario
from loadtest.scenario.renamed_keys import with_new_keys

OTHER_TABLES = tuple(name for name in TABLES if name != "samples")
REQUIRED_TABLES = ("samples", "requests")
"""Every run has these tables, be they empty; the others only where there was something to put in."""


@dataclass(frozen=True)
class RecordedRun:
    """What a run left: its record, what it was asked for, its samples' digest, and its other tables by name."""

    run: RunRecord
    scenario: Scenario
    samples: JobTable
    tables: dict[str, pa.Table]


def build_results(directory: RunDirectory) -> Summary:
    """Merge the shards, then write `summary.json`, `report.html` and `gate.xml`; done again, it gives the same.

    Raises RunDirectoryError where the directory holds no run, or a damaged one.
    """
    recorded = read_run(directory)
    summary = summarize_and_judge(recorded, recorded.scenario.gates)
    directory.write(directory.summary, msgspec.json.format(msgspec.json.encode(summary), indent=2))
    run, tables = recorded.run, recorded.tables
    drawn = series(run, recorded.samples, tables["requests"], tables["health"])
    directory.write(directory.report, report_html(run, summary, drawn).encode())
    directory.write(directory.gate, junit(summary))
    return summary


def read_run(directory: RunDirectory, names: Sequence[str] = OTHER_TABLES) -> RecordedRun:
    """What a run left in its samples and in these tables beside them, its shards merged.

    RunDirectoryError where the directory holds no run, or a damaged one.
    """
    run = directory.read_run()
    current = with_new_keys(run.scenario)
    scenario = _scenario_of(msgspec.structs.replace(run, scenario=current), directory)
    if current != run.scenario:
        run = msgspec.structs.replace(run, scenario=current, scenario_hash=scenario.hash())
    if directory.has_shards():
        run = msgspec.structs.replace(run, audit=audit(directory), peak_requests=peak_requests(directory))
        directory.write_run(run)
        directory.merge()
    return RecordedRun(run, scenario, _samples(directory), {name: _table(directory, name) for name in names})


def summarize_and_judge(recorded: RecordedRun, gates: Sequence[Gate], compared: Sequence[GateResult] = ()) -> Summary:
    """Every figure of a run, what it says of these gates and of comparisons, and the verdict of all together."""
    run, tables = recorded.run, recorded.tables
    measured = summarize(run, recorded.samples, tables["requests"], tables["chunks"], tables["health"])
    held = judge_all(gates, evidence_of(run, recorded.samples, measured.steady)) if gates else []
    results = [*held, *compared]
    word, reason = verdict(run, measured.validity, results, measured.jobs)
    return msgspec.structs.replace(measured, gates=results, verdict=word, reason=reason)


def _scenario_of(run: RunRecord, directory: RunDirectory) -> Scenario:
    """What a run was asked for; RunDirectoryError where another version wrote it down."""
    place = directory.path / "run.json"
    if run.schema not in READABLE_SCHEMAS:
        readable = " and ".join(map(str, READABLE_SCHEMAS))
        raise RunDirectoryError(
            f"{place}: has schema {run.schema}, this version reads {readable}; use the one that wrote it"
        )
    try:
        return Scenario.model_validate(run.scenario)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in ("scenario", *first["loc"]))
        wrote = run.versions.get("loadtest", "not known")
        text = f"{place}: {where}: {first['msg']}; use the version that wrote it: {wrote}"
        raise RunDirectoryError(text) from None


def _samples(directory: RunDirectory) -> JobTable:
    with _readable(directory, "samples"):
        pieces = directory.pieces("samples", COLUMNS)
        return read_job_table(pieces, pieces.rows)


def _table(directory: RunDirectory, name: str) -> pa.Table:
    with _readable(directory, name):
        return directory.table(name)


@contextmanager
def _readable(directory: RunDirectory, name: str) -> Iterator[None]:
    """What is wrong with a table that is read is one line that names its file and the mend."""
    path = directory.path / f"{name}.parquet"
    advice = "copy the run directory again, whole"
    if name in REQUIRED_TABLES and not path.exists():
        raise RunDirectoryError(f"{path}: is missing; {advice}")
    try:
        yield
    except MissingColumnError as error:
        raise RunDirectoryError(f"{path}: {error}; {advice}") from None
    except (pa.ArrowException, OSError) as error:
        raise RunDirectoryError(f"{path}: cannot be read: {str(error).splitlines()[0]}; {advice}") from None
