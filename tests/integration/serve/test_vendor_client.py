"""The vendor's own Python client, sync and asyncio, in a process of its own, against the endpoint."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from tests.integration.conftest import KEY, Serve

PROGRAM = """
import asyncio, json, os, sys
import requests, runpod
from runpod.endpoint.asyncio.asyncio_runner import Endpoint as AsyncEndpoint, Job as AsyncJob
from runpod.http_client import AsyncClientSession

runpod.api_key = os.environ["RUNPOD_API_KEY"]
endpoint = runpod.Endpoint("local")
sync, asynchronous = {}, {}

def error_text(call):
    try:
        call()
    except (RuntimeError, requests.HTTPError) as error:
        return str(error)

def with_the_sync_client(said):
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
    said["401"] = error_text(runpod.Endpoint("local", api_key="wrong").health)
    job.job_id, job.job_status = "no-such-job", None
    said["404"] = error_text(job.status)

async def with_the_async_client(said):
    async with AsyncClientSession() as session:
        endpoint = AsyncEndpoint("local", session)
        job = await endpoint.run({"prompt": "Your prompt"})
        said["early"] = await job.status()
        said["streamed"] = [chunk async for chunk in job.stream()]
        said["late"] = await job.status()
        said["output"] = await job.output(timeout=10)
        said["waited for"] = await (await endpoint.run({"prompt": "another"})).output(timeout=10)
        said["health"] = await endpoint.health()
        jobs = [await endpoint.run({"n": 1}) for _ in range(3)]
        said["purged"] = await endpoint.purge_queue()
        said["after purge"] = [await job.status() for job in jobs[1:]]
        said["cancelled"] = await jobs[0].cancel()
        said["after cancel"] = await jobs[0].status()
        said["401"] = await AsyncEndpoint("local", session, api_key="wrong").health()
        said["404"] = await AsyncJob("local", "no-such-job", session, endpoint.headers).status()
        said["429"] = await endpoint.purge_queue()

with_the_sync_client(sync)
asyncio.run(with_the_async_client(asynchronous))
sync["429"] = error_text(endpoint.purge_queue)
json.dump([sync, asynchronous], sys.stdout)
"""
CHUNKS = [{"text": [f" {index}"], "output_tokens": 2, "input_tokens": 0} for index in (1, 2, 3)]


@pytest.fixture(scope="module")
def answers(serve_module: Serve) -> dict[str, Any]:
    """Return the results of each form of the client, and the ids of all jobs in the server's journal."""
    chunks = {"count": 3, "first": "300ms", "gap": "100ms", "tokens": 2}
    served = serve_module({"workers": {"active": 1, "max": 1}, "chunks": chunks})
    base = served.url.removesuffix("/local")
    environment = {**os.environ, "RUNPOD_ENDPOINT_BASE_URL": base, "RUNPOD_API_KEY": KEY}
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=50, env=environment, check=False
    )
    assert ran.returncode == 0, ran.stderr
    sync, asynchronous = json.loads(ran.stdout)
    served.stop()
    return {"sync": sync, "asyncio": asynchronous, "journal": [job["id"] for job in served.jobs()]}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("form", ["sync", "asyncio"])
def test_every_call_of_the_vendor_s_client_works_unchanged(answers: dict[str, Any], form: str) -> None:
    said = answers[form]
    assert said["early"] in ("IN_QUEUE", "IN_PROGRESS")
    assert said["streamed"] == CHUNKS
    assert said["late"] == "COMPLETED"
    assert said["output"] == said["waited for"] == said.get("run_sync", CHUNKS) == CHUNKS
    done = {"sync": 3, "asyncio": 6}[form]
    assert said["health"]["jobs"] == {"completed": done, "failed": 0, "inProgress": 0, "inQueue": 0, "retried": 0}
    assert said["health"]["workers"]["running"] == 1
    assert said["purged"] == {"removed": 2, "status": "completed"}
    assert said["after purge"] == ["CANCELLED", "CANCELLED"]
    assert said["cancelled"]["status"] == said["after cancel"] == "CANCELLED"


def test_refusals_reach_the_vendor_s_client(answers: dict[str, Any]) -> None:
    sync, asynchronous = answers["sync"], answers["asyncio"]
    assert sync["401"].startswith("401")
    assert sync["404"].startswith("404 Client Error")
    assert sync["429"].startswith("429 Client Error")
    # the asyncio form returns a problem document like any other answer
    assert [asynchronous["401"]["status"], asynchronous["404"], asynchronous["429"]["status"]] == [401, 404, 429]


def test_the_journal_has_every_job_of_the_vendor_s_client(answers: dict[str, Any]) -> None:
    assert answers["sync"]["id"] in answers["journal"]
    assert len(answers["journal"]) == 7 + 5
