"""The embedded endpoint as the child of a process that never reads its log output."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

import httpx
import pytest

from loadtest.drive.cluster.target import EmbeddedEndpoint
from loadtest.endpoint.settings import EndpointSettings

HEADERS = {"Authorization": "Bearer local"}


@pytest.fixture(autouse=True)
def _local_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOADTEST_API_KEY", raising=False)


@pytest.mark.parametrize("output", ["a\x7fb", "\x85\x9f\u2028\ufffe", "😀"])
def test_settings_reach_the_child_with_any_character(output: str) -> None:
    embedded = EmbeddedEndpoint(EndpointSettings(output=output, service={"constant": "0s"}), seed=1)
    try:
        said = httpx.post(f"{embedded.url}/runsync", json={"input": 1}, headers=HEADERS).json()
        assert said["output"] == output
    finally:
        embedded.stop()


def test_unread_log_output_does_not_block_the_server() -> None:
    embedded = EmbeddedEndpoint(EndpointSettings(), seed=1)
    address = (urlsplit(embedded.url).hostname, urlsplit(embedded.url).port)
    try:
        for _ in range(2_500):  # each is a line of its log, together more than a pipe holds
            with socket.create_connection(address) as connection:
                connection.sendall(b"nonsense\r\n\r\n")
                connection.settimeout(5)
                assert connection.recv(100).startswith(b"HTTP/1.1 400")
        assert httpx.get(f"{embedded.url}/health", headers=HEADERS).status_code == 200
    finally:
        embedded.stop()
