"""A disk that fills up while a run goes on: the run ends, says what to do, and keeps what it has."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from loadtest.record.sample import SAMPLES
from loadtest.record.shards import batches
from tests.integration.run.conftest import Finished, Started, sending, steady

ENDPOINT = {"workers": {"active": 20, "max": 20}, "service": "50ms"}
RUN = {**steady("60/s", "60s"), "endpoint": ENDPOINT}
ENDS_WITHIN_S = 20.0


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 4 MB, in memory."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(place)], capture_output=True, text=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip(f"no disk can be mounted here, which needs root: {mounted.stderr.strip()}")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)  # a process that is ending may still have it open


def fill(disk: Path) -> Path:
    """Take all the room that is left; the file that holds it."""
    ballast = disk / "ballast"
    with suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    return ballast


def missing(finished: Finished) -> list[int]:
    return [each["sent"] - each["recorded"] for each in finished.run["audit"]]


@pytest.mark.parametrize("processes", [1, 2])
def test_a_full_disk_ends_the_run_and_what_was_written_before_makes_a_report(
    start: Callable[..., Started], command: Any, disk: Path, processes: int
) -> None:
    begun = start(RUN, "--processes", str(processes), out=disk / "run")
    sending(begun, processes)
    time.sleep(2)
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
    assert recovered.returncode == 0, recovered.stderr
    assert finished.is_complete()
    assert finished.summary["verdict"] == "aborted"
    assert "No space left on device" in finished.summary["reason"]
    rows = finished.samples
    assert len(rows) == sum(each["recorded"] for each in finished.run["audit"])
    assert len([row for row in rows if row["finished_at"] and row["finished_at"] < full_at - 1]) > 20
    assert 0 < sum(missing(finished)) < 1.5 * 60 * (went_on_s + 1)


def test_a_search_that_meets_a_full_disk_keeps_what_its_probes_came_to(
    start: Callable[..., Started], command: Any, disk: Path
) -> None:
    begun = start(
        {
            "load": {"arrivals": "constant", "stages": [{"rate": "60/s", "for": "2500ms"}]},
            "search": {"max_rate": "90/s"},
            "gates": ["delay p95 < 200ms"],
            "endpoint": ENDPOINT,
        },
        out=disk / "search",
    )
    sending(begun.out / "probe-01")
    sending(begun.out / "probe-02")
    kept = json.loads((begun.out / "search.json").read_text())
    assert [each["outcome"] for each in kept["probes"]] == ["passes"]
    assert (kept["verdict"], kept["ended"], kept["highest_passing_per_s"]) == ("aborted", "stopped", 60)
    ballast = fill(disk)
    finished = begun.finish(ENDS_WITHIN_S)
    assert finished.status == 5
    assert "Traceback" not in finished.stderr
    assert f"loadtest: {begun.out}/search.html: cannot be written: No space left on device" in finished.stderr
    assert f"{begun.out}/search.json" in finished.stdout
    reported = json.loads((begun.out / "search.json").read_text())
    assert [each["outcome"] for each in reported["probes"]] == ["passes", "stopped"]
    assert "The gates hold up to 60/s; the search was stopped at 90/s." in reported["reason"]
    assert reported["reason"].endswith(f"loadtest recover {begun.out}/probe-02")
    ballast.unlink()
    assert command("recover", str(begun.out / "probe-02")).returncode == 0


def test_a_disk_that_is_full_from_the_start_is_one_line(run: Callable[..., Finished], disk: Path) -> None:
    fill(disk)
    finished = run(RUN, out=disk / "run")
    assert finished.status == 5
    assert "run.json: cannot be written: No space left on device; free some space" in finished.stderr
    assert len(finished.stderr.splitlines()) == 1
    assert not finished.out.exists(), "what could not begin does not stand in the way of the next"


def test_a_lead_whose_disk_is_full_leaves_its_workers_with_what_they_have(
    start: Callable[..., Started], command: Any, disk: Path, free_port: int, tmp_path: Path
) -> None:
    address = f"127.0.0.1:{free_port}"
    begun = start(RUN, "--expect-workers", "2", "--bind", address, out=disk / "run")
    worker = [sys.executable, "-m", "loadtest", "worker", "--master", address, "--keep", str(tmp_path / "own")]
    workers = [subprocess.Popen(worker, stdin=subprocess.DEVNULL) for _ in range(2)]
    sending(begun, 2)
    time.sleep(1)
    ballast = fill(disk)
    finished = begun.finish(ENDS_WITHIN_S)
    assert [process.wait(20) for process in workers] == [0, 0]
    assert finished.status == 5
    ballast.unlink()
    assert command("recover", str(begun.out)).returncode == 0
    assert finished.is_complete()
    assert "No space left on device" in finished.summary["reason"]
    assert finished.run["lost"] == []
    assert len(finished.samples) > 20
    assert sum(missing(finished)) > 0
    shards = (tmp_path / "own").rglob("samples-*.arrow")
    kept = sum(batch.num_rows for shard in shards for batch in batches(shard, SAMPLES))
    assert kept == sum(each["sent"] for each in finished.run["audit"])


@pytest.mark.parametrize("full_from_the_start", [True, False])
def test_a_worker_whose_own_disk_is_full_ends_the_run_and_the_others_lose_nothing(
    start: Callable[..., Started], disk: Path, free_port: int, tmp_path: Path, full_from_the_start: bool
) -> None:
    address = f"127.0.0.1:{free_port}"
    begun = start(RUN, "--expect-workers", "2", "--bind", address)
    worker = [sys.executable, "-m", "loadtest", "worker", "--master", address, "--keep"]
    if full_from_the_start:
        fill(disk)
    workers = [
        subprocess.Popen([*worker, str(keep)], stdin=subprocess.DEVNULL) for keep in (disk / "own", tmp_path / "own")
    ]
    if not full_from_the_start:
        sending(begun, 2)
        time.sleep(1)
        fill(disk)
    finished = begun.finish(ENDS_WITHIN_S + 15)
    assert [process.wait(20) for process in workers] == [0, 0]
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
