"""The embedded endpoint as the child of a process that never reads its log output."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import httpx
import pytest

from loadtest.endpoint.settings import EndpointSettings
from loadtest.scenario.local_endpoint import LocalEndpoint

HEADERS = {"Authorization": "Bearer local"}


@pytest.fixture(autouse=True)
def _local_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOADTEST_API_KEY", raising=False)


@contextmanager
def url_of(settings: EndpointSettings) -> Iterator[str]:
    endpoint = LocalEndpoint(settings, seed=1)
    try:
        yield os.read(endpoint.fds[1], 1000).decode().strip().removeprefix("listening on ")
    finally:
        endpoint.stop()
    assert repr(endpoint).endswith("ended with 0>")


@pytest.mark.parametrize("output", ["a\x7fb", "\x85\x9f\u2028\ufffe", "😀"])
def test_settings_reach_the_child_with_any_character(output: str) -> None:
    with url_of(EndpointSettings(output=output, service={"constant": "0s"})) as url:
        said = httpx.post(f"{url}/runsync", json={"input": 1}, headers=HEADERS).json()
        assert said["output"] == output


def test_unread_log_output_does_not_block_the_server() -> None:
    with url_of(EndpointSettings()) as url:
        address = (urlsplit(url).hostname, urlsplit(url).port)
        for _ in range(2_500):  # each is a line of its log, together more than a pipe holds
            with socket.create_connection(address) as connection:
                connection.sendall(b"nonsense\r\n\r\n")
                connection.settimeout(5)
                assert connection.recv(100).startswith(b"HTTP/1.1 400")
        assert httpx.get(f"{url}/health", headers=HEADERS).status_code == 200
