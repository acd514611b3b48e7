"""A disk that fills up while a run goes on: the run ends, says what to do, and keeps its results so far."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from loadtest.record.sample import SAMPLES
from loadtest.record.shards import batches
from tests.integration.run.conftest import FAST, Command, Run, Start, open_load, sending

RUN = open_load("60/s", "90s", endpoint=FAST)
ENDS_WITHIN_S = 60.0
Workers = Callable[..., list[subprocess.Popen[bytes]]]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 4 MB, in memory."""
    mount_point = tmp_path / "disk"
    mount_point.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(mount_point)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if mounted.returncode != 0:
        pytest.skip(f"mounting a disk needs root: {mounted.stderr.strip()}")
    yield mount_point
    # lazily, since a process that is ending may still have it open
    subprocess.run(["umount", "--lazy", str(mount_point)], check=True)


@pytest.fixture
def workers() -> Iterator[Workers]:
    """`workers(address, *folders)`: a `loadtest worker` for each folder that it keeps its samples in."""
    begun: list[subprocess.Popen[bytes]] = []

    def begin(address: str, *folders: Path) -> list[subprocess.Popen[bytes]]:
        command = [sys.executable, "-m", "loadtest", "worker", "--master", address, "--keep"]
        begun.extend(subprocess.Popen([*command, str(keep)], stdin=subprocess.DEVNULL) for keep in folders)
        return begun

    yield begin
    for worker in begun:
        worker.kill()
        worker.wait()


def fill(disk: Path) -> Path:
    """Take all the room that is left; returns the file that holds it."""
    ballast = disk / "ballast"
    with suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    return ballast


@pytest.mark.parametrize("processes", [1, 2])
def test_full_disk_ends_the_run_and_earlier_samples_make_a_report(
    start: Start, command: Command, disk: Path, processes: int
) -> None:
    begun = start(RUN, "--processes", str(processes), out=disk / "run")
    sending(begun, processes)
    time.sleep(1.5)
    full_at = time.time()
    ballast = fill(disk)
    finished = begun.finish(ENDS_WITHIN_S)
    went_on_s = time.time() - full_at
    assert finished.status == 5
    assert finished.stdout == ""
    last = finished.stderr.splitlines()[-1]
    assert last.startswith(f"loadtest: {begun.out}/")
    assert "No space left on device; free some space" in last
    assert last.endswith(f"loadtest recover {begun.out}")
    assert "Traceback" not in finished.stderr
    ballast.unlink()
    recovered = command("recover", str(begun.out))
    assert recovered.status == 0, recovered.stderr
    assert finished.is_complete()
    assert finished.summary["verdict"] == "aborted"
    assert "No space left on device" in finished.summary["reason"]
    rows = finished.samples
    assert len(rows) == sum(each["recorded"] for each in finished.run["audit"])
    assert len([row for row in rows if row["finished_at"] and row["finished_at"] < full_at - 1]) > 10
    assert 0 < sum(finished.missing()) < 1.5 * 60 * (went_on_s + 1)


def test_search_that_meets_a_full_disk_keeps_its_probes(start: Start, command: Command, disk: Path) -> None:
    begun = start(
        open_load(
            "40/s",
            "1500ms",
            arrivals="constant",
            search={"max_rate": "60/s"},
            gates=["delay p90 < 5s"],
            endpoint=FAST,
            validity={"send_lag": "30s", "cpu": "100 %", "completed": 20},
        ),
        out=disk / "search",
    )
    sending(begun.out / "probe-01")
    sending(begun.out / "probe-02")
    kept = json.loads((begun.out / "search.json").read_text())
    assert [each["outcome"] for each in kept["probes"]] == ["passes"]
    assert (kept["verdict"], kept["ended"], kept["highest_passing_per_s"]) == ("aborted", "stopped", 40)
    ballast = fill(disk)
    finished = begun.finish(ENDS_WITHIN_S)
    assert finished.status == 5
    assert "Traceback" not in finished.stderr
    assert f"loadtest: {begun.out}/search.html: cannot be written: No space left on device" in finished.stderr
    assert f"{begun.out}/search.json" in finished.stdout
    found = json.loads((begun.out / "search.json").read_text())
    assert [each["outcome"] for each in found["probes"]] == ["passes", "stopped"]
    assert "40/s" in found["reason"]
    assert "60/s" in found["reason"]
    assert found["reason"].endswith(f"loadtest recover {begun.out}/probe-02")
    ballast.unlink()
    assert command("recover", str(begun.out / "probe-02")).status == 0


def test_disk_that_is_full_from_the_start_is_one_line(run: Run, disk: Path) -> None:
    fill(disk)
    finished = run(RUN, out=disk / "run")
    assert finished.status == 5
    assert "run.json: cannot be written: No space left on device; free some space" in finished.stderr
    assert len(finished.stderr.splitlines()) == 1
    assert not finished.out.exists(), "a directory without a run would block the next one"


def test_workers_keep_their_samples_when_the_disk_of_the_master_is_full(
    start: Start, command: Command, workers: Workers, disk: Path, free_port: int, tmp_path: Path
) -> None:
    address = f"127.0.0.1:{free_port}"
    begun = start(RUN, "--expect-workers", "2", "--bind", address, out=disk / "run")
    both = workers(address, tmp_path / "own", tmp_path / "own")
    sending(begun, 2)
    time.sleep(1)
    ballast = fill(disk)
    finished = begun.finish(ENDS_WITHIN_S)
    assert [process.wait(20) for process in both] == [0, 0]
    assert finished.status == 5
    ballast.unlink()
    recovered = command("recover", str(begun.out))
    # The last batch that the master wrote may be torn; the workers have theirs.
    assert recovered.status == (3 if finished.run.get("unread_bytes") else 0)
    assert finished.is_complete()
    assert "No space left on device" in finished.summary["reason"]
    assert finished.run["lost"] == []
    assert len(finished.samples) > 20
    assert sum(finished.missing()) > 0
    shards = (tmp_path / "own").rglob("samples-*.arrow")
    kept = sum(batch.num_rows for shard in shards for batch in batches(shard, SAMPLES))
    assert kept == sum(each["sent"] for each in finished.run["audit"])


@pytest.mark.parametrize("full_from_the_start", [True, False])
def test_worker_whose_disk_is_full_ends_the_run_and_the_others_lose_nothing(
    start: Start, workers: Workers, disk: Path, free_port: int, tmp_path: Path, full_from_the_start: bool
) -> None:
    address = f"127.0.0.1:{free_port}"
    begun = start(RUN, "--expect-workers", "2", "--bind", address)
    if full_from_the_start:
        fill(disk)
    both = workers(address, disk / "own", tmp_path / "own")
    if not full_from_the_start:
        sending(begun, 2)
        time.sleep(1)
        fill(disk)
    finished = begun.finish(ENDS_WITHIN_S)
    assert [process.wait(20) for process in both] == [0, 0]
    assert finished.status == 5
    assert finished.is_complete()
    assert "Traceback" not in finished.stderr
    reason = finished.summary["reason"]
    assert f"on {os.uname().nodename}: {disk}/own/" in reason
    assert "No space left on device; free some space" in reason
    if not full_from_the_start:
        full, other = sorted(finished.run["audit"], key=lambda each: f"process {each['process']} " not in reason)
        assert 0 < full["recorded"] < full["sent"]
        assert 0 < other["recorded"] == other["sent"]
