"""The cURL lines of the vendor's page "Invoke a Job", run as printed there except for host, ids and key."""

from __future__ import annotations

import json
import re
import subprocess
from typing import Any

import pytest

from tests.integration.conftest import KEY, Serve, Served

RUN = """
curl -X POST https://api.runpod.ai/v2/{endpoint_id}/run \\
    -H 'Content-Type: application/json' \\
    -H 'Authorization: Bearer ${API_KEY}' \\
    -d '{"input": {"prompt": "Your prompt"}}'
"""
RUNSYNC = """
curl -X POST https://api.runpod.ai/v2/{endpoint_id}/runsync \\
    -H 'Content-Type: application/json' \\
    -H 'Authorization: Bearer ${API_KEY}' \\
    -d '{"input": {"prompt": "Your prompt"}}'
"""
HEALTH = """
curl --request GET \\
     --url https://api.runpod.ai/v2/{endpoint_id}/health \\
     --header 'accept: application/json' \\
     --header 'Authorization: Bearer ${API_KEY}'
"""
PURGE_QUEUE = """
curl -X POST https://api.runpod.ai/v2/{endpoint_id}/purge-queue \\
    -H 'Content-Type: application/json' \\
    -H 'Authorization: Bearer Bearer ${API_KEY}'
"""
STATUS = """
curl https://api.runpod.ai/v2/{endpoint_id}/status/{job_id} \\
    -H 'Authorization: Bearer ${API_KEY}'
"""
STREAM = """
curl https://api.runpod.ai/v2/{endpoint_id}/stream/{job_id} \\
    -H 'Content-Type: application/json' \\
    -H 'Authorization: Bearer Bearer ${API_KEY}'
"""
UUID = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
SETTINGS = {
    "workers": {"active": 1, "max": 1},
    "chunks": {"count": 2, "first": "100ms", "gap": "0s", "tokens": 1},
    "stream": {"form": "array", "hold": "5s"},
}


@pytest.fixture(scope="module")
def served(serve_module: Serve) -> Served:
    return serve_module(SETTINGS)


def curl(served: Served, line: str, job_id: str = "") -> Any:
    line = line.replace("https://api.runpod.ai/v2/{endpoint_id}", served.url)
    line = line.replace("{job_id}", job_id).replace("${API_KEY}", KEY)
    ran = subprocess.run(["bash", "-c", line], capture_output=True, timeout=20, check=True)
    return json.loads(ran.stdout)


def test_run_answers_at_once_with_an_id(served: Served) -> None:
    said = curl(served, RUN)
    assert set(said) == {"id", "status"}
    assert re.fullmatch(UUID, said["id"])
    assert said["status"] == "IN_QUEUE"


def test_runsync_answers_with_the_finished_job(served: Served) -> None:
    said = curl(served, RUNSYNC)
    assert set(said) == {"delayTime", "executionTime", "id", "output", "status", "workerId"}
    assert re.fullmatch("sync-" + UUID, said["id"])
    assert (said["status"], said["executionTime"]) == ("COMPLETED", 100)
    assert isinstance(said["delayTime"], int)


def test_health_counts_jobs_and_workers(served: Served) -> None:
    curl(served, RUNSYNC)
    said = curl(served, HEALTH)
    assert set(said["jobs"]) == {"completed", "failed", "inProgress", "inQueue", "retried"}
    assert said["jobs"]["completed"] >= 1
    assert {"idle", "running"} <= set(said["workers"])


def test_purge_queue_returns_the_count_it_removed(served: Served) -> None:
    said = curl(served, PURGE_QUEUE)
    assert set(said) == {"removed", "status"}
    assert (said["removed"], said["status"]) == (0, "completed")


def test_stream_gives_chunks_and_then_status_the_whole_output(served: Served) -> None:
    job_id = curl(served, RUN)["id"]
    chunks = curl(served, STREAM, job_id)
    assert len(chunks) == 2
    for index, chunk in enumerate(chunks, 1):
        assert set(chunk) == {"metrics", "output"}
        assert chunk["metrics"]["stream_index"] == index
        assert set(chunk["metrics"]) >= {"input_tokens", "output_tokens", "running", "scenario", "swapped"}
        assert set(chunk["output"]) == {"input_tokens", "output_tokens", "text"}
    said = curl(served, STATUS, job_id)
    assert set(said) == {"delayTime", "executionTime", "id", "output", "status", "workerId"}
    assert said["output"] == [chunk["output"] for chunk in chunks]
    assert (said["id"], said["status"]) == (job_id, "COMPLETED")
