"""Runs over several processes: every job is sent once and within the limits, and losses are named."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from loadtest.traffic.arrivals import max_in_window
from tests.integration.conftest import Serve
from tests.integration.run.conftest import (
    FAST,
    LATE_IS_SOUND,
    MIXED,
    Run,
    Start,
    journal_of,
    open_load,
    sending,
)
from tests.integration.run.test_truth import agree


def test_processes_send_one_schedule_and_each_gets_the_webhooks_of_its_own_jobs(run: Run, serve: Serve) -> None:
    server = serve(FAST)
    flows = {**MIXED, "webhook": {}}
    webhooks = {"url": "http://localhost:{port}/hook/"}
    scenario = open_load("80/s", "3s", flows=flows, webhooks=webhooks, **LATE_IS_SOUND)
    finished = run(scenario, "--target", server.url, "--processes", "2")
    agree(finished, journal_of(server))
    assert sorted(row["seq"] for row in finished.samples) == list(range(len(finished.samples)))
    by_webhook = {
        (row["process"], row["outcome"], row["polls"]) for row in finished.samples if row["flow"] == "webhook"
    }
    assert by_webhook == {(process, "completed", 0) for process in (0, 1)}
    arrivals = finished.summary["arrivals"]
    assert arrivals["started"] == arrivals["offered"] > 150
    assert finished.missing() == [0, 0]
    assert all(abs(process["clock_offset_s"]) < 0.05 for process in finished.run["processes"])


def test_killed_generator_is_reported_lost_with_its_missing_samples(start: Start, serve: Serve) -> None:
    server = serve(FAST)
    begun = start(open_load("90/s", "9s", flows=MIXED), "--target", server.url, "--processes", "2")
    sending(begun, 2)
    victim = begun.children()[2]
    victim.kill()
    finished = begun.finish()
    accepted, rows = journal_of(server).jobs, finished.samples
    killed = next(each["process"] for each in finished.run["processes"] if each["pid"] == victim.pid)
    missing = {each["process"]: each["sent"] - each["recorded"] for each in finished.run["audit"]}
    assert finished.status == 3
    assert finished.run["lost"] == [killed]
    assert {process for process, count in missing.items() if count} <= {killed}
    assert len(accepted) - len(rows) <= missing[killed] <= 90 / 2 * 1.5
    assert not {row["job_id"] for row in rows} - accepted.keys()
    reason = finished.summary["reason"]
    assert reason.partition(": ")[2].startswith(f"Process {killed} ")
    assert " ".join(finished.stdout.split()).startswith(f"INVALID {reason[:60]}")
    later = [row for row in rows if row["intended_at"] > finished.run["load_started_at"] + 7.5]
    assert len(later) > 90, "the other takes over its share"


def test_generators_stop_without_their_master_and_leave_their_samples(start: Start, serve: Serve) -> None:
    server = serve(FAST)
    begun = start(open_load("60/s", "60s", flows=MIXED), "--target", server.url, "--processes", "2")
    sending(begun, 2)
    master, *generators = begun.children()
    begun.process.send_signal(signal.SIGSTOP)
    master.kill()
    killed_at = time.time()
    time.sleep(6)
    begun.process.send_signal(signal.SIGCONT)
    finished = begun.finish()
    assert not [generator for generator in generators if generator.is_running()]
    journal = journal_of(server)
    submitted = [each["at"] for each in journal.requests if each["op"] in ("run", "runsync")]
    assert max(submitted) < killed_at + 6
    assert finished.status == 5
    assert finished.is_complete()
    assert sum(finished.missing()) == 0
    assert {row["job_id"] for row in finished.samples} >= journal.jobs.keys()


def test_workers_with_a_disk_of_their_own_send_copies(
    start: Start, serve: Serve, free_port: int, tmp_path: Path
) -> None:
    """Neither what an earlier run has left on that disk nor settings of Locust for other tests reach the run."""
    server = serve(FAST)
    earlier = tmp_path / "own" / "run0-0123456789abcdef" / "shards" / "samples-0.arrow"
    earlier.parent.mkdir(parents=True)
    earlier.write_bytes(b"of an earlier run")
    settings = {"headless": "false", "run-time": "1s", "master": "true", "locustfile": "none.py", "csv": "x"}
    (tmp_path / "locust.conf").write_text("".join(f"{key} = {value}\n" for key, value in settings.items()))
    (tmp_path / "pyproject.toml").write_text('[tool.locust]\nheadless = false\nrun-time = "1s"\ncsv = "x"\n')
    environment = {**os.environ, "HOME": str(tmp_path), "LOCUST_RUN_TIME": "1s", "LOCUST_MODE_MASTER": "1"}
    address = f"127.0.0.1:{free_port}"
    scenario = open_load("80/s", "2s", flows=MIXED, **LATE_IS_SOUND)
    begun = start(scenario, "--target", server.url, "--expect-workers", "2", "--bind", address)
    worker = [sys.executable, "-m", "loadtest", "worker", "--master", address, "--keep", str(tmp_path / "own")]
    workers = [subprocess.Popen(worker, stdin=subprocess.DEVNULL, cwd=tmp_path, env=environment) for _ in range(2)]
    finished = begun.finish()
    assert [process.wait(20) for process in workers] == [0, 0]
    agree(finished, journal_of(server))
    assert len(list((tmp_path / "own").rglob("samples-*.arrow"))) == 2 + 1
    assert earlier.read_bytes() == b"of an earlier run"
    assert not list(tmp_path.glob("x*"))
    assert finished.missing() == [0, 0]


def test_users_of_all_processes_together_use_the_limits_and_stay_within_them(run: Run, serve: Serve) -> None:
    limits = {"run": "100 per 2 s", "runsync": "200 per 2 s, 400 at once"}
    server = serve({"workers": {"active": 60, "max": 60}, "service": "10ms", "limits": limits})
    load = {"model": "closed", "stages": [{"users": 60, "for": "5s"}]}
    flows = {"run": {"weight": 2}, "runsync": {"weight": 1}}
    finished = run({"load": load, "flows": flows, "limits": limits}, "--target", server.url, "--processes", "2")
    [held] = [each for each in finished.summary["validity"]["checks"] if each["name"] == "users at work"]
    assert not held["ok"]
    assert "of 60 users were at work" in held["detail"]
    journal = journal_of(server)
    assert not [each for each in journal.requests if each["status"] == 429]
    for op, limit in (("run", 100), ("runsync", 200)):
        at = np.sort([each["at"] for each in journal.requests if each["op"] == op])
        # of 2 s, the margin for requests under way is 0.1 s
        assert limit * 2 / 2.15 - 2 <= max_in_window(at, 2.0) <= limit
