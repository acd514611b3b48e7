"""The run directory: everything that later stages need, and nothing that they cannot read a year from now."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from loadtest.errors import RecordingError, RunDirectoryError
from loadtest.record.atomic_file import atomic_replace, reserve_space, write_atomic
from loadtest.record.parquet import RowGroups, require_columns
from loadtest.record.run import RunRecord
from loadtest.record.sample import CHUNKS, HEALTH, REQUESTS, SAMPLES
from loadtest.record.shards import Shard, batches

MASTER_PROCESS = -1
"""The number of the process that leads and sends no jobs."""
SENDS = pa.schema([("operation", pa.int8()), ("at", pa.float64())])
"""Where many processes share a limit: when each request was sent, its operation by its place in Op."""
TABLES = {"samples": SAMPLES, "requests": REQUESTS, "health": HEALTH, "chunks": CHUNKS}
SHARDS = {**TABLES, "sends": SENDS}
"""What processes append to; the sends are counted when shards are merged, and not kept."""
ROW_GROUP = 128 * 1024


BASELINES = Path("reports", "baselines")


class RunDirectory:
    """One run on disk. `path` is the directory; nothing is read or made before it is asked for."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.report = path / "report.html"
        self.summary = path / "summary.json"
        self.gate = path / "gate.xml"
        self.workers = path / "workers"
        """The logs of real workers, where the run started any."""
        self._shards = path / "shards"
        self._run = path / "run.json"
        self._reserve = self._shards / "reserve"

    def create(self) -> None:
        """Make the directory; RunDirectoryError where it holds something already or cannot be made."""
        try:
            self._shards.mkdir(parents=True)
        except FileExistsError:
            raise RunDirectoryError(f"{self.path}: holds a run already; name another with --out") from None
        except OSError as error:
            raise RunDirectoryError(
                f"{self.path}: cannot be made: {error.strerror}; name another with --out"
            ) from error

    def write_first_record(self, run: RunRecord) -> None:
        """Write the first record, and set room aside for the last: how a run ended is told on a full disk too.

        Where there is no room for that, the directory goes again and RecordingError says so.
        """
        content = _record(run)
        try:
            self.write(self._run, content)
            reserve_space(self._reserve, content)
        except RecordingError:
            shutil.rmtree(self.path, ignore_errors=True)
            raise

    def write_run(self, run: RunRecord) -> None:
        """Replace `run.json`, whole or not at all; once the run has ended, with the room that was set aside."""
        if run.ending is not None:
            self._reserve.unlink(missing_ok=True)
        self.write(self._run, _record(run))

    def write(self, path: Path, content: bytes) -> None:
        """Replace a file of the directory, whole or not at all; RecordingError where the disk refuses."""
        write_atomic(path, content)

    def has_record(self) -> bool:
        """Whether a run has begun here."""
        return self._run.exists()

    def read_run(self) -> RunRecord:
        """The record of the run; RunDirectoryError where the directory holds none."""
        try:
            return msgspec.json.decode(self._run.read_bytes(), type=RunRecord)
        except OSError:
            raise RunDirectoryError(f"{self.path}: is no run directory: run.json is missing") from None
        except msgspec.MsgspecError as error:
            raise RunDirectoryError(f"{self._run}: cannot be read: {error}") from None

    def shard(self, table: str, process: int) -> Shard:
        """A shard of a table for one process to append to."""
        return Shard(self.shard_path(table, process), SHARDS[table])

    def shard_path(self, table: str, process: int) -> Path:
        """Where a process appends its rows of a table."""
        return self._shards / f"{table}-{process}.arrow"

    def sent_count_path(self, process: int) -> Path:
        """Where a process counts the jobs that it has sent."""
        return self._shards / f"sent-{process}.count"

    def reported_count_path(self, process: int) -> Path:
        """Where the lead notes how many jobs another process said it has sent."""
        return self._shards / f"told-{process}.count"

    def processes(self) -> list[int]:
        """The processes that sent jobs, as far as their shards are still there."""
        counts = (path.stem.partition("-")[2] for path in self._shards.glob("*.count"))
        return sorted({int(process) for process in counts} - {MASTER_PROCESS})

    def send_times(self) -> dict[int, list[NDArray[np.float64]]]:
        """When the requests of each operation were sent, as far as shards tell; by the operation's place in Op."""
        sent: dict[int, list[NDArray[np.float64]]] = {}
        for shard in sorted(self._shards.glob("sends-*.arrow")):
            for batch in batches(shard, SENDS):
                sent.setdefault(batch.column("operation")[0].as_py(), []).append(batch.column("at").to_numpy())
        return sent

    def has_shards(self) -> bool:
        """Whether what was recorded is still in shards."""
        return self._shards.is_dir() and (any(self._shards.iterdir()) or not self._parquet("samples").exists())

    def shard_named(self, name: str, process: int) -> Path:
        """Where a shard that another process names is copied to; RecordingError where it is none of its own."""
        paths = (self.shard_path(table, process) for table in SHARDS)
        for path in paths:
            if path.name == name:
                return path
        raise RecordingError(f"{name}: is no shard of process {process}")

    def create_local(self) -> None:
        """Make a place for the shards of a process that does not share the lead's disk."""
        try:
            self._shards.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunDirectoryError(f"{self.path}: cannot be made: {error.strerror}") from error

    def merge(self) -> None:
        """Put the shards of each table together as Parquet, batch by batch, then drop them.

        They are dropped as a whole: one that is left over from a crash is never taken for the run.
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
            atomic_replace(self._parquet(table)) as beside,
            pq.ParquetWriter(beside, schema, compression="zstd") as writer,
        ):
            for rows in _row_groups(schema, shards):
                writer.write_table(rows)

    def _parquet(self, table: str) -> Path:
        return self.path / f"{table}.parquet"

    def pieces(self, name: str, columns: Sequence[str]) -> RowGroups:
        """Some columns of a table of the merged run, a piece of its rows at a time."""
        return RowGroups(self._parquet(name), TABLES[name], columns)

    def table(self, name: str) -> pa.Table:
        """A table of the merged run, in its schema; empty where nothing of its kind was recorded."""
        schema = TABLES[name]
        path = self._parquet(name)
        if not path.exists():
            return schema.empty_table()
        found = pq.read_table(path)
        require_columns(found.schema, schema)
        return found.select(schema.names).cast(schema)


def _record(run: RunRecord) -> bytes:
    return msgspec.json.format(msgspec.json.encode(run), indent=2)


def _row_groups(schema: pa.Schema, shards: list[Path]) -> Iterator[pa.Table]:
    """The rows of all shards in pieces of about ROW_GROUP rows, so that memory stays flat."""
    held: list[pa.RecordBatch] = []
    for shard in shards:
        for batch in batches(shard, schema):
            held.append(batch)
            if sum(each.num_rows for each in held) >= ROW_GROUP:
                yield pa.Table.from_batches(held, schema)
                held = []
    if held:
        yield pa.Table.from_batches(held, schema)


def run_directory(named: Path) -> RunDirectory:
    """Return the run directory of this path, or the baseline of this name."""
    saved = BASELINES / named
    return RunDirectory(saved if not named.exists() and saved.exists() else named)
