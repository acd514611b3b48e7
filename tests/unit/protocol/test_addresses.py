from __future__ import annotations

import pytest

from loadtest.errors import UsageError
from loadtest.protocol.addresses import reachable_host, split_address, url_host


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("10.0.0.5", "10.0.0.5", 5557),
        ("10.0.0.5:6000", "10.0.0.5", 6000),
        ("master.example:6000", "master.example", 6000),
        ("[::1]:6000", "::1", 6000),
        ("[::1]", "::1", 5557),
        ("::1", "::1", 5557),
        ("fe80::1:6000", "fe80::1:6000", 5557),
    ],
)
def test_an_address_is_a_host_and_a_port_or_the_default_port(text: str, host: str, port: int) -> None:
    assert split_address(text, 5557, "--master") == (host, port)


@pytest.mark.parametrize("text", ["", ":6000", "host:", "host:port", "host:70000", "host:0", "a:b:1", "[x::]:1"])
def test_anything_else_is_refused_with_the_option_and_an_example(text: str) -> None:
    with pytest.raises(UsageError, match=r'^--bind: ".*" is not an address; write it like "10.0.0.5"'):
        split_address(text, 5557, "--bind")


def test_a_wildcard_is_reached_over_loopback_and_ipv6_is_in_brackets() -> None:
    assert [reachable_host(host) for host in ("0.0.0.0", "::", "10.0.0.5")] == ["127.0.0.1", "::1", "10.0.0.5"]
    assert [url_host(host) for host in ("127.0.0.1", "::1")] == ["127.0.0.1", "[::1]"]
