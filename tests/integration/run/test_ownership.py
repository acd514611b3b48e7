"""A run that goes on is its own: no other command changes it, and no process of it reads its scenario again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest

from tests.integration.conftest import Serve, wait_for
from tests.integration.run.conftest import FAST, LATE_IS_SOUND, Command, Start, journal_of, open_load, sending

SHORT = open_load("40/s", "4s", endpoint=FAST, name="test", **LATE_IS_SOUND)


def test_run_that_goes_on_is_untouched_by_other_commands(start: Start, command: Command, tmp_path: Path) -> None:
    begun = start(SHORT)
    sending(begun)
    again = command("run", str(tmp_path / "scenario0.yaml"), "--out", str(begun.out))
    assert (again.status, "exists already; name another with --out" in again.stderr) == (2, True)
    for name in ("report", "gate"):
        refused = command(name, str(begun.out))
        assert (refused.status, refused.stdout) == (2, "")
        assert "its run still goes on" in refused.stderr
    finished = begun.finish()
    assert finished.status == 0, finished.stdout + finished.stderr
    assert finished.missing() == [0]
    assert len(finished.samples) == finished.summary["arrivals"]["offered"]
    assert command("gate", str(begun.out)).status == 0


def test_run_goes_on_for_as_long_as_its_master_lives(start: Start, command: Command) -> None:
    begun = start(SHORT)
    sending(begun)
    master = begun.children()[0]
    master.suspend()
    os.kill(begun.process.pid, signal.SIGKILL)
    begun.process.wait(10)
    assert "its run still goes on" in command("recover", str(begun.out)).stderr
    master.kill()
    master.wait(10)
    recovered = command("recover", str(begun.out))
    assert (recovered.status, "master process died" in recovered.stdout) == (0, True)


def test_run_ends_within_seconds_of_its_command_and_cancels_its_jobs(start: Start, serve: Serve) -> None:
    server = serve({"service": "60s", "workers": {"active": 200, "max": 200}})
    begun = start(open_load("40/s", "60s"), "--target", server.url, "--processes", "2")
    wait_for(lambda: server.journal.read_text().count('"run"') > 20)
    processes = begun.children()
    os.kill(begun.process.pid, signal.SIGKILL)
    _, alive = psutil.wait_procs(processes, timeout=30)
    assert (len(processes), alive) == (3, [])
    jobs = journal_of(server).jobs.values()
    assert {job["status"] for job in jobs} == {"CANCELLED"}
    assert json.loads((begun.out / "run.json").read_text())["left_over"] == 0


@pytest.mark.parametrize("processes", ["1", "2"])
def test_scenario_that_can_be_read_only_once_is_enough(command: Command, tmp_path: Path, processes: str) -> None:
    pipe = tmp_path / "scenario.yaml"
    os.mkfifo(pipe)
    scenario = SHORT | open_load("30/s", "1s")
    writer = threading.Thread(target=pipe.write_text, args=[json.dumps(scenario)])
    writer.start()
    out = tmp_path / "run"
    done = command("run", str(pipe), "--out", str(out), "--processes", processes, "--set", "validity.completed=1")
    writer.join()
    assert done.status == 0, done.stderr
    assert len(json.loads((out / "run.json").read_text())["audit"]) == int(processes)


def test_locust_without_a_scenario_says_so(tmp_path: Path) -> None:
    locustfile = Path(__file__).parents[3] / "loadtest" / "drive" / "locustfile.py"
    done = subprocess.run(
        [sys.executable, "-m", "locust", "-f", str(locustfile), "--headless"],
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "loadtest: --scenario: is not given; name the scenario's file" in done.stderr
