"""A locustfile of one's own under Locust's command line, against a server whose journal is the truth."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from loadtest.protocol.client_messages import encode_submission
from tests.integration.conftest import Serve
from tests.integration.run.conftest import WITHIN_S, Finished, journal_of

EXAMPLE = Path(__file__).parents[3] / "examples" / "two_jobs.py"
SETTINGS = {"workers": {"active": 4, "max": 4}, "service": "100ms"}
LENIENT = ["--set", "validity.send_lag=30s", "--set", "validity.cpu=100 %", "--set", "validity.started=80 %"]


def locust(folder: Path, target: str, *options: str) -> Finished:
    """Run the example without a scenario file, from a folder without any configuration of Locust."""
    out = folder / "out"
    command = [sys.executable, "-m", "locust", "-f", str(EXAMPLE), "--headless", "--only-summary", "--out", str(out)]
    environment = {**os.environ, "LOADTEST_TARGET": target}
    ran = subprocess.run(
        [*command, "--users", "6", "--spawn-rate", "6", "--run-time", "3s", *options],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
        check=False,
    )
    return Finished(ran.returncode, out, ran.stdout, ran.stderr)


def test_rows_of_two_dependent_jobs_are_those_of_the_endpoints_own_journal(
    serve: Serve, tmp_path: Path, free_port: int
) -> None:
    server, port = serve(SETTINGS), str(free_port)
    processes = ["--processes", "2", "--master-bind-port", port, "--master-port", port]
    finished = locust(tmp_path, server.url, *processes, *LENIENT)
    assert finished.status == 0, finished.stdout + finished.stderr
    assert finished.is_complete()
    rows, journal = finished.samples, journal_of(server)
    assert {row["job_id"] for row in rows} == set(journal.jobs)
    assert {row["process"] for row in rows} == {0, 1}
    for row in rows:
        assert row["outcome"] == journal.jobs[row["job_id"]]["status"].lower()
        assert row["worker_id"] == journal.jobs[row["job_id"]].get("worker")
    recorded = finished.summary["operations"]
    for operation in ("run", "runsync", "status", "cancel"):
        asked = sum(line["op"] == operation for line in journal.requests)
        assert recorded.get(operation, {"requests": 0})["requests"] == asked, operation
    assert dependent_pairs(finished) > 0
    assert finished.run["scenario"]["load"]["locustfile"]["name"] == "two_jobs.py"


def dependent_pairs(finished: Finished) -> int:
    """Count the second jobs: each has the id and the output of an earlier job of its user in its request."""
    pairs = 0
    of_user: dict[tuple[int, int], dict[str, object]] = {}
    for row in sorted(finished.samples, key=lambda row: row["intended_at"]):
        before = of_user.get((row["process"], row["user"]))
        alone = len(encode_submission({"translate": "hello"}))
        if row["flow"] == "runsync" and row["request_bytes"] != alone:
            assert before is not None
            assert (before["flow"], before["outcome"]) == ("run", "completed")
            assert row["request_bytes"] == len(encode_submission({"translate": "ok", "of": before["job_id"]}))
            assert row["intended_at"] >= before["finished_at"]
            pairs += 1
        of_user[row["process"], row["user"]] = row
    return pairs


def test_a_gate_that_fails_is_exit_code_1_and_tags_choose_the_tasks(serve: Serve, tmp_path: Path) -> None:
    server = serve({**SETTINGS, "failure_rate": "80 %"})
    finished = locust(tmp_path, server.url, "--tags", "pipeline", *LENIENT, "--set", 'gates=["errors < 1 %"]')
    assert finished.status == 1, finished.stdout + finished.stderr
    assert not any(line["op"] == "cancel" for line in journal_of(server).requests)
