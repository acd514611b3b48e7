from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from loadtest.errors import RecordingError, RunDirectoryError
from loadtest.protocol.client_messages import Health, JobCounts, WorkerCounts
from loadtest.protocol.operations import Op
from loadtest.record.directory import MASTER_PROCESS, RunDirectory
from loadtest.record.recorder import HealthWriter, Recorder
from loadtest.record.sample import SAMPLES, ChunkSeen, Sample
from loadtest.record.shards import Shard
from tests.conftest import MadeUpRun


@pytest.fixture
def directory(tmp_path: Path) -> RunDirectory:
    made = RunDirectory(tmp_path / "run")
    made.create()
    return made


def recorded(directory: RunDirectory, jobs: int = 10) -> Recorder:
    recorder = Recorder(directory, process=2)
    for seq in range(jobs):
        sample = Sample(seq, "stream", 100.0 + seq, outcome="completed", sent_at=100.5 + seq, delay_ms=seq, chunks=2)
        recorder.record([(sample, (ChunkSeen(101.0, 1), ChunkSeen(102.0, 3)))])
    return recorder


def test_recorded_rows_are_read_back(directory: RunDirectory) -> None:
    recorder = recorded(directory)
    recorder.close()
    directory.merge()
    samples = directory.table("samples").to_pylist()
    assert [row["seq"] for row in samples] == list(range(10))
    assert samples[3]["sent_at"] == 103.5
    assert samples[3]["delay_ms"] == 3
    assert samples[3]["execution_ms"] is None
    assert {row["process"] for row in samples} == {2}
    assert directory.table("chunks").num_rows == 20
    assert not (directory.path / "shards").exists()


def test_health_is_written_with_the_requests_that_asked_for_it(directory: RunDirectory) -> None:
    writer = HealthWriter(directory)
    for at, health in ((5.0, Health(JobCounts(in_queue=3), WorkerCounts(idle=1, throttled=2))), (6.5, None)):
        writer.sent(at)
        writer.answered(200 if health else 0, at, at + 0.1, health)
    writer.close()
    directory.merge()
    rows = directory.table("health").to_pylist()
    assert [(row["at"], row["in_queue"], row["idle"], row["throttled"]) for row in rows] == [(5.1, 3, 1, 2)]
    requests = directory.table("requests").to_pylist()
    assert [(row["second"], row["process"], row["operation"], row["status"]) for row in requests] == [
        (5.0, MASTER_PROCESS, "health", 200),
        (6.0, MASTER_PROCESS, "health", 0),
    ]


def test_column_added_after_schema_1_reads_as_null(directory: RunDirectory) -> None:
    old = pa.schema([field for field in SAMPLES if field.name != "error_kind"])
    shard = Shard(directory.shard_path("samples", 0), old)
    rows = pa.Table.from_pylist([{"seq": 7, "error": "connection lost"}], old).to_batches()
    shard.append(rows[0].to_pydict().values())
    shard.close()
    directory.merge()
    assert [(row["seq"], row["error_kind"]) for row in directory.table("samples").to_pylist()] == [(7, None)]
    pq.write_table(pa.Table.from_batches(rows), directory.path / "samples.parquet")
    [piece] = directory.pieces("samples", ["error_kind", "seq"])
    assert piece.to_pylist() == [{"error_kind": None, "seq": 7}]


def test_columns_are_the_fields_of_a_sample() -> None:
    assert set(SAMPLES.names) == set(Sample.__struct_fields__)


def test_requests_are_counted_by_second_operation_and_status(directory: RunDirectory) -> None:
    recorder = Recorder(directory)
    for at in (10.1, 10.5, 10.9, 11.2):
        recorder.requests[Op.RUN].sent(at)
        recorder.requests[Op.RUN].answered(200, at, at + 0.05)
    recorder.requests[Op.RUN].answered(429, 10.2, 10.3)
    recorder.flush(11.5)
    recorder.close()
    directory.merge()
    rows = {(row["second"], row["status"]): row for row in directory.table("requests").to_pylist()}
    assert {key: row["requests"] for key, row in rows.items()} == {(10, 200): 3, (10, 429): 1, (11, 200): 1}
    assert rows[10, 200]["latency_ms_p95"] == pytest.approx(50)
    assert rows[11, 200]["most_in_10_s"] == 4


@pytest.mark.parametrize("kept", [0.99, 0.6, 0.3])
def test_torn_shard_keeps_its_whole_batches(directory: RunDirectory, kept: float) -> None:
    recorder = Recorder(directory)
    for seq in range(100):
        recorder.record([(Sample(seq, "run", 1.0), ())])
    recorder.close()
    shard = next((directory.path / "shards").glob("samples-*"))
    shard.write_bytes(shard.read_bytes()[: int(shard.stat().st_size * kept)])
    directory.merge()
    rows = directory.table("samples").column("seq").to_pylist()
    assert rows == list(range(len(rows)))
    assert len(rows) >= 100 * kept - 12


def test_flush_writes_all_rows(directory: RunDirectory) -> None:
    recorded(directory, jobs=7).flush(0.0)
    directory.merge()
    assert directory.table("samples").num_rows == 7


def test_no_shards_make_empty_tables(directory: RunDirectory) -> None:
    directory.merge()
    assert pq.read_table(directory.path / "samples.parquet").schema.names == SAMPLES.names
    assert directory.table("health").num_rows == 0


def test_merging_again_changes_nothing(directory: RunDirectory) -> None:
    recorded(directory).close()
    directory.merge()
    directory.merge()
    assert directory.table("samples").num_rows == 10


def test_existing_directory_is_refused(directory: RunDirectory) -> None:
    with pytest.raises(RunDirectoryError, match="name another with --out"):
        RunDirectory(directory.path).create()


def test_directory_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunDirectoryError, match=r"run\.json is missing"):
        RunDirectory(tmp_path).read_run()


def test_missing_shard_directory_is_a_recording_error(directory: RunDirectory) -> None:
    recorder = recorded(directory)
    (directory.path / "shards").rename(directory.path / "elsewhere")
    with pytest.raises(RecordingError, match="cannot record"):
        recorder.flush(0.0)


@contextmanager
def no_file_longer_than(size: int) -> Iterator[None]:
    """Limit file sizes as a disk does that is nearly full: the system writes the beginning only."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("space", [0, 1, 700, 1600])
def test_rows_refused_by_a_full_disk_are_recorded_once_there_is_space(directory: RunDirectory, space: int) -> None:
    recorder = recorded(directory, jobs=10)
    shard = next((directory.path / "shards").glob("samples-*"))
    size = shard.stat().st_size
    with no_file_longer_than(size + space):
        recorder.record([(Sample(10, "run", 1.0), ())])
        recorder.record([(Sample(11, "run", 1.0), ())])
        with pytest.raises(RecordingError, match="ulimit -f unlimited"):
            recorder.flush(0.0)
    assert shard.stat().st_size == size
    recorder.record([(Sample(12, "run", 1.0), ())])
    recorder.close()
    directory.merge()
    assert directory.table("samples").column("seq").to_pylist() == list(range(13))
    assert directory.table("chunks").num_rows == 20


def test_recorder_closed_on_a_full_disk_keeps_the_rows_written_before(directory: RunDirectory) -> None:
    recorder = recorded(directory, jobs=10)
    shard = next((directory.path / "shards").glob("samples-*"))
    with no_file_longer_than(shard.stat().st_size):
        recorder.record([(Sample(10, "run", 1.0), ())])
        with pytest.raises(RecordingError):
            recorder.close()
    directory.merge()
    assert directory.table("samples").num_rows == 10


def test_run_keeps_its_shards_if_the_results_cannot_be_written(directory: RunDirectory) -> None:
    recorded(directory).close()
    with no_file_longer_than(100), pytest.raises(RecordingError, match=r"samples\.parquet: cannot be written"):
        directory.merge()
    assert not list(directory.path.glob(".*"))
    directory.merge()
    assert directory.table("samples").num_rows == 10


def test_last_record_of_a_run_uses_the_reserved_space(directory: RunDirectory, steady: MadeUpRun) -> None:
    directory.write_first_record(msgspec.structs.replace(steady.run, ending=None))
    reserved = (directory.path / "shards" / "reserve").stat().st_size
    assert reserved > 2 * (directory.path / "run.json").stat().st_size
    directory.write_run(steady.run)
    assert not (directory.path / "shards" / "reserve").exists()
    assert directory.read_run() == steady.run


ODD_VALUES = {
    "delay_ms": 2**63,
    "execution_ms": -(2**63) - 1,
    "output_tokens": 10**20,
    "input_tokens": "many",
    "chunks": 2**64,
    "job_id": "a\ud800",
    "worker_id": "\udfff",
    "error": "no \ud83d",
    "http_status": 40_000,
}


@pytest.mark.parametrize("process", [0, 2])
@pytest.mark.parametrize("name", ODD_VALUES)
def test_value_that_no_row_can_hold_costs_that_job_alone(directory: RunDirectory, name: str, process: int) -> None:
    recorder = Recorder(directory, process)
    good = [Sample(seq, "run", 1.0, outcome="completed", delay_ms=7, job_id=f"id-{seq}") for seq in range(20)]
    recorder.record([(sample, ()) for sample in good])
    odd = Sample(20, "run", 1.0, outcome="completed", sent_at=1.5, finished_at=2.0)
    setattr(odd, name, ODD_VALUES[name])
    recorder.record([(odd, ()), (Sample(21, "run", 1.0, outcome="completed"), ())])
    recorder.close()
    directory.merge()
    rows = directory.table("samples").to_pylist()
    assert [row["seq"] for row in rows] == list(range(22))
    bad = [row for row in rows if row["outcome"] != "completed"]
    assert [(row["seq"], row["outcome"], row["error_kind"]) for row in bad] == [
        (20, "bad_answer", "invalid_response")
    ]
    assert bad[0]["error"] == f"{name}: the endpoint's value cannot be recorded"
    assert (bad[0]["sent_at"], bad[0]["finished_at"]) == (1.5, 2.0)
    assert (rows[0]["delay_ms"], rows[0]["job_id"]) == (7, "id-0")


def test_odd_health_is_a_row_without_the_odd_count(directory: RunDirectory) -> None:
    writer = HealthWriter(directory)
    writer.answered(200, 5.0, 5.1, Health(JobCounts(in_queue=2**40, in_progress=2), WorkerCounts(idle=1)))
    writer.close()
    directory.merge()
    [row] = directory.table("health").to_pylist()
    assert (row["in_queue"], row["in_progress"], row["idle"]) == (None, 2, 1)


def test_shard_never_replaces_another(directory: RunDirectory) -> None:
    recorded(directory).close()
    again = recorded(directory)
    with pytest.raises(RecordingError, match=r"samples-2\.arrow: cannot record: File exists"):
        again.close()
    directory.merge()
    assert directory.table("samples").num_rows == 10
