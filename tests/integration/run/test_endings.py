"""However a run ends, it leaves a complete run directory and cancels its unfinished jobs."""

from __future__ import annotations

import os
import signal
import socket
import time
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import pytest

from tests.integration.conftest import Serve, wait_for
from tests.integration.run.conftest import (
    FAST,
    LATE_IS_SOUND,
    Command,
    Run,
    Start,
    journal_of,
    open_load,
    sending,
)

SIGNALS = [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 143)]


@pytest.mark.parametrize(("flow", "drain_s"), [("run", 1), ("runsync", 3)])
def test_jobs_unfinished_after_the_drain_are_censored_and_cancelled(
    run: Run, serve: Serve, flow: str, drain_s: int
) -> None:
    server = serve({"workers": {"active": 1, "max": 1}, "service": "1h"})
    drain = {"within": f"{drain_s}s", "cancel_within": "10s"}
    scenario = open_load("10/s", "1s", flows={flow: {}}, drain=drain)
    finished = run(scenario, "--target", server.url)
    jobs = journal_of(server).jobs
    assert {row["outcome"] for row in finished.samples} == {"censored"}
    assert {row["job_id"] for row in finished.samples} == jobs.keys()
    assert {job["status"] for job in jobs.values()} == {"CANCELLED"}
    cancelled_at = pq.read_table(finished.out / "cancels.parquet")["at"].to_pylist()
    assert finished.run["ended_at"] < min(cancelled_at), "the time until which jobs were followed"
    assert finished.run["cancelled"] == len(jobs)
    assert finished.summary["verdict"] == "invalid"
    assert finished.status == 3
    assert finished.is_complete()


@pytest.mark.parametrize(("number", "status"), SIGNALS)
def test_signal_ends_the_run_at_once_and_leaves_it_complete(
    start: Start, serve: Serve, number: signal.Signals, status: int
) -> None:
    server = serve({"workers": {"active": 2, "max": 2}, "service": "400ms"})
    begun = start(open_load("10/s", "60s"), "--target", server.url)
    sending(begun)
    begun.process.send_signal(number)
    finished = begun.finish(40)
    jobs = journal_of(server).jobs
    assert finished.status == status
    assert finished.is_complete()
    ids = [row["job_id"] for row in finished.samples]
    assert len(jobs.keys() - ids) <= ids.count(None), "submissions that were under way"
    assert {jobs[job_id]["status"] for job_id in ids if job_id} <= {"COMPLETED", "CANCELLED"}
    assert finished.summary["verdict"] == "aborted"
    assert finished.summary["run"]["complete"] is False
    assert finished.summary["jobs"]["completed"] > 0


@pytest.mark.parametrize(("number", "status"), [*SIGNALS, (signal.SIGQUIT, 143)])
def test_signal_while_workers_are_waited_for_ends_the_run_before_its_first_job(
    start: Start, serve: Serve, free_port: int, number: signal.Signals, status: int
) -> None:
    server = serve(FAST)
    options = ["--expect-workers", "2", "--bind", f"127.0.0.1:{free_port}"]
    begun = start(open_load("40/s", "3s"), "--target", server.url, *options)
    wait_for(lambda: is_open(free_port))
    waiting = f"waiting up to 60 s for 2 workers; start each with: loadtest worker --master 127.0.0.1:{free_port}"
    assert waiting in begun.process.stderr
    begun.process.send_signal(number)
    finished = begun.finish(40)
    assert finished.status == status
    assert finished.is_complete()
    assert finished.run["ending"] == ("interrupted" if number is signal.SIGINT else "terminated")
    assert finished.samples == []
    assert journal_of(server).requests == []


def is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_embedded_endpoint_ends_with_the_run_and_results_are_built_again_from_the_directory_alone(
    run: Run, command: Command
) -> None:
    finished = run(open_load("40/s", "1s", endpoint=FAST))
    assert finished.summary["jobs"]["completed"] == finished.summary["arrivals"]["offered"] > 0
    assert finished.is_complete()
    port = finished.run["target"].split(":")[2].split("/")[0]
    assert not [c for c in psutil.net_connections("tcp") if c.status == "LISTEN" and c.laddr.port == int(port)]
    summary = finished.summary
    (finished.out / "summary.json").unlink()
    (finished.out / "report.html").unlink()
    finished.out = finished.out.rename(finished.out.parent / "elsewhere")
    assert command("report", str(finished.out)).status == 0
    assert finished.summary == summary
    assert finished.is_complete()


def test_no_server_outlives_a_master_that_was_killed(start: Start) -> None:
    begun = start(open_load("40/s", "60s", endpoint=FAST))
    sending(begun)
    (master,) = begun.children()
    servers = begun.servers()
    assert len(servers) == 1
    master.kill()
    finished = begun.finish()
    _, alive = psutil.wait_procs(servers, timeout=20)
    assert alive == []
    assert finished.is_complete()
    assert finished.status == 5
    assert finished.summary["jobs"]["completed"] > 0


def test_target_that_is_down_aborts_the_run_within_ten_seconds(run: Run, free_port: int) -> None:
    finished = run(open_load("30/s", "6s"), "--target", f"http://127.0.0.1:{free_port}/v2/x")
    assert finished.status == 5
    assert finished.is_complete()
    assert finished.summary["verdict"] == "aborted"
    assert "refused" in finished.summary["reason"]
    assert finished.run["ended_at"] - finished.run["started_at"] < 10


def test_target_that_is_slow_to_answer_at_first_is_waited_for(start: Start, serve: Serve) -> None:
    server = serve(FAST)
    os.kill(server.pid, signal.SIGSTOP)
    begun = start(open_load("40/s", "1s", **LATE_IS_SOUND), "--target", server.url)
    wait_for((begun.out / "run.json").exists)
    time.sleep(2.5)  # Locust asks the shape for the number of users each second
    os.kill(server.pid, signal.SIGCONT)
    finished = begun.finish()
    assert finished.status == 0, finished.stdout
    assert finished.summary["jobs"]["completed"] == finished.summary["arrivals"]["offered"] > 0


def test_wrong_key_and_wrong_endpoint_abort_the_run(start: Start, serve: Serve) -> None:
    server, scenario = serve(FAST), open_load("30/s", "6s")
    by_key = start(scenario, "--target", server.url, env={"LOADTEST_API_KEY": "wrong-key-3141"})
    by_endpoint = start(scenario, "--target", server.url + "x").finish()
    finished = by_key.finish()
    assert (finished.status, by_endpoint.status) == (5, 5)
    assert "401" in finished.summary["reason"]
    assert "404" in by_endpoint.summary["reason"]
    assert finished.is_complete()
    for path in finished.out.iterdir():
        assert b"wrong-key-3141" not in path.read_bytes()


def test_jobs_ceiling_stops_the_run_and_waits_for_the_jobs_sent(run: Run, serve: Serve) -> None:
    server = serve(FAST)
    finished = run(open_load("40/s", "30s", ceilings={"jobs": 25}), "--target", server.url)
    assert finished.status == 5
    assert "ceilings.jobs" in finished.summary["reason"]
    assert finished.summary["jobs"]["completed"] == len(journal_of(server).jobs) == 25


def test_abort_rule_stops_a_run_of_errors(run: Run, serve: Serve) -> None:
    scenario = open_load("40/s", "60s", abort={"errors": "50 %", "over": "5s", "jobs": 10})
    finished = run(scenario, "--target", serve({**FAST, "failure_rate": "100 %"}).url)
    assert finished.status == 5
    assert "abort.errors" in finished.summary["reason"]
    assert finished.summary["run"]["duration_s"] < 30


def test_neither_the_settings_of_locust_nor_steps_of_the_wall_clock_reach_a_run(start: Start, tmp_path: Path) -> None:
    """Steps of the wall clock made a run of 15 s take 35, or end after 5 of 20 s."""
    (tmp_path / "sitecustomize.py").write_text(STEPPING_CLOCK)
    (tmp_path / ".locust.conf").write_text("headless = false\nrun-time = 1s\nweb-port = 1\n")
    (tmp_path / "pyproject.toml").write_text('[tool.locust]\nheadless = false\nrun-time = "1s"\n')
    settings = {"LOCUST_MODE_MASTER": "1", "LOCUST_RUN_TIME": "1s", "LOCUST_CSV": str(tmp_path / "csv" / "x")}
    env = {**settings, "HOME": str(tmp_path), "PYTHONPATH": str(tmp_path)}
    scenario = open_load("40/s", "3s", endpoint=FAST, **LATE_IS_SOUND)
    alone, several = start(scenario, env=env), start(scenario, "--processes", "2", env=env)
    for begun in (alone, several):
        finished = begun.finish(60)
        assert finished.status == 0, finished.stdout + finished.stderr
        assert finished.summary["jobs"]["completed"] == finished.summary["arrivals"]["offered"] > 80
        assert finished.run["load_ended_at"] - finished.run["load_started_at"] == pytest.approx(3.0, abs=0.5)
        assert all(abs(each["clock_drift_s"] or 0.0) < 0.5 for each in finished.run["processes"])
    assert not (tmp_path / "csv").exists()


STEPPING_CLOCK = """
import time
wall, monotonic = time.time, time.monotonic
time.time = lambda: wall() + (0.0, 90.0, -25.0, 3600.0)[int(2 * monotonic()) % 4]
"""
