"""status-sync, retry, policy, webhooks, and settings that change the answers."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from typing import Any

import httpx
import pytest

from tests.integration.conftest import KEY, Serve, Served, wait_for


@pytest.fixture(scope="module")
def served(serve_module: Serve) -> Served:
    return serve_module(
        {
            "workers": {"active": 1, "max": 1},
            "service": "300ms",
            "failure_rate": "50 %",
            "policy": {"execution_timeout": "200ms", "timeout_stops_worker": False},
            "webhooks": {"retry_interval": "100ms"},
            "unsupported_operations": ["purge-queue"],
            "payloads": {"run": "1 kB", "too_large_status": 413},
        }
    )


@pytest.fixture
def client(served: Served) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=served.url, headers={"Authorization": f"Bearer {KEY}"}, timeout=10) as client:
        yield client


@pytest.fixture
def receiver() -> Iterator[tuple[str, list[dict[str, Any]], list[int]]]:
    """Yield a URL, the bodies posted to it, and the statuses that it answers before 200."""
    bodies: list[dict[str, Any]] = []
    statuses: list[int] = []

    class Listener(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(statuses.pop(0) if statuses else 200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Listener) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/done", bodies, statuses
        server.shutdown()


def with_long_timeout(**more: object) -> dict[str, object]:
    """Return a submission with a longer execution timeout than the endpoint's."""
    return {"input": 1, "policy": {"executionTimeout": 10_000}, **more}


def test_status_sync_is_held_until_the_job_ends(client: httpx.Client) -> None:
    job_id = client.post("/run", json=with_long_timeout()).json()["id"]
    said = client.get(f"/status-sync/{job_id}").json()
    assert said["status"] in ("COMPLETED", "FAILED")
    assert said["executionTime"] == 300
    assert client.get(f"/status-sync/{job_id}").json() == client.get(f"/status/{job_id}").json() == said
    assert client.get("/status-sync/no-such-job").status_code == 404
    assert client.get(f"/status-sync/{job_id}?wait=90001").status_code == 400


def test_past_its_execution_timeout_a_job_ends_and_can_be_retried(serve: Serve) -> None:
    policy = {"execution_timeout": "1s", "timeout_stops_worker": False}
    served = serve({"workers": {"active": 1, "max": 1}, "service": "9s", "policy": policy})
    with httpx.Client(base_url=served.url, headers={"Authorization": KEY}, timeout=10) as client:
        job_id = client.post("/run", json={"input": 1}).json()["id"]
        said = client.get(f"/status-sync/{job_id}").json()
        ended = said["status"], said["error"], said["executionTime"]
        assert ended == ("TIMED_OUT", "executionTimeout exceeded", 1000)
        assert client.post(f"/retry/{job_id}").json() == {"id": job_id, "status": "IN_QUEUE"}
        assert client.get(f"/status/{job_id}").json()["status"] == "IN_PROGRESS"
        assert client.post(f"/retry/{job_id}").status_code == 400
        assert client.get(f"/status-sync/{job_id}").json()["status"] == "TIMED_OUT"
        assert client.post("/retry/no-such-job").status_code == 404


@pytest.mark.parametrize("policy", [{"executionTimeout": 4999}, {"ttl": 9999}, {"ttl": "1"}, {"lowPriority": 1}, 5])
def test_a_policy_out_of_its_range_is_a_bad_request(client: httpx.Client, policy: object) -> None:
    answer = client.post("/run", json={"input": 1, "policy": policy})
    assert answer.status_code == 400
    assert "policy" in answer.json()["detail"]


def test_a_webhook_gets_the_job_as_status_shows_it(
    client: httpx.Client, receiver: tuple[str, list[dict[str, Any]], list[int]]
) -> None:
    url, bodies, _ = receiver
    job_id = client.post("/run", json=with_long_timeout(webhook=url)).json()["id"]
    wait_for(lambda: bodies)
    assert bodies == [client.get(f"/status/{job_id}").json()]


def test_job_past_its_ttl_is_timed_out_for_held_requests_and_404_for_later_ones(
    serve: Serve, receiver: tuple[str, list[dict[str, Any]], list[int]]
) -> None:
    url, bodies, _ = receiver
    ended = serve({"workers": {"active": 1, "max": 1}, "service": "30s", "policy": {"ttl": "300ms"}})
    with httpx.Client(base_url=ended.url, headers={"Authorization": f"Bearer {KEY}"}, timeout=10) as client:
        held = client.post("/runsync", json={"input": 1, "webhook": url})
        wait_for(lambda: bodies)
        assert (held.status_code, held.json()["status"]) == (200, "TIMED_OUT")
        assert bodies == [held.json()]
        assert client.get(f"/status/{held.json()['id']}").status_code == 404
        job_id = client.post("/run", json={"input": 1}).json()["id"]
        assert client.get(f"/status-sync/{job_id}").status_code == 404


@pytest.mark.parametrize(("refusals", "calls"), [([500], 2), ([404, 302], 3), ([500, 500, 500, 500], 3)])
def test_a_webhook_is_tried_three_times_at_the_most(
    served: Served,
    client: httpx.Client,
    receiver: tuple[str, list[dict[str, Any]], list[int]],
    refusals: list[int],
    calls: int,
) -> None:
    url, bodies, statuses = receiver
    statuses += refusals
    job_id = client.post("/run", json=with_long_timeout(webhook=url)).json()["id"]
    wait_for(lambda: len(bodies) == calls)
    time.sleep(0.4)
    assert len(bodies) == calls
    noted = [
        each for each in map(json.loads, served.journal.read_text().splitlines()) if each.get("webhook") == job_id
    ]
    assert [each["status"] for each in noted] == [*refusals, 200][:calls]
    assert all(later["at"] - first["at"] >= 0.1 for first, later in pairwise(noted))


@pytest.mark.parametrize("url", ["http://192.0.2.1/", "ftp://127.0.0.1/", "http://", "nowhere", "http://[::1"])
def test_remote_or_malformed_webhook_is_a_bad_request(client: httpx.Client, url: str) -> None:
    answer = client.post("/run", json={"input": 1, "webhook": url})
    assert (answer.status_code, answer.json()["detail"][:21]) == (400, "bad request: webhook:")


def test_a_body_too_large_may_be_answered_413(client: httpx.Client) -> None:
    answer = client.post("/run", json={"input": "x" * 1000})
    assert (answer.status_code, answer.json()["title"]) == (413, "Request Entity Too Large")
    assert answer.json()["detail"] == "payload too large: body: exceeded max body size of 1 kB"


def test_unsupported_operation_is_unknown(client: httpx.Client) -> None:
    assert client.post("/purge-queue").status_code == 404
