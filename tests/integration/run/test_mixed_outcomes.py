"""Failures, cancels, retries, dead workers and jobs that take too long, all at once: samples and journal agree."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter, defaultdict
from typing import Any

import httpx
import numpy as np

from loadtest.endpoint.endpoint import Endpoint
from loadtest.endpoint.settings import EndpointSettings
from loadtest.protocol.operations import Op
from tests.integration.conftest import KEY, Serve, Served
from tests.integration.run.conftest import LATE_IS_SOUND, Finished, Run, journal_of, open_load

SEED = 7
JOBS = 1150
AT_ONCE, TRIES = 16, 100
"""Jobs that the meddler watches at once, and how often it tries one that does not exist or cannot be retried yet."""
LIMITS = {"run": "2000 per 10 s", "status": "20000 per 10 s"}
ENDPOINT = {
    "workers": {"active": 15, "max": 15},
    "service": {"median": "120ms", "sigma": 0.6},
    "cold_start": "400ms",
    "failure_rate": "6 %",
    "crash_rate": "6 %",
    "policy": {"execution_timeout": "400ms", "ttl": "800ms"},
    "limits": {"cancel": "1000 per 1 s", **LIMITS},
}


class Meddler(threading.Thread):
    """Cancels of some jobs and retries of others, drawn from the seed; it knows the ids that the server will give."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self._url = url
        model = Endpoint(EndpointSettings.model_validate(ENDPOINT), SEED, 0.0)
        self._ids = [model.submit(Op.RUN, 0.0).id for _ in range(JOBS)]
        self._over = threading.Event()
        self.cancelled = self.retried = 0

    def run(self) -> None:
        picked = np.flatnonzero(np.random.default_rng(SEED).random(JOBS) < 0.5).tolist()
        pending = [(index, TRIES) for index in picked]
        with httpx.Client(base_url=self._url, headers={"Authorization": KEY}, timeout=5) as client:
            while pending and not self._over.is_set():
                watched, pending = pending[:AT_ONCE], pending[AT_ONCE:]
                rest = [(index, tries - 1) for index, tries in watched if not self._done(client, index)]
                pending = [each for each in rest if each[1]] + pending
                time.sleep(0.01)

    def _done(self, client: httpx.Client, index: int) -> bool:
        """Return whether the job is cancelled or retried, or can no longer be."""
        for job_id in (self._ids[index], f"sync-{self._ids[index]}"):
            answer = client.post(f"/{'cancel' if index % 2 else 'retry'}/{job_id}")
            if index % 2 and answer.status_code == 200:
                self.cancelled += answer.json()["status"] == "CANCELLED"
                return True
            if answer.status_code == 200:
                self.retried += 1
                return True
            if answer.status_code == 400 and ("COMPLETED" in answer.text or "CANCELLED" in answer.text):
                return True
        return False

    def stop(self) -> None:
        self._over.set()
        self.join(10)


def test_journal_and_samples_agree_on_the_outcome_of_every_job(run: Run, serve: Serve) -> None:
    served = serve(ENDPOINT, seed=SEED)
    meddler = Meddler(served.url)
    meddler.start()
    flows = {"run": {"polling": {"every": "50ms"}}, "runsync": {}, "webhook": {}}
    scenario = open_load("160/s", "7s", flows=flows, limits=LIMITS, **LATE_IS_SOUND)
    finished = run(scenario, "--target", served.url)
    meddler.stop()
    served.stop()
    rows = {row["job_id"]: row for row in finished.samples}
    ends = defaultdict(list)
    for line in served.jobs():
        ends[line["id"]].append(line)
    assert len(rows) > 1000
    assert rows.keys() == ends.keys()
    for job_id, row in rows.items():
        # a job that was retried has ended more than once, and its client saw one of the ends
        assert any(agrees(row, line) for line in ends[job_id]), (row, ends[job_id])
    counted = Counter(row["outcome"] for row in rows.values())
    assert set(counted) == {"completed", "failed", "cancelled", "timed_out", "expired"}
    assert sum(line["given_back"] > 0 for lines in ends.values() for line in lines) > 10
    assert sum(len(lines) > 1 for lines in ends.values()) >= meddler.retried > 0
    assert meddler.cancelled > 10
    jobs_with_webhooks_are_not_polled(finished, served)


def agrees(row: dict[str, Any], line: dict[str, Any]) -> bool:
    reported = {line["status"].lower(), "expired"} if line["expired"] else {line["status"].lower()}
    if row["outcome"] not in reported:
        return False
    if row["outcome"] == "expired" or line["taken_at"] is None:
        return row["execution_ms"] is None
    taken_ms, ended_ms = round(line["taken_at"] * 1000), round(line["finished_at"] * 1000)
    times = taken_ms - round(line["submitted_at"] * 1000), ended_ms - taken_ms
    return (row["delay_ms"], row["execution_ms"]) == times


def jobs_with_webhooks_are_not_polled(finished: Finished, served: Served) -> None:
    flows = finished.summary["flows"]
    assert flows["webhook"]["polls_per_job"] == 0
    assert flows["run"]["polls_per_job"] > 1
    assert "polling lag" in (finished.out / "report.html").read_text()
    posts = [line for line in map(json.loads, served.journal.read_text().splitlines()) if "webhook" in line]
    assert {line["status"] for line in posts} == {200}
    webhooks = [row for row in finished.samples if row["flow"] == "webhook"]
    assert {row["job_id"] for row in webhooks} == {line["webhook"] for line in posts}


def test_long_polls_and_drawn_inputs_reach_the_endpoint(run: Run, serve: Serve) -> None:
    served = serve({"workers": {"active": 20, "max": 20}, "service": "300ms"})
    flows = {"run": {"polling": {"policy": "long"}, "inputs": {"template": {"text": "${text 500 kB}"}}}}
    finished = run(open_load("8/s", "2s", flows=flows), "--target", served.url)
    journal = journal_of(served)
    asked = Counter(each["op"] for each in journal.requests)
    jobs = len(finished.samples)
    assert (asked["run"], asked["status-sync"], asked["status"]) == (jobs, jobs, 0)
    assert {row["outcome"] for row in finished.samples} == {"completed"}
    assert all(row["request_bytes"] > 5e5 for row in finished.samples)
    assert finished.run["payloads"].keys() == {"run"}
    assert finished.summary["flows"]["run"]["lag_ms"]["p50"] < 150
