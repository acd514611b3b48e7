"""The same run under Locust's own command line and web page."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from tests.integration.conftest import wait_for
from tests.integration.run.conftest import FAST, LATE_IS_SOUND, WITHIN_S, Finished, open_load

REPOSITORY = Path(__file__).parents[3]
LOCUSTFILE = REPOSITORY / "loadtest" / "drive" / "locustfile.py"
ENTRIES = {"run delay", "run execution", "run end-to-end", "/run", "/status/{id}"}


@pytest.fixture
def scenario(tmp_path: Path) -> Path:
    path = tmp_path / "scenario.yaml"
    path.write_text(json.dumps({"name": "test", **open_load("40/s", "1s", endpoint=FAST, **LATE_IS_SOUND)}))
    return path


def locust(*arguments: str, cwd: Path = REPOSITORY) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "locust", *arguments],
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Wait for its end; returns the exit code and the output."""
    output, _ = process.communicate(timeout=WITHIN_S)
    return process.returncode, output


def test_headless_it_leaves_the_same_directory_in_the_repository_without_options_and_elsewhere_with_them(
    scenario: Path, tmp_path: Path
) -> None:
    here, elsewhere = tmp_path / "here", tmp_path / "elsewhere"
    lenient = ["--set", "validity.send_lag=30s", "--set", "validity.cpu=100 %", "--set", "validity.started=80 %"]
    bare = locust("--headless", "--out", str(here), "--set", "load.stages.0.for=1s", *lenient)
    options = ["-f", str(LOCUSTFILE), "--headless", "--scenario", str(scenario), "--out", str(elsewhere)]
    named = locust(*options, cwd=tmp_path)
    for process, out in ((bare, here), (named, elsewhere)):
        status, output = ended(process)
        assert status == 0, output
        assert "report.html" in output
        for entry in ENTRIES:
            assert entry in output
        finished = Finished(status, out, output, "")
        assert finished.is_complete()
        assert finished.summary["jobs"]["completed"] == finished.summary["arrivals"]["offered"]


def test_options_that_only_the_stages_can_set_are_refused(scenario: Path, tmp_path: Path) -> None:
    """CCF #8158: the ramp took longer than the run, and the load reached by then passed."""
    out = tmp_path / "out"
    command = ["-f", str(LOCUSTFILE), "--headless", "--scenario", str(scenario), "--out", str(out)]
    options = {"--run-time": "1s", "--spawn-rate": "2"}
    processes = {name: locust(*command, name, value) for name, value in options.items()}
    for name, process in processes.items():
        status, output = ended(process)
        assert status == 2
        assert f"loadtest: {name}: " in output
    assert not out.exists()


def test_workers_of_a_master_that_refuses_its_options_end_with_it(tmp_path: Path, free_port: int) -> None:
    out = tmp_path / "out"
    command = ["-f", str(LOCUSTFILE), "--headless", "--run-time", "1s", "--out", str(out), "--processes", "2"]
    status, output = ended(locust(*command, "--master-bind-port", str(free_port)))
    assert status == 2, output
    wait_for(
        lambda: not any(str(out) in (each.info["cmdline"] or []) for each in psutil.process_iter(["cmdline"])), 10
    )


def test_scenario_that_does_not_exist_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    status, output = ended(locust("-f", str(LOCUSTFILE), "--headless", "--scenario", str(tmp_path / "nothing.yaml")))
    assert status == 2
    assert "loadtest: " in output
    assert "Traceback" not in output


@pytest.fixture
def web(scenario: Path, tmp_path: Path, free_port: int) -> Iterator[tuple[str, Path, subprocess.Popen[str]]]:
    out = tmp_path / "out"
    arguments = ["-f", str(LOCUSTFILE), "--scenario", str(scenario), "--out", str(out), "--web-port", str(free_port)]
    process = locust(*arguments, cwd=tmp_path)
    url = f"http://127.0.0.1:{free_port}"
    wait_for(lambda: answers(url))
    yield url, out, process
    process.terminate()
    ended(process)


def answers(url: str) -> bool:
    try:
        return httpx.get(url).status_code == 200
    except httpx.TransportError:
        return False


def test_web_page_shows_jobs_next_to_requests(web: tuple[str, Path, subprocess.Popen[str]]) -> None:
    url, out, process = web
    listening = [c for c in psutil.Process(process.pid).net_connections("tcp") if c.status == "LISTEN"]
    assert {c.laddr.ip for c in listening} == {"127.0.0.1"}
    assert httpx.post(f"{url}/swarm", data={"user_count": 1, "spawn_rate": 1}).json()["success"]
    wait_for((out / "gate.xml").exists)
    stats = httpx.get(f"{url}/stats/requests").json()
    assert {entry["name"] for entry in stats["stats"]} >= ENTRIES
    by_name = {entry["name"]: entry for entry in stats["stats"]}
    assert by_name["run execution"]["avg_response_time"] == pytest.approx(50, abs=10)
    wait_for(Finished(0, out, "", "").is_complete)
