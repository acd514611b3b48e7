"""Hosts, ports and URLs as text: `HOST[:PORT]`, IPv6 in brackets, the loopback address of a wildcard."""

from __future__ import annotations

from ipaddress import AddressValueError, IPv6Address
from urllib.parse import SplitResult, urlsplit, urlunsplit

from loadtest.errors import UsageError

LOOPBACK = "127.0.0.1"
_LOOPBACK_OF = {"0.0.0.0": LOOPBACK, "::": "::1"}


def split_address(text: str, default_port: int, option: str) -> tuple[str, int]:
    """Return the host and the port of `HOST[:PORT]`; an IPv6 host with a port is in brackets, as in "[::1]:5557".

    Raises UsageError, which names the option, if the text is not such an address.
    """
    host, colon, port = text.rpartition(":")
    if not colon or _is_ipv6(text) or text.endswith("]"):
        host, port = text, str(default_port)
    host = host.removeprefix("[").removesuffix("]") if host.startswith("[") else host
    if not host or (":" in host and not _is_ipv6(host)) or not (port.isdecimal() and 0 < int(port) <= 65_535):
        raise UsageError(
            f'{option}: "{text}" is not an address; write it like "10.0.0.5" or "10.0.0.5:{default_port}"'
        )
    return host, int(port)


def url_host(host: str) -> str:
    """Return a host as a URL has it: IPv6 in brackets."""
    return f"[{host}]" if ":" in host else host


def host_name(url: SplitResult) -> str:
    """Return the host of a URL, empty if it has none. Raises ValueError if no host can have that name."""
    host = url.hostname or ""
    host.encode("idna")
    return host


def bare_url(url: str) -> str:
    """Return a URL without its user, password, query and fragment. Raises ValueError if it cannot be parsed."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def reachable_host(host: str) -> str:
    """Return the address at which processes of this machine reach a server that listens on this one."""
    return _LOOPBACK_OF.get(host, host)


def _is_ipv6(text: str) -> bool:
    try:
        IPv6Address(text)
    except AddressValueError:
        return False
    return True
