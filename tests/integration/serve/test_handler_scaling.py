"""Real workers start and stop when the scaler's documented rule says so."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.integration.conftest import KEY, Serve

pytestmark = pytest.mark.alone

HANDLER = Path(__file__).parents[3] / "examples" / "handler.py"
TICK_S = 0.25
IDLE_S = 2.0
SCALERS: dict[str, Any] = {"queue delay": {"queue_delay": "1s"}, "request count": {"request_count": 3}}


class Watched:
    """A burst that starts workers, observed from outside: by the logs that appear, and by health."""

    def __init__(self, serve: Serve, scaler: dict[str, Any], logs: Path) -> None:
        workers = {"active": 0, "max": 3}
        served = serve(
            {"workers": workers, "scaler": scaler, "idle_timeout": f"{IDLE_S}s"}, handler=str(HANDLER), logs=str(logs)
        )
        client = httpx.Client(base_url=served.url, headers={"Authorization": f"Bearer {KEY}"}, timeout=20)
        self.client, self.logs, self.process = client, logs, served.process
        self.submitted_s: list[float] = []
        self.started_s: list[float] = []
        self.jobs_done_s = self.workers_gone_s = float("nan")
        began = time.monotonic()
        give_up_s, up = 40.0, 1
        while up and time.monotonic() - began < give_up_s:
            now_s = time.monotonic() - began
            if len(self.submitted_s) < 7 and now_s >= 0.3 * len(self.submitted_s):
                self.submitted_s.append(now_s)
                client.post("/run", json={"input": {}})
            self.started_s += [now_s] * (len(list(logs.iterdir())) - len(self.started_s))
            said = client.get("/health").json()
            if said["jobs"]["completed"] == 7 and self.jobs_done_s != self.jobs_done_s:
                self.jobs_done_s = now_s
            up = sum(said["workers"][state] for state in ("idle", "running", "initializing")) or not self.started_s
            time.sleep(0.02)
        self.workers_gone_s = time.monotonic() - began


@pytest.fixture(scope="module")
def watched(serve_module: Serve, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Watched]:
    with ThreadPoolExecutor() as pool:
        futures = {
            name: pool.submit(Watched, serve_module, scaler, tmp_path_factory.mktemp("logs"))
            for name, scaler in SCALERS.items()
        }
        return {name: future.result() for name, future in futures.items()}


def test_request_count_scaler_starts_a_worker_with_each_third_job(watched: dict[str, Watched]) -> None:
    seen = watched["request count"]
    assert seen.started_s == pytest.approx([seen.submitted_s[n] for n in (0, 3, 6)], abs=TICK_S)


def test_queue_delay_scaler_starts_a_worker_for_each_job_that_waited_longer(watched: dict[str, Watched]) -> None:
    seen = watched["queue delay"]
    assert seen.started_s == pytest.approx([seen.submitted_s[n] + 1.0 for n in (0, 1, 2)], abs=TICK_S)


@pytest.mark.parametrize("name", SCALERS)
def test_idle_workers_stop_after_the_idle_timeout(watched: dict[str, Watched], name: str) -> None:
    seen = watched[name]
    assert seen.workers_gone_s - seen.jobs_done_s == pytest.approx(IDLE_S, abs=2 * TICK_S)


def test_recently_stopped_worker_is_revived(watched: dict[str, Watched]) -> None:
    seen = watched["request count"]
    said = seen.client.post("/runsync", json={"input": {}}).json()
    assert said["status"] == "COMPLETED"
    assert said["workerId"] in {path.stem for path in seen.logs.iterdir()}
    assert said["delayTime"] < 1500  # the SDK's own pause is a part of it
    assert len(list(seen.logs.iterdir())) == len(seen.started_s)


def test_a_suspended_worker_ends_with_a_server_that_was_killed(watched: dict[str, Watched]) -> None:
    server = watched["queue delay"].process
    left = psutil.Process(server.pid).children(recursive=True)
    assert sum(each.status() == psutil.STATUS_STOPPED for each in left) >= 3
    server.kill()
    gone, alive = psutil.wait_procs(left, timeout=10)
    assert (len(gone), alive) == (len(left), [])
