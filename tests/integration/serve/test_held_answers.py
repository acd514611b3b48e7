"""Answers that are held open: until the job ends, a chunk arrives, the wait is over, or the client disconnects."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.integration.conftest import KEY, Serve, Served


@pytest.fixture(scope="module")
def served(serve_module: Serve) -> Served:
    return serve_module(
        {
            "workers": {"active": 1, "max": 1},
            "chunks": {"count": 3, "first": "400ms", "gap": "900ms"},
            "stream": {"hold": "4s"},
            "retention": {"run": "1500ms", "runsync": "500ms"},
            "limits": {"runsync": "100 per 10 s, 1 at once"},
        }
    )


@pytest.fixture
def client(served: Served) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=served.url, headers={"Authorization": f"Bearer {KEY}"}, timeout=10) as client:
        yield client


def test_a_stream_is_held_until_its_next_chunk_and_ends_with_a_final_state(client: httpx.Client) -> None:
    job_id = client.post("/run", json={"input": 1}).json()["id"]
    began = time.monotonic()
    reads = []
    while not reads or reads[-1][1]:
        said = client.get(f"/stream/{job_id}").json()
        reads.append((time.monotonic() - began, said["stream"], said["status"]))
    assert [len(chunks) for _, chunks, _ in reads] == [1, 1, 1, 0]
    assert [status for _, _, status in reads] == ["IN_PROGRESS", "IN_PROGRESS", "COMPLETED", "COMPLETED"]
    for (at, _, _), due in zip(reads, (0.4, 1.3, 2.2), strict=False):
        assert due - 0.05 < at < due + 0.85


def test_a_stream_gets_its_next_chunk_sooner_if_another_job_of_the_worker_ends(serve: Serve) -> None:
    workers = {"active": 1, "max": 1, "concurrency": 2}
    chunks = {"count": 2, "first": "400ms", "gap": "30s"}
    served = serve({"workers": workers, "chunks": chunks, "slowdown": {"2": 20}, "stream": {"hold": "20s"}})
    with httpx.Client(base_url=served.url, headers={"Authorization": KEY}, timeout=30) as client:
        first, second = (client.post("/run", json={"input": 1}).json()["id"] for _ in range(2))
        with ThreadPoolExecutor() as pool:
            began = time.monotonic()
            held = pool.submit(client.get, f"/stream/{first}")
            time.sleep(0.2)
            client.post(f"/cancel/{second}")
            assert held.result().json()["stream"]
            assert time.monotonic() - began < 4  # 8 s after its start if the other job stays


def test_a_stream_of_a_waiting_job_is_held_over_the_start_of_its_work(client: httpx.Client) -> None:
    first, second = (client.post("/run", json={"input": 1}).json()["id"] for _ in range(2))
    said = client.get(f"/stream/{second}").json()
    assert (len(said["stream"]), said["status"]) == (1, "IN_PROGRESS")
    assert client.get(f"/status/{first}").json()["status"] == "COMPLETED"
    client.post(f"/cancel/{second}")
    assert client.get(f"/stream/{second}").json() == {"stream": [], "status": "CANCELLED"}


def test_cancelling_ends_a_runsync_that_waits(served: Served, client: httpx.Client) -> None:
    blocking = client.post("/run", json={"input": 1}).json()["id"]
    with ThreadPoolExecutor() as pool:
        held = pool.submit(httpx.post, f"{served.url}/runsync", json={"input": 1}, headers={"Authorization": KEY})
        while client.get("/health").json()["jobs"]["inQueue"] == 0:
            assert not held.done()
        assert client.post("/purge-queue").json()["removed"] == 1
        said = held.result(timeout=5).json()
    assert said["status"] == "CANCELLED"
    assert "delayTime" not in said
    client.post(f"/cancel/{blocking}")


def test_results_are_kept_for_their_time(client: httpx.Client) -> None:
    synced = client.post("/runsync", json={"input": 1}).json()
    ran = client.post("/run", json={"input": 1}).json()["id"]
    assert client.get(f"/status/{synced['id']}").status_code == 200
    seen = {}
    deadline = time.monotonic() + 9
    while len(seen) < 2 and time.monotonic() < deadline:
        for name, job_id in (("sync", synced["id"]), ("run", ran)):
            if client.get(f"/status/{job_id}").status_code == 404:
                seen.setdefault(name, time.monotonic())
        time.sleep(0.02)
    assert seen["run"] - seen["sync"] == pytest.approx(2.2 + 1.5 - 0.5, abs=0.6)


def test_job_is_shown_in_its_present_state_when_the_wait_ends_first(serve: Serve) -> None:
    served = serve({"workers": {"active": 1, "max": 1}, "service": "3s"})
    with httpx.Client(base_url=served.url, headers={"Authorization": KEY}, timeout=10) as client:
        client.post("/run", json={"input": 1})
        began = time.monotonic()
        queued = client.post("/runsync?wait=1000", json={"input": 1}).json()
        assert 1.0 <= time.monotonic() - began < 2.5
        assert queued == {"id": queued["id"], "status": "IN_QUEUE"}
        time.sleep(max(0.0, began + 4 - time.monotonic()))
        running = client.get(f"/status/{queued['id']}").json()
        assert running["status"] == "IN_PROGRESS"
        assert running["delayTime"] == pytest.approx(3000, abs=300)
        assert "executionTime" not in running


def test_client_that_disconnects_frees_its_concurrency_slot(served: Served, client: httpx.Client) -> None:
    blocking = [client.post("/run", json={"input": 1}).json()["id"] for _ in range(4)]
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{served.url}/runsync", json={"input": 1}, headers={"Authorization": KEY}, timeout=0.3)
    for job_id in blocking:
        client.post(f"/cancel/{job_id}")
    assert client.post("/runsync", json={"input": 1}).status_code == 200
    deadline = time.monotonic() + 2
    while None not in [each["status"] for each in served.requests()] and time.monotonic() < deadline:
        time.sleep(0.05)
    assert [each["op"] for each in served.requests() if each["status"] is None] == ["runsync"]


def test_the_concurrent_limit_holds_while_an_answer_is_held(served: Served, client: httpx.Client) -> None:
    with ThreadPoolExecutor() as pool:
        held = pool.submit(httpx.post, f"{served.url}/runsync", json={"input": 1}, headers={"Authorization": KEY})
        while client.get("/health").json()["jobs"]["inProgress"] == 0:
            assert not held.done()
        over = client.post("/runsync", json={"input": 1})
        assert (over.status_code, over.headers["Retry-After"]) == (429, "1")
        assert held.result(timeout=5).status_code == 200
    assert client.post("/runsync", json={"input": 1}).status_code == 200
