"""The proxy that the environment names for a target, and the way through it."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from loadtest.drive.reading import RequestError
from loadtest.scenario.proxies import proxy_url

MAX_RESPONSE_BYTES = 64 * 1024


@dataclass(frozen=True)
class Proxy:
    """Where a proxy listens, and the header line that it wants, if any."""

    address: tuple[str, int]
    credentials: str = ""

    def open_tunnel(self, connected: Any, host: str, port: int) -> None:
        """Ask for a way through to a server; NoAnswer where the proxy refuses."""
        name = f"[{host}]" if ":" in host else host
        connected.sendall(
            f"CONNECT {name}:{port} HTTP/1.1\r\nHost: {name}:{port}\r\n{self.credentials}\r\n".encode("latin-1")
        )
        head = b""
        while b"\r\n\r\n" not in head:
            data = connected.recv(MAX_RESPONSE_BYTES)
            if not data or len(head) > MAX_RESPONSE_BYTES:
                raise RequestError("the proxy did not answer CONNECT")
            head += data
        words = head.split(b"\r\n", 1)[0].split(None, 2)
        if len(words) < 2 or not words[1].startswith(b"2"):
            raise RequestError(f"the proxy refused CONNECT: {b' '.join(words[1:]).decode('latin-1')}")


def proxy_for(url: str) -> Proxy | None:
    """The proxy that requests to this URL go through; none for what is on this machine or in NO_PROXY."""
    named = proxy_url(url)
    if named is None:
        return None
    where = urlsplit(named)
    credentials = ""
    if where.username is not None:
        pair = f"{unquote(where.username)}:{unquote(where.password or '')}".encode()
        credentials = f"Proxy-Authorization: Basic {base64.b64encode(pair).decode()}\r\n"
    return Proxy((where.hostname or "", where.port or 80), credentials)
