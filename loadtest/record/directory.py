"""The run directory: everything that reports, gates and plans are made from, today and a year from now."""

from __future__ import annotations

import platform
import shutil
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from loadtest.errors import RecordingError, RunDirectoryError
from loadtest.json_values import written_number
from loadtest.record.atomic_file import atomic_replace, readable_json, reserve_space, write_atomic
from loadtest.record.run import RunRecord, StageSpan
from loadtest.record.sample import CANCELS, CHUNKS, HEALTH, REQUESTS, SAMPLES, in_schema, require_columns
from loadtest.record.shards import Shard, batches
from loadtest.scenario.model import Scenario

MASTER_PROCESS = -1
"""The number of the master, which sends no jobs."""
SENDS = pa.schema([("operation", pa.int8()), ("at", pa.float64())])
"""The send time of each request, if processes share a limit; the operation is its index in Op."""
TABLES = {"samples": SAMPLES, "requests": REQUESTS, "health": HEALTH, "chunks": CHUNKS, "cancels": CANCELS}
SHARDS = {**TABLES, "sends": SENDS}
"""The tables that processes append to; the sends are counted when shards are merged, and not kept."""
ROW_GROUP = 128 * 1024
DICTIONARY_COLUMNS = tuple(field.name for field in SAMPLES if field.type == pa.string() and field.name != "job_id")
"""The text columns whose values repeat; each job id is another."""
BASELINES = Path("reports", "baselines")
_run_decoder = msgspec.json.Decoder(RunRecord, float_hook=written_number)
PACKAGES = ("loadtest", "locust", "gevent", "httptools", "numpy", "pyarrow")


class RunDirectory:
    """One run on disk, in the directory `path`; creating the object reads and writes nothing."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.report = path / "report.html"
        self.summary = path / "summary.json"
        self.gate = path / "gate.xml"
        self.workers = path / "workers"
        """The logs of SDK workers, if the run started any."""
        self._shards = path / "shards"
        self._run = path / "run.json"
        self._reserve = self._shards / "reserve"

    def create(self) -> None:
        """Make the directory. Raises RunDirectoryError if it exists or cannot be made."""
        make_directory(self.path)
        self._shards.mkdir()

    def write_first_record(self, run: RunRecord) -> None:
        """Write the first record, and reserve space for the last, which says how the run ended even on a full disk.

        Raises RecordingError, and removes the directory, if there is not enough space.
        """
        content = readable_json(run)
        try:
            write_atomic(self._run, content)
            reserve_space(self._reserve, content)
        except RecordingError:
            self.remove()
            raise

    def write_run(self, run: RunRecord) -> None:
        """Replace `run.json`, whole or not at all; once the run has ended, in the reserved space."""
        if run.ending is not None:
            self._reserve.unlink(missing_ok=True)
        write_atomic(self._run, readable_json(run))

    def remove(self) -> None:
        """Remove the directory with all its files."""
        shutil.rmtree(self.path, ignore_errors=True)

    def read_run(self) -> RunRecord:
        """Read the record of the run. Raises RunDirectoryError if the directory has none."""
        try:
            return _run_decoder.decode(self._run.read_bytes())
        except OSError:
            raise RunDirectoryError(f"{self.path}: not a run directory: run.json is missing") from None
        except msgspec.MsgspecError as error:
            raise RunDirectoryError(f"{self._run}: cannot be read: {error}") from None

    def shard(self, table: str, process: int) -> Shard:
        """Return the shard of a table that one process appends to."""
        return Shard(self.shard_path(table, process), SHARDS[table])

    def shard_path(self, table: str, process: int) -> Path:
        """Return the path of the shard of a table and process."""
        return self._shards / f"{table}-{process}.arrow"

    def sent_count_path(self, process: int) -> Path:
        """Return the path at which a process counts the jobs that it has sent."""
        return self._shards / f"sent-{process}.count"

    def reported_count_path(self, process: int) -> Path:
        """Return the path at which the master keeps the count that another process reported."""
        return self._shards / f"told-{process}.count"

    def processes(self) -> list[int]:
        """Return the processes that sent jobs and whose shards are still there."""
        counts = (path.stem.partition("-")[2] for path in self._shards.glob("*.count"))
        return sorted({int(process) for process in counts} - {MASTER_PROCESS})

    def send_times(self) -> dict[int, list[NDArray[np.float64]]]:
        """Return when requests were sent, from the shards that are there, by the index of their operation in Op."""
        sent: dict[int, list[NDArray[np.float64]]] = {}
        for shard in sorted(self._shards.glob("sends-*.arrow")):
            for batch in batches(shard, SENDS):
                sent.setdefault(batch.column("operation")[0].as_py(), []).append(batch.column("at").to_numpy())
        return sent

    def has_shards(self) -> bool:
        """Return whether the rows are still in shards."""
        return self._shards.is_dir() and (any(self._shards.iterdir()) or not self._parquet("samples").exists())

    def shard_named(self, name: str, process: int) -> Path:
        """Return the path of a process's shard by its file name. Raises RecordingError if it has no such shard."""
        paths = (self.shard_path(table, process) for table in SHARDS)
        for path in paths:
            if path.name == name:
                return path
        raise RecordingError(f"{name}: not a shard of process {process}")

    def create_local(self) -> None:
        """Make the directory of a process that does not share the master's disk."""
        try:
            self._shards.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunDirectoryError(f"{self.path}: cannot be made: {error.strerror}") from error

    def merge(self) -> None:
        """Merge the shards of each table into Parquet, batch by batch, then drop them.

        They are dropped all at once: a shard that a crash left over is never taken for the run.
        """
        if not self.has_shards():
            return
        for table, schema in TABLES.items():
            shards = sorted(self._shards.glob(f"{table}-*.arrow"))
            if shards or table in ("samples", "requests"):
                self._write_parquet(table, schema, shards)
        merged = self.path / ".merged"
        self._shards.rename(merged)
        shutil.rmtree(merged)

    def _write_parquet(self, table: str, schema: pa.Schema, shards: list[Path]) -> None:
        with (
            atomic_replace(self._parquet(table)) as partial,
            pq.ParquetWriter(partial, schema, compression="zstd") as writer,
        ):
            for rows in _row_groups(schema, shards):
                writer.write_table(rows)

    def _parquet(self, table: str) -> Path:
        return self.path / f"{table}.parquet"

    def pieces(self, name: str, columns: Sequence[str]) -> RowGroups:
        """Return some columns of a table of the merged run, to be read one row group at a time."""
        return RowGroups(self._parquet(name), TABLES[name], columns)

    def table(self, name: str) -> pa.Table:
        """Read a table of the merged run, in its schema; empty if the run recorded no such table."""
        schema = TABLES[name]
        path = self._parquet(name)
        if not path.exists():
            return schema.empty_table()
        return in_schema(pq.read_table(path), schema)


def make_directory(path: Path) -> None:
    """Make a directory for results. Raises RunDirectoryError if it exists or cannot be made."""
    try:
        path.mkdir(parents=True)
    except FileExistsError:
        raise RunDirectoryError(f"{path}: exists already; name another with --out") from None
    except OSError as error:
        raise RunDirectoryError(f"{path}: cannot be made: {error.strerror}; name another with --out") from None


def _row_groups(schema: pa.Schema, shards: list[Path]) -> Iterator[pa.Table]:
    """Yield the rows of all shards in tables of about ROW_GROUP rows, so that memory stays flat."""
    pending: list[pa.RecordBatch] = []
    for shard in shards:
        for batch in batches(shard, schema):
            pending.append(batch)
            if sum(part.num_rows for part in pending) >= ROW_GROUP:
                yield pa.Table.from_batches(pending, schema)
                pending = []
    if pending:
        yield pa.Table.from_batches(pending, schema)


def run_directory(named: Path) -> RunDirectory:
    """Return the run directory of this path, or the baseline of this name."""
    saved = BASELINES / named
    return RunDirectory(saved if not named.exists() and saved.exists() else named)


def default_path(scenario: Scenario) -> Path:
    """Return the path of a run directory that the user did not name: the scenario's name and the time."""
    return Path("reports", f"{scenario.name}-{datetime.now(UTC):%Y%m%d-%H%M%S}")


def create_run(scenario: Scenario, path: Path, command: str) -> RunDirectory:
    """Make the directory of a run, with the first `run.json`: what the processes of the run read their scenario from.

    Raises RunDirectoryError if the directory exists or cannot be made, RecordingError if the disk is full.
    """
    directory = RunDirectory(path)
    directory.create()
    schedule = scenario.schedule()
    directory.write_first_record(
        RunRecord(
            id=path.name,
            scenario=scenario.resolved(),
            scenario_hash=scenario.hash(),
            seed=scenario.seed,
            target=scenario.target_name,
            command=command,
            versions={"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
            started_at=datetime.now(UTC).timestamp(),
            payloads={name: flow.payload_hash for name, flow in scenario.flows.items()},
            stages=[StageSpan(stage.label(n), stage.duration) for n, stage in enumerate(scenario.load.stages, 1)],
            offered={} if schedule is None else {flow: schedule.per_second(flow) for flow in scenario.flows},
        )
    )
    return directory


class RowGroups:
    """Some columns of a Parquet file, row group by row group; `rows` is how many all of them hold.

    Columns of repeated text are dictionary-encoded, which takes a tenth of the memory.
    """

    def __init__(self, path: Path, schema: pa.Schema, columns: Sequence[str]) -> None:
        found = pq.read_schema(path)
        require_columns(found, schema)
        encoded = [name for name in columns if name in DICTIONARY_COLUMNS and name in found.names]
        self._file = pq.ParquetFile(path, read_dictionary=encoded)
        self._schema = pa.schema([_encoded(schema.field(name)) for name in columns])
        self.rows: int = self._file.metadata.num_rows

    def __iter__(self) -> Iterator[pa.Table]:
        for group in range(self._file.num_row_groups):
            yield in_schema(self._file.read_row_group(group, columns=self._schema.names), self._schema)


def _encoded(field: pa.Field) -> pa.Field:
    return pa.field(field.name, pa.dictionary(pa.int32(), pa.string())) if field.name in DICTIONARY_COLUMNS else field
