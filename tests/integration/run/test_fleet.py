"""Runs over many processes: nothing is sent twice or beyond a limit, and nothing is lost without being named."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from loadtest.traffic.arrivals import max_in_window
from tests.integration.run.conftest import Finished, Started, read_journal, sending, open_load
from tests.integration.run.test_truth import agree

FAST = {"workers": {"active": 60, "max": 60}, "service": "50ms"}
MIXED = {"run": {}, "runsync": {}}


def test_many_processes_send_one_schedule(run: Callable[..., Finished], serve: Callable[..., Any]) -> None:
    server = serve(FAST)
    finished = run(open_load("60/s", "4s", flows=MIXED), "--target", server.url, "--processes", "3")
    server.stop()
    agree(finished, read_journal(server.journal))
    assert sorted(row["seq"] for row in finished.samples) == list(range(len(finished.samples)))
    assert {row["process"] for row in finished.samples} == {0, 1, 2}
    arrivals = finished.summary["arrivals"]
    assert arrivals["started"] == arrivals["offered"] > 150
    assert [each["sent"] - each["recorded"] for each in finished.run["audit"]] == [0, 0, 0]
    assert all(abs(process["clock_offset_s"]) < 0.05 for process in finished.run["processes"])


def test_each_process_is_told_of_its_own_jobs(run: Callable[..., Finished], serve: Callable[..., Any]) -> None:
    server = serve(FAST)
    webhooks = {"url": "http://localhost:{port}/told/"}
    finished = run(
        open_load("40/s", "3s", flows={"webhook": {}}, webhooks=webhooks), "--target", server.url, "--processes", "2"
    )
    server.stop()
    agree(finished, read_journal(server.journal))
    assert {(row["process"], row["outcome"], row["polls"]) for row in finished.samples} == {
        (0, "completed", 0),
        (1, "completed", 0),
    }


def under_load(begun: Started, generators: int) -> list[psutil.Process]:
    """The processes of a run, the lead first, once every hand has samples on disk."""
    sending(begun, generators)
    return sorted(psutil.Process(begun.process.pid).children(), key=lambda child: "--worker" in child.cmdline())


def test_a_killed_process_is_missed_by_name_and_count(
    start: Callable[..., Started], serve: Callable[..., Any]
) -> None:
    server = serve(FAST)
    begun = start(open_load("90/s", "11s", flows=MIXED), "--target", server.url, "--processes", "3")
    victim = under_load(begun, 3)[2]
    time.sleep(2)
    victim.kill()
    finished = begun.finish()
    server.stop()
    accepted, rows = read_journal(server.journal).jobs, finished.samples
    killed = next(each["process"] for each in finished.run["processes"] if each["pid"] == victim.pid)
    missing = {each["process"]: each["sent"] - each["recorded"] for each in finished.run["audit"]}
    assert finished.status == 3
    assert finished.run["lost"] == [killed]
    assert {process for process, count in missing.items() if count} <= {killed}
    assert len(accepted) - len(rows) <= missing[killed] <= 90 / 3 * 1.5
    assert not {row["job_id"] for row in rows} - accepted.keys()
    reason = f"The measurement is not sound. Process {killed} fell silent while the run went on."
    assert finished.summary["reason"].startswith(reason)
    assert " ".join(finished.stdout.split()).startswith(f"INVALID {reason}")
    later = [row for row in rows if row["intended_at"] > finished.run["load_started_at"] + 9.5]
    assert len(later) > 90, "the others carry the schedule on"


def test_a_process_that_stood_still_sends_nothing_that_others_have_sent(
    start: Callable[..., Started], serve: Callable[..., Any]
) -> None:
    server = serve(FAST)
    limits = dict.fromkeys(("run", "runsync", "status"), "600 per 2 s")
    scenario = open_load("60/s", "13s", flows=MIXED, limits=limits, drain={"within": "10s"})
    begun = start(scenario, "--target", server.url, "--processes", "2")
    held = under_load(begun, 2)[2]
    held.suspend()
    time.sleep(8)
    held.resume()
    finished = begun.finish()
    server.stop()
    assert finished.status == 3
    assert "fell silent while the run went on" in finished.summary["reason"]
    assert sorted(row["seq"] for row in finished.samples) == list(range(len(finished.samples)))
    assert len(read_journal(server.journal).jobs) == len(finished.samples)
    assert finished.summary["arrivals"]["started"] == finished.summary["arrivals"]["offered"]


def test_hands_stop_without_their_lead_and_leave_what_they_have(
    start: Callable[..., Started], serve: Callable[..., Any]
) -> None:
    server = serve(FAST)
    begun = start(open_load("60/s", "60s", flows=MIXED), "--target", server.url, "--processes", "2")
    master, *generators = under_load(begun, 2)
    begun.process.send_signal(signal.SIGSTOP)
    time.sleep(1)
    master.kill()
    killed_at = time.time()
    time.sleep(6)
    begun.process.send_signal(signal.SIGCONT)
    finished = begun.finish()
    assert not [generator for generator in generators if generator.is_running()]
    server.stop()
    journal = read_journal(server.journal)
    submitted = [each["at"] for each in journal.requests if each["op"] in ("run", "runsync")]
    assert max(submitted) < killed_at + 6
    assert finished.status == 5
    assert finished.is_complete()
    assert sum(each["sent"] - each["recorded"] for each in finished.run["audit"]) == 0
    assert {row["job_id"] for row in finished.samples} >= journal.jobs.keys()


def test_workers_with_a_disk_of_their_own_send_copies(
    start: Callable[..., Started], serve: Callable[..., Any], free_port: int, tmp_path: Path
) -> None:
    server = serve(FAST)
    address = f"127.0.0.1:{free_port}"
    scenario = open_load("60/s", "3s", flows=MIXED)
    begun = start(scenario, "--target", server.url, "--expect-workers", "2", "--bind", address)
    worker = [sys.executable, "-m", "loadtest", "worker", "--master", address, "--keep", str(tmp_path / "own")]
    workers = [subprocess.Popen(worker, stdin=subprocess.DEVNULL) for _ in range(2)]
    finished = begun.finish()
    assert [process.wait(20) for process in workers] == [0, 0]
    server.stop()
    agree(finished, read_journal(server.journal))
    assert len(list((tmp_path / "own").rglob("samples-*.arrow"))) == 2
    assert [each["sent"] - each["recorded"] for each in finished.run["audit"]] == [0, 0]


def test_all_processes_together_stay_within_the_limits(
    run: Callable[..., Finished], serve: Callable[..., Any]
) -> None:
    limits = {"runsync": "600 per 3 s, 400 at once"}
    server = serve({"workers": {"active": 60, "max": 60}, "service": "10ms", "limits": limits})
    load = {"model": "closed", "stages": [{"users": 60, "for": "7s"}]}
    scenario = {"load": load, "flows": {"runsync": {}}, "limits": limits}
    run(scenario, "--target", server.url, "--processes", "2")
    server.stop()
    journal = read_journal(server.journal)
    assert not [each for each in journal.requests if each["status"] == 429]
    at = np.sort([each["at"] for each in journal.requests if each["op"] == "runsync"])
    # of 3 s, the margin for what is under way is 0.1 s
    assert 600 * 3 / 3.15 <= max_in_window(at, 3.0) <= 600
