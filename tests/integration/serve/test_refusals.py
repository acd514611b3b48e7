"""Requests that the server refuses, in which order, and without any effect."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import httpx
import pytest

from tests.integration.conftest import KEY, Serve, Served

LIMITS = {"purge-queue": "2 per 10 s", "cancel": "1 per 1 s", "status": "1000 per 10 s, 400 at once"}


@pytest.fixture(scope="module")
def served(serve_module: Serve) -> Served:
    return serve_module({"workers": {"active": 1, "max": 1}, "service": "20ms", "limits": LIMITS})


@pytest.fixture(scope="module")
def client(served: Served) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=served.url, headers={"Authorization": f"Bearer {KEY}"}, timeout=10) as client:
        yield client


def problem(answer: httpx.Response) -> tuple[int, str]:
    body = answer.json()
    assert body["status"] == answer.status_code
    return answer.status_code, body["detail"]


@pytest.mark.parametrize("header", [f"Bearer {KEY}", f"Bearer Bearer {KEY}", KEY])
def test_each_form_of_the_key_is_accepted(client: httpx.Client, header: str) -> None:
    assert client.get("/health", headers={"Authorization": header}).status_code == 200


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer wrong", f"Basic {KEY}", f"Bearer {KEY}x", "Bearer ü"])
def test_any_other_key_is_refused(client: httpx.Client, header: str) -> None:
    answer = client.post("/run", json={"input": 1}, headers={"Authorization": header.encode()})
    assert problem(answer)[0] == 401


def test_without_a_key_every_answer_is_401(served: Served) -> None:
    assert httpx.get(f"{served.url}/health").status_code == 401


@pytest.mark.parametrize(
    "path",
    ["", "/", "/nothing", "/health/", "/health/x", "/status", "/status/", "/status/a/b", "/run/x", "/retry"],
)
def test_a_path_that_names_no_operation_is_unknown_with_any_key(served: Served, path: str) -> None:
    assert problem(httpx.get(served.url + path))[0] == 404


def test_another_endpoint_and_an_unknown_job_are_unknown(served: Served, client: httpx.Client) -> None:
    other = served.url.removesuffix("local") + "other/health"
    assert problem(client.get(other))[0] == 404
    assert problem(client.get("/status/no-such-job")) == (404, "not found: no such job, or its result has expired")
    assert problem(client.get("/stream/no-such-job"))[0] == 404
    assert problem(client.post("/cancel/no-such-job"))[0] == 404


@pytest.mark.parametrize(("method", "path"), [("GET", "/run"), ("POST", "/health"), ("DELETE", "/status/x")])
def test_wrong_method_is_answered_with_the_allowed_one(client: httpx.Client, method: str, path: str) -> None:
    answer = client.request(method, path)
    assert problem(answer)[0] == 405
    assert answer.headers["Allow"] == ("GET" if "status" in path or "health" in path else "POST")


@pytest.mark.parametrize(
    "body", [b"", b"null", b"[]", b"{}", b'{"inputs": 1}', b'{"input": 1', b"\xff", b'{"input":' + b"[" * 100_000]
)
@pytest.mark.parametrize("path", ["/run", "/runsync"])
def test_body_without_input_or_malformed_is_a_bad_request(client: httpx.Client, path: str, body: bytes) -> None:
    status, detail = problem(client.post(path, content=body))
    assert status == 400
    assert detail.startswith("bad request: body: ")


@pytest.mark.parametrize(("path", "limit"), [("/run", 10_000_000), ("/runsync", 20_000_000)])
def test_body_is_accepted_up_to_its_limit_and_not_a_byte_more(client: httpx.Client, path: str, limit: int) -> None:
    fits = b'{"input":"' + b"x" * (limit - 12) + b'"}'
    assert client.post(path, content=fits).status_code == 200
    status, detail = problem(client.post(path, content=fits + b" "))
    assert (status, detail) == (400, f"bad request: body: exceeded max body size of {limit // 10**6} MB")
    pieces = (fits[start : start + 2**20] for start in range(0, 2 * limit, 2**20))
    assert client.post(path, content=(piece or b" " for piece in pieces)).status_code == 400


def test_a_declared_length_over_the_limit_is_refused_before_anything_is_read(served: Served) -> None:
    host, port = served.url.removeprefix("http://").removesuffix("/v2/local").split(":")
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        connection.sendall(
            b"POST /v2/local/run HTTP/1.1\r\nHost: x\r\nAuthorization: local\r\nContent-Length: 10000001\r\n\r\n"
        )
        assert connection.recv(4096).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("wait", ["999", "300001", "-1", "", "1e4", "2000.5", "abc", "9" * 5000])
def test_a_wait_out_of_its_range_is_a_bad_request(client: httpx.Client, wait: str) -> None:
    assert problem(client.post(f"/runsync?wait={wait}", json={"input": 1}))[0] == 400


@pytest.mark.parametrize("wait", ["1000", "300000"])
def test_wait_at_the_ends_of_its_range_is_accepted(client: httpx.Client, wait: str) -> None:
    assert client.post(f"/runsync?wait={wait}", json={"input": 1}).json()["status"] == "COMPLETED"


def test_request_over_the_rate_limit_is_answered_with_retry_after(client: httpx.Client) -> None:
    answers = [client.post("/purge-queue") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert problem(answers[2])[0] == 429
    assert answers[2].headers["Retry-After"] == "10"


def test_the_wait_is_rounded_up_to_a_whole_second(client: httpx.Client) -> None:
    client.post("/cancel/no-such-job")
    answer = client.post("/cancel/no-such-job")
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "1")


def test_no_refused_request_has_made_a_job(serve: Serve) -> None:
    served = serve({"workers": {"active": 0, "max": 1}, "limits": {"run": "1 per 10 s"}})
    with httpx.Client(base_url=served.url, headers={"Authorization": KEY}) as client:
        assert client.post("/run", json={}).status_code == 400
        assert client.post("/run", json={"input": 1}).status_code == 429
        assert client.post("/run", json={"input": 1}, headers={"Authorization": "x"}).status_code == 401
        assert client.post("/runsync?wait=1", json={"input": 1}).status_code == 400
        assert client.get("/health").json()["jobs"]["inQueue"] == 0
    assert served.stop() == 0
    assert served.jobs() == []
    assert [(each["op"], each["status"]) for each in served.requests()] == [
        ("run", 400),
        ("run", 429),
        ("run", 401),
        ("runsync", 400),
        ("health", 200),
    ]


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
@pytest.mark.parametrize("key", ["clé", "à", " naïve-ÿ\n"])
def test_a_key_beyond_ascii_is_compared_as_it_was_sent(serve: Serve, key: str, encoding: str) -> None:
    served = serve(key=key)
    for sent, status in ((key.strip(), 200), (key.strip() + "x", 401)):
        header = {"Authorization": b"Bearer " + sent.encode(encoding)}
        assert httpx.get(f"{served.url}/health", headers=header).status_code == status
