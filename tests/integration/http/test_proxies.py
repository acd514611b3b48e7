"""Requests through the proxies that the environment names."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path
from typing import Any

from tests.integration.http.conftest import OK, Drive, Serve, answering, read_request
from tests.integration.http.test_connections import certificate, tls

__all__ = ["certificate", "tls"]

ONE: list[dict[str, Any]] = [{}]
ELSEWHERE = "http://target.invalid/v2/x"


def test_plain_request_goes_through_the_proxy_with_its_whole_url(serve: Serve, drive: Drive) -> None:
    heads: list[bytes] = []

    def talk(connection: socket.socket, _: int) -> None:
        while head := read_request(connection):
            heads.append(head)
            connection.sendall(OK)

    proxy = serve(talk)
    env = {"HTTP_PROXY": f"http://me:pass%20word@127.0.0.1:{proxy.port}"}
    answers = drive(ELSEWHERE, ONE, ONE, env={"http_proxy": env["HTTP_PROXY"]})
    assert [got["status"] for [got] in answers] == [200, 200]
    assert heads[0].startswith(b"POST http://target.invalid/v2/x/run HTTP/1.1\r\nHost: target.invalid\r\n")
    assert b"Proxy-Authorization: Basic bWU6cGFzcyB3b3Jk\r\n" in heads[0]


def test_loopback_and_no_proxy_targets_are_reached_directly(serve: Serve, drive: Drive) -> None:
    refusing = serve(answering(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n"))
    env = {"http_proxy": f"http://127.0.0.1:{refusing.port}"}
    [[got]] = drive(serve(answering(OK)).url, ONE, env=env)
    assert got["status"] == 200
    [[got]] = drive(ELSEWHERE, ONE, env={**env, "no_proxy": "example.org,target.invalid"})
    assert (got["status"], got["error_kind"]) == (0, "dns_error")
    assert not refusing.connections


def test_tls_goes_through_a_tunnel(serve: Serve, drive: Drive, tls: ssl.SSLContext, certificate: Path) -> None:
    asked: list[bytes] = []

    def tunnel(connection: socket.socket, _: int) -> None:
        asked.append(connection.recv(65536))
        connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        with tls.wrap_socket(connection, server_side=True) as inside:
            answering(OK)(inside, 0)

    proxy = serve(tunnel)
    env = {"https_proxy": f"127.0.0.1:{proxy.port}", "SSL_CERT_FILE": str(certificate)}
    [[got]] = drive("https://target.invalid:8443/v2/x", ONE, env=env)
    assert asked[0].startswith(b"CONNECT target.invalid:8443 HTTP/1.1\r\nHost: target.invalid:8443\r\n")
    assert (got["status"], got["error"]) == (200, None)


def test_proxy_that_refuses_is_a_proxy_error(serve: Serve, drive: Drive) -> None:
    proxy = serve(answering(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n"))
    [[got]] = drive("https://target.invalid/v2/x", ONE, env={"https_proxy": f"http://127.0.0.1:{proxy.port}"})
    assert got["error_kind"] == "proxy_error"
    assert got["error"] == f"the proxy 127.0.0.1:{proxy.port} refused CONNECT: 407 Proxy Authentication Required"


def test_error_of_a_proxy_names_the_proxy_and_not_its_credentials(serve: Serve, drive: Drive) -> None:
    refusing = serve(answering(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n"))
    closed = "127.0.0.1:1"
    [[got]] = drive(ELSEWHERE, ONE, env={"all_proxy": f"http://me:password@{closed}"})
    assert got["error"] == f"no connection to the proxy {closed}: Connection refused"
    assert got["error_kind"] == "proxy_error"
    [[got]] = drive(ELSEWHERE, ONE, env={"http_proxy": f"http://me:password@127.0.0.1:{refusing.port}"})
    assert got["error_kind"] == "proxy_error"
    assert got["error"] == f"the proxy 127.0.0.1:{refusing.port} refuses the credentials, or asks for them (407)"
    closing = serve(lambda connection, _: read_request(connection) and None)
    [[got]] = drive(ELSEWHERE, ONE, env={"http_proxy": f"http://me:password@127.0.0.1:{closing.port}"})
    assert got["error_kind"] == "connection_closed"
    assert got["error"].endswith(f", through the proxy 127.0.0.1:{closing.port}")
    [[got]] = drive(ELSEWHERE, ONE, env={"http_proxy": "http://me:password@proxy.invalid:3128"})
    assert got["error"].startswith("no connection to the proxy proxy.invalid:3128: ")
    assert got["error_kind"] == "proxy_error"
