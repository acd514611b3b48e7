from __future__ import annotations

from pathlib import Path

import pytest

from loadtest.errors import RecordingError
from loadtest.protocol.operations import Op
from loadtest.record.audit import PersistentCounter, audit, peak_requests, read_count, write_count
from loadtest.record.directory import MASTER_PROCESS, RunDirectory
from loadtest.record.recorder import Recorder
from loadtest.record.run import Audit
from loadtest.record.sample import Sample
from loadtest.record.shards import append_at


@pytest.fixture
def directory(tmp_path: Path) -> RunDirectory:
    made = RunDirectory(tmp_path / "run")
    made.create()
    return made


def test_count_is_on_disk_after_each_job(tmp_path: Path) -> None:
    tally = PersistentCounter(tmp_path / "count")
    for expected in range(1, 4):
        tally.add()
        assert read_count(tmp_path / "count") == expected


def test_count_on_a_full_disk_raises_and_reads_as_zero(tmp_path: Path) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("this system has no /dev/full")
    with pytest.raises(RecordingError, match="/dev/full: cannot record: No space left on device; free some space"):
        write_count(full, 1)
    (tmp_path / "count").touch()
    assert read_count(tmp_path / "count") == 0


def test_audit_counts_jobs_sent_without_a_row(directory: RunDirectory) -> None:
    whole, torn = Recorder(directory, 0), Recorder(directory, 1)
    Recorder(directory, MASTER_PROCESS).close()
    for recorder in (whole, torn):
        for seq in range(5):
            recorder.tally.add()
            recorder.record([(Sample(seq, "run", 1.0, sent_at=1.0), ())])
    whole.close()
    torn.flush(0.0)
    torn.tally.add()
    torn.tally.add()
    assert audit(directory) == [Audit(0, 5, 5), Audit(1, 7, 5)]


def test_audit_of_a_remote_process_uses_its_reported_count(directory: RunDirectory) -> None:
    write_count(directory.reported_count_path(3), 12)
    assert audit(directory) == [Audit(3, 12, 0)]


def test_shard_copy_accepts_bytes_in_any_order_and_twice(tmp_path: Path) -> None:
    source, copy = tmp_path / "source", tmp_path / "copy"
    content = bytes(range(100))
    source.write_bytes(content)
    assert append_at(copy, 0, content[0:40]) == 40
    assert append_at(copy, 80, content[80:120]) == 40
    assert append_at(copy, 0, content[0:40]) == 40
    assert append_at(copy, 40, content[40:140]) == 100
    assert copy.read_bytes() == source.read_bytes()


def test_fullest_10_s_are_counted_over_all_processes(directory: RunDirectory) -> None:
    for process, start_at in ((0, 100.0), (1, 104.0)):
        recorder = Recorder(directory, process, keep_sends=True)
        for n in range(6):
            recorder.requests[Op.RUN].sent(start_at + n)
        recorder.requests[Op.HEALTH].sent(start_at)
        recorder.close()
    # from 100 to 109: six of the first process, from 104 on six of the second
    assert peak_requests(directory) == {"run": 12, "health": 2}
    directory.merge()
    assert not (directory.path / "sends.parquet").exists()


def test_shards_that_a_crash_left_over_are_not_read_as_the_run(directory: RunDirectory) -> None:
    recorder = Recorder(directory)
    for seq in range(5):
        recorder.record([(Sample(seq, "run", 1.0), ())])
    recorder.close()
    directory.merge()
    (directory.path / "shards").mkdir()
    assert not directory.has_shards()
    directory.merge()
    assert directory.table("samples").num_rows == 5
