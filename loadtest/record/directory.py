"""The run directory: everything that reports, gates and plans are made from, today and a year from now."""

from __future__ import annotations

import itertools
import platform
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from importlib.metadata import version
from io import FileIO
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from loadtest.errors import RecordingError, RunDirectoryError, reason_and_remedy
from loadtest.protocol.json_values import written_number
from loadtest.record.atomic_file import atomic_replace, readable_json, reserve_space, write_atomic
from loadtest.record.claim import DirectoryExists, lock, make_directory
from loadtest.record.row_groups import RowGroups, row_groups
from loadtest.record.run import RunRecord, StageSpan
from loadtest.record.sample import CANCELS, CHUNKS, HEALTH, REQUESTS, SAMPLES, in_schema
from loadtest.record.shards import Shard, batches, token_of, unread_bytes
from loadtest.scenario.model import Scenario

MASTER_PROCESS = -1
"""The number of the master, which sends no jobs."""
SENDS = pa.schema([("operation", pa.int8()), ("at", pa.float64())])
"""The send time of each request, if processes share a limit; the operation is its index in Op."""
TABLES = {"samples": SAMPLES, "requests": REQUESTS, "health": HEALTH, "chunks": CHUNKS, "cancels": CANCELS}
SHARDS = {**TABLES, "sends": SENDS}
"""The tables that processes append to; the sends are counted when shards are merged, and not kept."""
BASELINES = Path("reports", "baselines")
GONE = "was removed or renamed while the run went on; leave a run its directory"
_run_decoder = msgspec.json.Decoder(RunRecord, float_hook=written_number)
PACKAGES = ("loadtest", "locust", "gevent", "httptools", "numpy", "pyarrow")


class RunDirectory:
    """One run on disk, in the directory `path`; creating the object reads and writes nothing.

    A process of the run itself gives its `token`, and then touches no run that has taken its place.
    """

    def __init__(self, path: Path, token: str = "") -> None:
        self.path = path
        self.token = token
        self.report = path / "report.html"
        self.summary = path / "summary.json"
        self.gate = path / "gate.xml"
        self.workers = path / "workers"
        """The logs of SDK workers, if the run started any."""
        self._shards = self.scratch = path / "shards"  # what a killed process leaves there is dropped with them
        self._run = path / "run.json"
        self._reserve = self._shards / "reserve"
        self._lock: FileIO | None = None

    def create(self) -> None:
        """Make the directory, and hold its lock. Raises RunDirectoryError if it exists or cannot be made."""
        make_directory(self.path)
        self.claim()

    def claim(self) -> None:
        """Hold the lock of the directory, which this process has just made."""
        try:
            self._shards.mkdir()
            self._lock = lock(self._shards / "lock")
        except OSError as error:
            shutil.rmtree(self.path, ignore_errors=True)
            raise RunDirectoryError(f"{self.path}: cannot be locked: {reason_and_remedy(error)}") from None

    @property
    def lock_fds(self) -> list[int]:
        """Return the file descriptor by which a child process holds the lock too, if this process holds it."""
        return [] if self._lock is None else [self._lock.fileno()]

    def release(self) -> None:
        """Release the lock: from now on any process may merge the shards."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock. Raises RunDirectoryError if the run, or a command that merges its shards, holds it."""
        if self._lock is not None:
            yield
            return
        try:
            held = lock(self._shards / "lock")
        except FileNotFoundError:  # merged by another process since it was looked at
            yield
            return
        except OSError as error:
            problem = "has shards that cannot be merged"
            raise RunDirectoryError(f"{self.path}: {problem}: {reason_and_remedy(error)}") from None
        if held is None:
            raise RunDirectoryError(f"{self.path}: its run still goes on; wait for its end, then repeat the command")
        with held:
            yield

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
        """Replace `run.json`, whole or not at all; once the run has ended, in the reserved space.

        Raises RecordingError if it cannot be written, RunDirectoryError if it is that of another run by now.
        """
        if self.token:
            self.read_run()
        if run.ending is not None:
            self._reserve.unlink(missing_ok=True)
        write_atomic(self._run, readable_json(run))

    def remove(self) -> None:
        """Remove the directory with all its files; only the process that made it may do so."""
        assert self._lock is not None
        self.release()
        shutil.rmtree(self.path, ignore_errors=True)

    def read_run(self) -> RunRecord:
        """Read the record of the run. Raises RunDirectoryError if the directory has none, or that of another run."""
        try:
            run = _run_decoder.decode(self._run.read_bytes())
        except FileNotFoundError:
            raise RunDirectoryError(f"{self.path}: not a run directory: run.json is missing") from None
        except OSError as error:
            raise RunDirectoryError(f"{self._run}: cannot be read: {reason_and_remedy(error)}") from None
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise RunDirectoryError(
                f"{self._run}: cannot be read: {error}; copy the run directory again, whole"
            ) from None
        if self.token not in ("", run.token):
            raise RunDirectoryError(f"{self.path}: another run has taken its place; leave a run its directory")
        return run

    def exists(self) -> bool:
        """Return whether the record of a run is at this path."""
        return self._run.exists()

    def is_here(self) -> bool:
        """Return whether this machine sees the directory of the run with this token at this path."""
        try:
            return self.read_run().token == self.token
        except RunDirectoryError:
            return False

    def shard(self, table: str, process: int) -> Shard:
        """Return the shard of a table that one process appends to."""
        return Shard(self.shard_path(table, process), SHARDS[table], self.token)

    def refuse_other_shards(self, run: RunRecord) -> None:
        """Raise RunDirectoryError if one of the shards is not of this run."""
        for path in sorted(self._shards.glob("*.arrow")):
            if token_of(path) not in (None, run.token):
                raise RunDirectoryError(f"{path}: is of another run; move it away, then repeat the command")

    def damaged_shards(self) -> list[tuple[Path, int]]:
        """Return the shards that cannot be read to their end, and how many bytes of each."""
        shards = [
            (path, schema) for table, schema in SHARDS.items() for path in self._shards.glob(f"{table}-*.arrow")
        ]
        return [(path, unread) for path, schema in sorted(shards, key=str) if (unread := unread_bytes(path, schema))]

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
            raise RunDirectoryError(f"{self.path}: cannot be made: {reason_and_remedy(error)}") from error

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
            for rows in row_groups(schema, shards):
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


def make_results_directory(scenario: Scenario, named: Path | None) -> Path:
    """Make the directory that the user named, or else one named for the scenario and the time; return its path.

    Several of one scenario and one second are numbered. Raises RunDirectoryError if it cannot be made.
    """
    if named is not None:
        make_directory(named)
        return named
    name = f"{scenario.name}-{datetime.now(UTC):%Y%m%d-%H%M%S}"
    for number in itertools.count(1):
        path = Path("reports", name if number == 1 else f"{name}-{number}")
        with suppress(DirectoryExists):
            make_directory(path)
            break
    return path


def run_directory(named: Path) -> RunDirectory:
    """Return the run directory of this path, or the baseline of this name."""
    saved = BASELINES / named
    return RunDirectory(saved if not named.exists() and saved.exists() else named)


def create_run(scenario: Scenario, named: Path | None, command: str, note: str = "") -> RunDirectory:
    """Make the directory of a run, with the first `run.json`: what the processes of the run read their scenario from.

    This process holds its lock until it calls `release` or ends.

    Raises RunDirectoryError if the directory exists or cannot be made, RecordingError if the disk is full.
    """
    directory = RunDirectory(make_results_directory(scenario, named), secrets.token_hex(8))
    directory.claim()
    schedule = scenario.schedule()
    directory.write_first_record(
        RunRecord(
            id=directory.path.name,
            token=directory.token,
            scenario=scenario.resolved(),
            scenario_hash=scenario.hash(),
            seed=scenario.seed,
            target=scenario.target_name,
            command=command,
            note=note,
            versions={"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
            started_at=datetime.now(UTC).timestamp(),
            payloads={name: flow.payload_hash for name, flow in scenario.flows.items()},
            stages=[StageSpan(stage.label(n), stage.duration) for n, stage in enumerate(scenario.load.stages, 1)],
            offered={} if schedule is None else {flow: schedule.per_second(flow) for flow in scenario.flows},
        )
    )
    return directory
