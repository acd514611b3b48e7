"""The proxy that the environment names for a target, in HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY."""

from __future__ import annotations

from urllib.parse import urlsplit
from urllib.request import getproxies_environment, proxy_bypass

from loadtest.scenario.target import is_loopback


def proxy_url(url: str) -> str | None:
    """Return the proxy for requests to this URL; None if it is on this machine or in NO_PROXY."""
    parts = urlsplit(url)
    proxies = getproxies_environment()
    named = proxies.get(parts.scheme) or proxies.get("all")
    if named is None or is_loopback(url) or proxy_bypass(parts.netloc.rpartition("@")[2]):
        return None
    return named if "://" in named else f"http://{named}"
