"""From what was recorded to what is read: tables, summary, report; from the run directory alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import msgspec
import pyarrow as pa
from pydantic import ValidationError

from loadtest.analyze.digest import COLUMNS, Digest, digest_of_pieces
from loadtest.analyze.series import series
from loadtest.analyze.summarize import summarize
from loadtest.analyze.summary import GateResult, Summary
from loadtest.analyze.verdict import verdict
from loadtest.errors import RunDirectoryError
from loadtest.gate.evidence import evidence_of
from loadtest.gate.judge import judged
from loadtest.record.audit import audit, fullest_of_all
from loadtest.record.directory import TABLES, RunDirectory
from loadtest.record.pieces import LackingError
from loadtest.record.run import Run
from loadtest.report.html import report_html
from loadtest.report.junit import junit
from loadtest.scenario.gates import Gate
from loadtest.scenario.model import Scenario

BESIDE = tuple(name for name in TABLES if name != "samples")
ALWAYS_THERE = ("samples", "requests")
"""Every run has these tables, be they empty; the others only where there was something to put in."""


@dataclass(frozen=True)
class Recorded:
    """What a run left: its record, what it was asked for, its samples' digest, and its other tables by name."""

    run: Run
    scenario: Scenario
    samples: Digest
    tables: dict[str, pa.Table]


def build(directory: RunDirectory) -> Summary:
    """Merge the shards, then write `summary.json`, `report.html` and `gate.xml`; done again, it gives the same.

    Raises RunDirectoryError where the directory holds no run, or a damaged one.
    """
    recorded = read(directory)
    summary = judged_summary(recorded, recorded.scenario.gates)
    directory.write(directory.summary, msgspec.json.format(msgspec.json.encode(summary), indent=2))
    run, tables = recorded.run, recorded.tables
    drawn = series(run, recorded.samples, tables["requests"], tables["health"])
    directory.write(directory.report, report_html(run, summary, drawn).encode())
    directory.write(directory.gate, junit(summary))
    return summary


def read(directory: RunDirectory, names: Sequence[str] = BESIDE) -> Recorded:
    """What a run left in its samples and in these tables beside them, its shards merged.

    RunDirectoryError where the directory holds no run, or a damaged one.
    """
    run = directory.read_run()
    scenario = _scenario_of(run, directory)
    if directory.has_shards():
        run = msgspec.structs.replace(run, audit=audit(directory), fullest=fullest_of_all(directory))
        directory.write_run(run)
        directory.merge()
    return Recorded(run, scenario, _samples(directory), {name: _table(directory, name) for name in names})


def judged_summary(recorded: Recorded, gates: Sequence[Gate], compared: Sequence[GateResult] = ()) -> Summary:
    """Every figure of a run, what it says of these gates and of comparisons, and the verdict of all together."""
    run, tables = recorded.run, recorded.tables
    measured = summarize(run, recorded.samples, tables["requests"], tables["chunks"], tables["health"])
    held = judged(gates, evidence_of(run, recorded.samples, measured.steady)) if gates else []
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


def _samples(directory: RunDirectory) -> Digest:
    with _readable(directory, "samples"):
        pieces = directory.pieces("samples", COLUMNS)
        return digest_of_pieces(pieces, pieces.rows)


def _table(directory: RunDirectory, name: str) -> pa.Table:
    with _readable(directory, name):
        return directory.table(name)


@contextmanager
def _readable(directory: RunDirectory, name: str) -> Iterator[None]:
    """What is wrong with a table that is read is one line that names its file and the mend."""
    path = directory.path / f"{name}.parquet"
    mend = "copy the run directory again, whole"
    if name in ALWAYS_THERE and not path.exists():
        raise RunDirectoryError(f"{path}: is missing; {mend}")
    try:
        yield
    except LackingError as fault:
        raise RunDirectoryError(f"{path}: {fault}; {mend}") from None
    except (pa.ArrowException, OSError) as fault:
        raise RunDirectoryError(f"{path}: cannot be read: {str(fault).splitlines()[0]}; {mend}") from None
