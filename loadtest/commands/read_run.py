"""A recorded run, read from its directory: its shards are merged first, and damage is named in one line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import msgspec
import pyarrow as pa
from pydantic import ValidationError

from loadtest.analyze.run_data import COLUMNS, RunData, read_job_table
from loadtest.errors import RunDirectoryError, reason_and_remedy
from loadtest.process import tell
from loadtest.record.arrow import ignore_pandas
from loadtest.record.audit import audit, peak_requests
from loadtest.record.directory import TABLES, RunDirectory
from loadtest.record.run import READABLE_SCHEMAS, SCHEMA, RunRecord
from loadtest.record.sample import MissingColumnError, MissingValueError
from loadtest.scenario.model import Scenario
from loadtest.scenario.renamed_keys import with_new_keys

OTHER_TABLES = tuple(name for name in TABLES if name != "samples")
REQUIRED_TABLES = ("samples", "requests")
"""Every run has these tables, even if empty; the others exist only if there was something to record."""


def read_run(directory: RunDirectory, tables: Sequence[str] = OTHER_TABLES) -> RunData:
    """Merge the shards of a run, and return its samples and these other tables.

    Raises RunDirectoryError if the directory holds no run, a damaged one, or one that still goes on.
    """
    run, scenario = read_record(directory)
    with readable(directory, "samples", run):
        pieces = directory.pieces("samples", COLUMNS)
        jobs = read_job_table(pieces, pieces.rows)
    return RunData(run, scenario, jobs, **{name: read_table(directory, name, run) for name in tables})


def read_record(directory: RunDirectory) -> tuple[RunRecord, Scenario]:
    """Merge the shards of a run, and return its record and its scenario; raises as `read_run` does."""
    ignore_pandas()
    found = _record(directory)
    if directory.has_shards():
        _merge_shards(directory)
        return _record(directory)
    return found


def read_table(directory: RunDirectory, name: str, run: RunRecord) -> pa.Table:
    """Return a table of a run, empty if it recorded none. Raises RunDirectoryError if it cannot be read."""
    with readable(directory, name, run):
        return directory.table(name)


def _record(directory: RunDirectory) -> tuple[RunRecord, Scenario]:
    run = directory.read_run()
    current = with_new_keys(run.scenario)
    scenario = _scenario_of(msgspec.structs.replace(run, scenario=current), directory)
    if current != run.scenario or run.schema < SCHEMA:
        run = msgspec.structs.replace(run, scenario=scenario.resolved(), scenario_hash=scenario.hash())
    return run, scenario


def _merge_shards(directory: RunDirectory) -> None:
    """Merge the shards of a run that has ended, and write its audit, unless another command has just done so."""
    with directory.locked():
        if directory.has_shards():
            run = directory.read_run()
            directory.refuse_other_shards(run)
            damaged = directory.damaged_shards()
            for path, unread in damaged:
                tell(f"warning: {path}: the last {unread:,} bytes cannot be read; what they recorded is lost")
            directory.write_run(
                msgspec.structs.replace(
                    run,
                    audit=audit(directory),
                    peak_requests=peak_requests(directory),
                    unread_bytes=sum(unread for _, unread in damaged),
                )
            )
            directory.merge()


def _scenario_of(run: RunRecord, directory: RunDirectory) -> Scenario:
    """Return the scenario of a run. Raises RunDirectoryError if another version wrote it in another form."""
    path = directory.path / "run.json"
    if run.schema not in READABLE_SCHEMAS:
        readable = f"{READABLE_SCHEMAS[0]} to {READABLE_SCHEMAS[-1]}"
        raise RunDirectoryError(
            f"{path}: has schema {run.schema}, this version reads {readable}; use the one that wrote it"
        )
    try:
        return Scenario.model_validate(run.scenario)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in ("scenario", *first["loc"]))
        raise RunDirectoryError(f"{path}: {where}: {first['msg']}; {_advice_of_version(run)}") from None


def _advice_of_version(run: RunRecord) -> str:
    return f"use the version that wrote it: {run.versions.get('loadtest', 'not known')}"


@contextmanager
def readable(directory: RunDirectory, name: str, run: RunRecord) -> Iterator[None]:
    """Raise RunDirectoryError, one line with the file and a remedy, if a table is missing or cannot be read."""
    path = directory.path / f"{name}.parquet"
    advice = "copy the run directory again, whole"
    if name in REQUIRED_TABLES and not path.exists():
        raise RunDirectoryError(f"{path}: is missing; {advice}")
    try:
        yield
    except MissingColumnError as error:
        raise RunDirectoryError(f"{path}: {error}; {_advice_of_version(run)}") from None
    except OSError as error:
        # Arrow raises it without a number for a file that is cut off.
        remedy = reason_and_remedy(error) if error.errno else f"{str(error).splitlines()[0]}; {advice}"
        raise RunDirectoryError(f"{path}: cannot be read: {remedy}") from None
    except (pa.ArrowException, MissingValueError) as error:
        raise RunDirectoryError(f"{path}: cannot be read: {str(error).splitlines()[0]}; {advice}") from None
