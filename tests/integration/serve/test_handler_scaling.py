"""Real workers start and stop when the scaler's documented rule says so."""

from __future__ import annotations

import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.integration.conftest import KEY, Serve
from tests.integration.processes import LoadtestProcess

HANDLER = Path(__file__).parents[3] / "examples" / "handler.py"
TICK_S = 0.25
IDLE_S = 2.0
SCALERS: list[dict[str, Any]] = [{"queue_delay": "1s"}, {"request_count": 3}]


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
            up = sum(said["workers"][state] for state in ("running", "initializing")) or not self.started_s
            time.sleep(0.02)
        self.workers_gone_s = time.monotonic() - began


@pytest.mark.alone
def test_workers_start_and_stop_by_the_rule_of_the_scaler_and_end_with_a_killed_server(
    serve: Serve, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with ThreadPoolExecutor() as pool:
        futures = [pool.submit(Watched, serve, scaler, tmp_path_factory.mktemp("logs")) for scaler in SCALERS]
        by_delay, by_count = (future.result() for future in futures)
    # one worker for each job that has waited for 1 s, and one for each third job
    assert by_delay.started_s == pytest.approx([by_delay.submitted_s[n] + 1.0 for n in (0, 1, 2)], abs=TICK_S)
    assert by_count.started_s == pytest.approx([by_count.submitted_s[n] for n in (0, 3, 6)], abs=TICK_S)
    for seen in (by_delay, by_count):
        assert seen.workers_gone_s - seen.jobs_done_s == pytest.approx(IDLE_S, abs=2 * TICK_S)
    recently_stopped_worker_is_revived(by_count)
    suspended_workers_end_with_a_server_that_was_killed(by_delay.process)


def recently_stopped_worker_is_revived(seen: Watched) -> None:
    answer = seen.client.post("/runsync", json={"input": {}}).json()
    assert answer["status"] == "COMPLETED"
    assert answer["workerId"] in {path.stem for path in seen.logs.iterdir()}
    assert answer["delayTime"] < 1500  # the SDK's own pause is a part of it
    assert len(list(seen.logs.iterdir())) == len(seen.started_s)


def suspended_workers_end_with_a_server_that_was_killed(server: LoadtestProcess) -> None:
    processes = psutil.Process(server.pid).children(recursive=True)
    assert sum(each.status() == psutil.STATUS_STOPPED for each in processes) >= 3
    server.send_signal(signal.SIGKILL)
    gone, alive = psutil.wait_procs(processes, timeout=10)
    assert (len(gone), alive) == (len(processes), [])
