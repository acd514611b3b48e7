"""The vendor's own Python client, in a process of its own, against the endpoint."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.integration.conftest import KEY, Serve

PROGRAM = """
import json, os, sys
import runpod

runpod.api_key = os.environ["RUNPOD_API_KEY"]
endpoint = runpod.Endpoint("local")
said = {}

job = endpoint.run({"input": {"prompt": "Your prompt"}})
said["id"] = job.job_id
said["early"] = job.status()
said["streamed"] = list(job.stream())
said["late"] = job.status()
said["output"] = job.output()
said["waited for"] = endpoint.run({"prompt": "no input key"}).output(timeout=10)
said["run_sync"] = endpoint.run_sync({"input": {"prompt": "Your prompt"}}, timeout=10)
said["health"] = endpoint.health()

jobs = [endpoint.run({"input": 1}) for _ in range(3)]
said["purged"] = endpoint.purge_queue()
said["after purge"] = [jobs[1].status(), jobs[2].status()]
running = endpoint.run({"input": 1})
said["cancelled"] = running.cancel()
said["after cancel"] = running.status()

try:
    runpod.Endpoint("local", api_key="wrong").health()
except RuntimeError as fault:
    said["refused"] = str(fault)
json.dump(said, sys.stdout)
"""


@pytest.mark.timeout(60)
def test_every_call_of_the_vendor_s_client_works_unchanged(serve: Serve) -> None:
    served = serve(
        {"workers": {"active": 1, "max": 1}, "chunks": {"count": 3, "first": "300ms", "gap": "100ms", "tokens": 2}}
    )
    base = served.url.removesuffix("/local")
    environment = {**os.environ, "RUNPOD_ENDPOINT_BASE_URL": base, "RUNPOD_API_KEY": KEY}
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=50, env=environment, check=False
    )
    assert ran.returncode == 0, ran.stderr
    said = json.loads(ran.stdout)

    chunks = [{"text": [f" {index}"], "output_tokens": 2, "input_tokens": 0} for index in (1, 2, 3)]
    assert said["early"] in ("IN_QUEUE", "IN_PROGRESS")
    assert said["streamed"] == chunks
    assert said["late"] == "COMPLETED"
    assert said["output"] == said["waited for"] == said["run_sync"] == chunks
    assert said["health"]["jobs"] == {"completed": 3, "failed": 0, "inProgress": 0, "inQueue": 0, "retried": 0}
    assert said["health"]["workers"]["idle"] == 1
    assert said["purged"] == {"removed": 2, "status": "completed"}
    assert said["after purge"] == ["CANCELLED", "CANCELLED"]
    assert said["cancelled"]["status"] == said["after cancel"] == "CANCELLED"
    assert said["refused"].startswith("401")
    journal_ids = [job["id"] for job in (served.stop(), served.jobs())[1]]
    assert said["id"] in journal_ids
    assert len(journal_ids) == 7
