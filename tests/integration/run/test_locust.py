"""The same run under Locust's own command line and web page."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.integration.run.conftest import LATE_IS_SOUND, Finished, open_load

REPOSITORY = Path(__file__).parents[3]
LOCUSTFILE = REPOSITORY / "loadtest" / "drive" / "locustfile.py"
ENDPOINT = {"workers": {"active": 20, "max": 20}, "service": "50ms"}
ENTRIES = {"run delay", "run execution", "run end-to-end", "/run", "/status/{id}"}


@pytest.fixture
def scenario(tmp_path: Path) -> Path:
    path = tmp_path / "scenario.yaml"
    path.write_text(json.dumps({"name": "test", **open_load("20/s", "3s", endpoint=ENDPOINT, **LATE_IS_SOUND)}))
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


def test_headless_it_leaves_the_same_directory(scenario: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = ["-f", str(LOCUSTFILE), "--headless", "--scenario", str(scenario), "--out", str(out)]
    process = locust(*arguments, cwd=tmp_path)
    said, _ = process.communicate(timeout=60)
    finished = Finished(process.returncode, out, said, "")
    assert finished.status == 0, said
    assert finished.is_complete()
    assert finished.summary["jobs"]["completed"] == finished.summary["arrivals"]["offered"]
    for entry in ENTRIES:
        assert entry in said
    assert "report.html" in said


@pytest.mark.alone
def test_bare_locust_works_in_the_repository(tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = locust("--headless", "--out", str(out), "--set", "load.stages.0.for=2s")
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert Finished(0, out, said, "").is_complete()


@pytest.mark.parametrize("option", [("--run-time", "1s"), ("--users", "7"), ("--spawn-rate", "2")], ids="".join)
def test_what_only_the_stages_can_say_is_refused(scenario: Path, tmp_path: Path, option: tuple[str, str]) -> None:
    """CCF #8158: the ramp took longer than the run did, and what the load had come to by then passed."""
    out = tmp_path / "out"
    process = locust("-f", str(LOCUSTFILE), "--headless", "--scenario", str(scenario), "--out", str(out), *option)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 2
    assert f"loadtest: {option[0]}: has no effect here; " in said
    assert not out.exists()


def test_a_bad_scenario_is_one_line_and_status_2(tmp_path: Path) -> None:
    process = locust("-f", str(LOCUSTFILE), "--headless", "--scenario", str(tmp_path / "nothing.yaml"))
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "loadtest: " in said
    assert "Traceback" not in said


@pytest.fixture
def web(scenario: Path, tmp_path: Path, free_port: int) -> Iterator[tuple[str, Path, subprocess.Popen[str]]]:
    out = tmp_path / "out"
    arguments = ["-f", str(LOCUSTFILE), "--scenario", str(scenario), "--out", str(out), "--web-port", str(free_port)]
    process = locust(*arguments, cwd=tmp_path)
    url = f"http://127.0.0.1:{free_port}"
    wait_for(partial(answers, url))
    yield url, out, process
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)


def answers(url: str) -> bool:
    try:
        return httpx.get(url).status_code == 200
    except httpx.TransportError:
        return False


def wait_for(condition: Callable[[], Any], within_s: float = 30.0) -> None:
    by = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < by, "it never came to pass"
        time.sleep(0.1)


@pytest.mark.alone
def test_the_web_page_shows_jobs_beside_requests(web: tuple[str, Path, subprocess.Popen[str]]) -> None:
    url, out, process = web
    listening = [c for c in psutil.Process(process.pid).net_connections("tcp") if c.status == "LISTEN"]
    assert {c.laddr.ip for c in listening} == {"127.0.0.1"}
    assert httpx.post(f"{url}/swarm", data={"user_count": 1, "spawn_rate": 1}).json()["success"]
    wait_for((out / "report.html").exists)
    stats = httpx.get(f"{url}/stats/requests").json()
    assert {entry["name"] for entry in stats["stats"]} >= ENTRIES
    by_name = {entry["name"]: entry for entry in stats["stats"]}
    assert by_name["run execution"]["avg_response_time"] == pytest.approx(50, abs=2)
    assert Finished(0, out, "", "").is_complete()
