"""However a run ends, it leaves a complete run directory and cancels what it leaves unfinished."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from typing import Any

import psutil
import pytest

from tests.integration.run.conftest import LATE_IS_SOUND, Finished, Started, read_journal, steady

FAST = {"workers": {"active": 20, "max": 20}, "service": "50ms"}
ENDLESS = {"workers": {"active": 1, "max": 1}, "service": "1h"}


def wait_for(condition: Callable[[], object], within_s: float = 20.0) -> None:
    by = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < by, "it never came to pass"
        time.sleep(0.05)


def under_way(begun: Started) -> None:
    """Wait until the first requests of a run are on disk."""
    wait_for(lambda: list((begun.out / "shards").glob("requests-*")) if begun.out.exists() else False)


def test_what_is_unfinished_after_the_drain_is_censored_and_cancelled(
    run: Callable[..., Finished], serve: Callable[..., Any]
) -> None:
    server = serve(ENDLESS)
    scenario = steady("5/s", "2s", drain={"within": "1s", "cancel_within": "10s"})
    finished = run(scenario, "--target", server.url)
    server.stop()
    jobs = read_journal(server.journal).jobs
    assert {row["outcome"] for row in finished.samples} == {"censored"}
    assert {row["job_id"] for row in finished.samples} == jobs.keys()
    assert {job["status"] for job in jobs.values()} == {"CANCELLED"}
    assert finished.run["cancelled"] == len(jobs)
    assert finished.summary["verdict"] == "invalid"
    assert finished.status == 3
    assert finished.is_complete()


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_run_at_once_and_leaves_it_whole(
    start: Callable[..., Started], serve: Callable[..., Any], number: signal.Signals, status: int
) -> None:
    server = serve({"workers": {"active": 2, "max": 2}, "service": "400ms"})
    begun = start(steady("10/s", "60s"), "--target", server.url)
    under_way(begun)
    time.sleep(2)
    begun.signal(number)
    signalled_at = time.monotonic()
    finished = begun.finish(20)
    assert time.monotonic() - signalled_at < 15
    server.stop()
    jobs = read_journal(server.journal).jobs
    assert finished.status == status
    assert finished.is_complete()
    assert {row["job_id"] for row in finished.samples} >= jobs.keys() - {None}
    assert {job["status"] for job in jobs.values()} <= {"COMPLETED", "CANCELLED"}
    assert finished.summary["verdict"] == "aborted"
    assert finished.summary["run"]["complete"] is False
    assert finished.summary["jobs"]["completed"] > 0


def test_the_embedded_endpoint_ends_with_the_run(run: Callable[..., Finished]) -> None:
    finished = run({**steady("20/s", "3s"), "endpoint": FAST})
    assert finished.summary["jobs"]["completed"] == finished.summary["arrivals"]["offered"] > 0
    assert finished.is_complete()
    port = finished.run["target"].split(":")[2].split("/")[0]
    assert not [c for c in psutil.net_connections("tcp") if c.status == "LISTEN" and c.laddr.port == int(port)]


def test_no_server_outlives_a_driver_that_was_killed(start: Callable[..., Started]) -> None:
    begun = start({**steady("10/s", "60s"), "endpoint": FAST})
    under_way(begun)
    time.sleep(1.5)
    driver = psutil.Process(begun.process.pid).children()[0]
    servers = driver.children(recursive=True)
    assert servers
    driver.kill()
    finished = begun.finish(30)
    psutil.wait_procs(servers, timeout=5)
    assert not [server for server in servers if server.is_running()]
    assert finished.is_complete()
    assert finished.status == 5
    assert finished.summary["jobs"]["completed"] > 0


@pytest.mark.alone
def test_a_target_that_is_down_aborts_within_ten_seconds(run: Callable[..., Finished], free_port: int) -> None:
    began = time.monotonic()
    finished = run(steady(), "--target", f"http://127.0.0.1:{free_port}/v2/x")
    assert time.monotonic() - began < 10
    assert finished.status == 5
    assert finished.is_complete()
    assert finished.summary["verdict"] == "aborted"
    assert "refused" in finished.summary["reason"]


def test_a_target_that_is_slow_to_answer_at_first_is_waited_for(
    start: Callable[..., Started], serve: Callable[..., Any]
) -> None:
    server = serve(FAST)
    os.kill(server.pid, signal.SIGSTOP)
    begun = start(steady("20/s", "2s", **LATE_IS_SOUND), "--target", server.url)
    wait_for((begun.out / "run.json").exists)
    time.sleep(2.5)  # Locust asks the shape for the number of users each second
    os.kill(server.pid, signal.SIGCONT)
    finished = begun.finish()
    assert finished.status == 0, finished.stdout
    assert finished.summary["jobs"]["completed"] == finished.summary["arrivals"]["offered"] > 0


def test_a_wrong_key_aborts(run: Callable[..., Finished], serve: Callable[..., Any]) -> None:
    finished = run(steady(), "--target", serve(FAST).url, env={"LOADTEST_API_KEY": "wrong-key-3141"})
    assert finished.status == 5
    assert finished.is_complete()
    assert "401" in finished.summary["reason"]
    for path in finished.out.iterdir():
        assert b"wrong-key-3141" not in path.read_bytes()


def test_a_wrong_endpoint_aborts(run: Callable[..., Finished], serve: Callable[..., Any]) -> None:
    finished = run(steady(), "--target", serve(FAST).url + "x")
    assert finished.status == 5
    assert "404" in finished.summary["reason"]


def test_the_jobs_ceiling_stops_sending_and_waits_for_the_rest(
    run: Callable[..., Finished], serve: Callable[..., Any]
) -> None:
    server = serve(FAST)
    finished = run(steady("20/s", "30s", ceilings={"jobs": 25}), "--target", server.url)
    server.stop()
    assert finished.status == 5
    assert len(read_journal(server.journal).jobs) == 25
    assert finished.summary["jobs"]["completed"] == 25
    assert "ceilings.jobs" in finished.summary["reason"]


def test_the_cost_ceiling_stops_the_run(run: Callable[..., Finished], serve: Callable[..., Any]) -> None:
    scenario = steady("20/s", "30s", price=0.01, ceilings={"cost": 0.005})
    finished = run(scenario, "--target", serve(FAST).url)
    assert finished.status == 5
    assert "ceilings.cost" in finished.summary["reason"]


def test_the_abort_rule_stops_a_run_of_errors(run: Callable[..., Finished], serve: Callable[..., Any]) -> None:
    scenario = steady("20/s", "30s", abort={"errors": "50 %", "over": "5s", "jobs": 10})
    began = time.monotonic()
    finished = run(scenario, "--target", serve({**FAST, "failure_rate": "100 %"}).url)
    assert time.monotonic() - began < 20
    assert finished.status == 5
    assert "abort.errors" in finished.summary["reason"]


def test_results_can_be_built_again_from_the_directory_alone(run: Callable[..., Finished], command: Any) -> None:
    finished = run({**steady("20/s", "2s"), "endpoint": FAST})
    first = finished.summary
    (finished.out / "summary.json").unlink()
    (finished.out / "report.html").unlink()
    elsewhere = finished.out.rename(finished.out.parent / "elsewhere")
    assert command("report", str(elsewhere)).returncode == 0
    finished.out = elsewhere
    assert finished.summary == first
    assert finished.is_complete()
