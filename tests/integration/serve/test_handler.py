"""Real handlers in real SDK workers: each job ends as on the live service, and no job is lost."""

from __future__ import annotations

import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from loadtest.capacity.calibration.take_pattern import SDK_PAUSE_S
from loadtest.endpoint.settings import TakePause
from tests.integration.conftest import KEY, Serve, Served, wait_for

HANDLERS = Path(__file__).parents[1] / "handlers"
HEADERS = {"Authorization": f"Bearer {KEY}"}
FINAL = ("COMPLETED", "FAILED", "CANCELLED", "TIMED_OUT")
WITHIN_S = 40.0

Ended = dict[str, dict[str, Any]]


class Client:
    """A client of a server that runs a handler."""

    def __init__(self, served: Served, logs: Path) -> None:
        self.served = served
        self._logs = logs
        self._http = httpx.Client(base_url=served.url, headers=HEADERS, timeout=20)

    def submit(self, policy: dict[str, int] | None = None, **job_input: Any) -> str:
        said = self._http.post("/run", json={"input": job_input, "policy": policy or {}})
        return str(said.json()["id"])

    def status(self, job_id: str) -> dict[str, Any]:
        return dict(self._http.get(f"/status/{job_id}").json())

    def ended(self, job_id: str) -> dict[str, Any]:
        return self.until(lambda: self.status(job_id), lambda said: said["status"] in FINAL)

    def in_progress(self, job_id: str) -> None:
        self.until(lambda: self.status(job_id), lambda said: said["status"] == "IN_PROGRESS")

    def cancel(self, job_id: str) -> None:
        self._http.post(f"/cancel/{job_id}")

    def stream(self, job_id: str) -> dict[str, Any]:
        return dict(self._http.get(f"/stream/{job_id}").json())

    def post_result(self, job: dict[str, Any], body: bytes) -> int:
        """Post a result as the worker of a job, and return the status of the answer."""
        return self._http.post(f"/job-done/{job['workerId']}/{job['id']}?isStream=false", content=body).status_code

    def logged(self, job: dict[str, Any], text: str) -> None:
        """Return when the log of the job's worker has the text."""
        self.until((self._logs / f"{job['workerId']}.log").read_text, lambda log: text in log)

    def health(self) -> dict[str, dict[str, int]]:
        return dict(self._http.get("/health").json())

    def until(self, look: Callable[[], Any], enough: Callable[[Any], bool]) -> Any:
        give_up_at = time.monotonic() + WITHIN_S
        while not enough(seen := look()):
            assert time.monotonic() < give_up_at, seen
            time.sleep(0.02)
        return seen


Open = Callable[..., Client]


@pytest.fixture(scope="module")
def opened(serve_module: Serve, tmp_path_factory: pytest.TempPathFactory) -> Open:
    """Return `opened(handler, active, most, settings)`, which starts a server and waits for its active workers."""

    def open_one(handler: str, active: int, most: int, **settings: Any) -> Client:
        logs = tmp_path_factory.mktemp("logs")
        served = serve_module(
            {"workers": {"active": active, "max": most}, **settings}, handler=str(HANDLERS / handler), logs=str(logs)
        )
        wait_for(lambda: f"ready: {active} active workers\n" in served.process.stdout)
        return Client(served, logs)

    return open_one


@pytest.fixture(scope="module")
def plain(opened: Open, tmp_path_factory: pytest.TempPathFactory) -> tuple[Ended, Client]:
    """Return the final states of a sync handler's jobs, all sent at once to four workers, and the client."""
    marks = tmp_path_factory.mktemp("marks")
    client = opened("plain.py", 4, 4, tries=2, payloads={"run": "20 kB"})
    asked = ("hang", "freeze once", "die once", "die", "raise", "error", "object", "large", "refresh", "echo")
    policies = {"hang": {"executionTimeout": 5000}}
    ids = {do: client.submit(policies.get(do), do=do, mark=str(marks / do), bytes=20_000) for do in asked}
    return {do: client.ended(job_id) for do, job_id in ids.items()}, client


def test_status_returns_the_result_and_its_times(plain: tuple[Ended, Client]) -> None:
    said = plain[0]["echo"]
    assert (said["status"], said["output"]["echo"]["do"]) == ("COMPLETED", "echo")
    assert 0 <= said["executionTime"] < 1000
    assert len(said["workerId"]) == 14


def test_a_handler_that_raises_or_returns_an_error_has_failed(plain: tuple[Ended, Client]) -> None:
    raised, returned = plain[0]["raise"], plain[0]["error"]
    assert [raised["status"], returned["status"]] == ["FAILED", "FAILED"]
    assert "this input cannot be served" in raised["error"]
    assert returned["error"] == "out of memory"


@pytest.mark.parametrize(
    ("do", "reason"),
    [
        ("object", "the handler's result is not JSON: Object of type object is not JSON serializable"),
        ("large", "the result: exceeded max body size of 20 kB"),
    ],
)
def test_result_that_is_refused_fails_its_job_and_is_logged(
    plain: tuple[Ended, Client], do: str, reason: str
) -> None:
    ended, client = plain
    assert (ended[do]["status"], ended[do]["executionTime"] < 5000) == ("FAILED", True)
    assert reason in ended[do]["error"]
    client.logged(ended[do], reason)


def test_job_that_kills_its_worker_is_retried_on_another_then_fails(plain: tuple[Ended, Client]) -> None:
    ended, client = plain
    assert (ended["die"]["status"], ended["die once"]["status"]) == ("FAILED", "COMPLETED")
    assert "worker died" in ended["die"]["error"]
    client.served.stop()
    given_back = {job["id"]: job["given_back"] for job in client.served.jobs()}
    assert [given_back[ended[do]["id"]] for do in ("die", "die once", "freeze once", "echo")] == [2, 1, 1, 0]
    assert len(given_back) == len(ended)


def test_job_whose_worker_stops_pinging_is_retried(plain: tuple[Ended, Client]) -> None:
    assert plain[0]["freeze once"]["status"] == "COMPLETED"


def test_job_that_hangs_past_its_execution_timeout_ends_then(plain: tuple[Ended, Client]) -> None:
    said = plain[0]["hang"]
    assert said["status"] == "TIMED_OUT"
    assert said["error"] == "executionTimeout exceeded"
    assert said["executionTime"] == pytest.approx(5000, abs=500)


def test_worker_that_asked_for_a_refresh_runs_no_other_job(plain: tuple[Ended, Client]) -> None:
    ended, client = plain
    client.served.stop()
    assert ended["refresh"]["status"] == "COMPLETED"
    its_jobs = [job["id"] for job in client.served.jobs() if job["worker"] == ended["refresh"]["workerId"]]
    assert its_jobs[-1] == ended["refresh"]["id"]


@pytest.fixture(scope="module")
def awaiting(opened: Open) -> Client:
    return opened("awaiting.py", 1, 1, policy={"execution_timeout": "3s", "timeout_stops_worker": False})


def test_a_concurrency_modifier_lets_a_worker_do_several_jobs_at_once(awaiting: Client) -> None:
    ended = [awaiting.ended(job_id) for job_id in [awaiting.submit(s=1.5) for _ in range(3)]]
    assert {said["status"] for said in ended} == {"COMPLETED"}
    assert all(1500 <= said["executionTime"] < 2500 for said in ended)
    assert all(said["delayTime"] < 1400 for said in ended)


@pytest.mark.parametrize("why", ["cancel", "timeout"])
def test_cancel_and_timeout_reach_the_running_handler_and_its_worker_continues(
    awaiting: Client, why: str, tmp_path: Path
) -> None:
    before = awaiting.ended(awaiting.submit())["workerId"]
    job_id = awaiting.submit(s=60, mark=str(tmp_path / why))
    awaiting.in_progress(job_id)
    if why == "cancel":
        awaiting.cancel(job_id)
    assert awaiting.ended(job_id)["status"] == {"cancel": "CANCELLED", "timeout": "TIMED_OUT"}[why]
    awaiting.until((tmp_path / why).exists, bool)
    assert awaiting.ended(awaiting.submit())["workerId"] == before
    assert awaiting.health()["jobs"]["retried"] == 0


@pytest.fixture(scope="module")
def chunks(opened: Open) -> Client:
    return opened("chunks.py", 1, 1)


@pytest.mark.alone
def test_chunks_reach_a_reader_as_soon_as_they_are_posted(chunks: Client) -> None:
    job_id = chunks.submit(count=15)
    late_ms, said = [], chunks.stream(job_id)
    while said["stream"] or said["status"] not in FINAL:
        late_ms += [(time.time() - chunk["output"]["at"]) * 1000 for chunk in said["stream"]]
        said = chunks.stream(job_id)
    assert len(late_ms) == 15
    assert statistics.median(late_ms) < 10
    assert chunks.ended(job_id)["status"] == "COMPLETED"


def test_a_generator_that_fails_midway_has_failed(chunks: Client) -> None:
    said = chunks.ended(chunks.submit(count=3, fails_at=1, gap_s=0))
    assert said["status"] == "FAILED"
    assert "no more" in said["error"]


def test_a_chunk_that_is_refused_fails_its_job_and_is_logged(chunks: Client) -> None:
    said = chunks.ended(chunks.submit(count=3, large_at=1, gap_s=0))
    assert (said["status"], said["error"]) == ("FAILED", "the chunk: exceeded max body size of 1 MB")
    chunks.logged(said, said["error"])


def test_a_result_that_is_not_json_fails_its_job_but_progress_does_not(chunks: Client) -> None:
    job_id = chunks.submit(count=10_000)
    chunks.in_progress(job_id)
    job = chunks.status(job_id)
    assert chunks.post_result(job, b'{"output": NaN, "status": "IN_PROGRESS"}') == 400
    assert chunks.status(job_id)["status"] == "IN_PROGRESS"
    assert chunks.post_result(job, b'{"output": NaN}') == 400
    said = chunks.ended(job_id)
    assert said["status"] == "FAILED"
    assert said["error"].startswith("not a result: ")
    chunks.logged(job, said["error"])


def test_nothing_is_left_of_the_workers_of_a_server_that_was_killed(opened: Open) -> None:
    client = opened("plain.py", 1, 1)
    client.in_progress(client.submit(do="hang"))
    processes = psutil.Process(client.served.pid).children(recursive=True)
    assert len(processes) >= 3  # the worker, the one that pings, the guard
    client.served.process.send_signal(signal.SIGKILL)
    gone, alive = psutil.wait_procs(processes, timeout=10)
    assert (len(gone), alive) == (len(processes), [])


def test_without_the_sdk_a_handler_is_refused_in_one_line() -> None:
    program = f"""
import sys
sys.modules["runpod"] = None
sys.argv[1:] = ["serve", "--handler", {str(HANDLERS / "plain.py")!r}]
from loadtest.cli import main
main()
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False)
    assert ran.returncode == 2
    (line,) = ran.stderr.splitlines()
    assert "pip install -c constraints.txt '.[handler]'" in line


def test_handler_that_cannot_start_is_reported_in_one_line(tmp_path: Path) -> None:
    broken = tmp_path / "broken.py"
    broken.write_text("import no_such_model\n")
    command = [sys.executable, "-m", "loadtest", "serve", "--port", "0", "--handler", str(broken), "--active", "1"]
    ran = subprocess.run(
        [*command, "--logs", str(tmp_path / "logs")], capture_output=True, text=True, timeout=30, check=False
    )
    assert ran.returncode == 2
    last = ran.stderr.splitlines()[-1]
    assert "broken.py: its first worker ended by itself (exit code 1)" in last
    assert last.endswith("No module named 'no_such_model'")


def test_worker_pauses_after_each_take_as_modelled(opened: Open) -> None:
    """Each kind of job runs three times, since a busy machine makes a take late and never early."""
    client = opened("sleeping.py", 1, 1)
    kinds = [(1.2, True), (1.2, False), (0.05, False)]
    for job_id in [client.submit(s=s, awaits=awaits) for s, awaits in [*kinds * 3, (0.0, False)]]:
        assert client.ended(job_id)["status"] == "COMPLETED"
    client.served.stop()
    done = sorted(client.served.jobs(), key=lambda job: job["taken_at"])
    late_s = []
    for (_, awaits), job, later in zip(kinds * 3, done, done[1:], strict=False):
        pause = TakePause.model_construct(duration=SDK_PAUSE_S, blocking_handler=not awaits)
        occupied_s = pause.occupancy_s(job["finished_at"] - job["taken_at"])
        late_s.append(later["taken_at"] - job["taken_at"] - occupied_s)
    assert [min(late_s[kind::3]) for kind in range(3)] == pytest.approx([0, 0, 0], abs=0.15)
