"""The key and the proxy of a target, from the environment; a key is never in a file or on a command line."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies_environment, proxy_bypass

from loadtest.errors import UsageError
from loadtest.protocol.addresses import host_name, url_host
from loadtest.scenario.model import Scenario
from loadtest.scenario.target import RemoteTarget, Target, is_loopback, is_remote

LOCAL_KEY_ENV = "LOADTEST_API_KEY"
LOCAL_KEY = "local"
REMOTE_KEY_ENV = "RUNPOD_API_KEY"


def key_variable(target: Target) -> str:
    """Return the environment variable that the key of a target is read from."""
    if isinstance(target, RemoteTarget) and target.key_variable is not None:
        return target.key_variable
    return REMOTE_KEY_ENV if is_remote(target) else LOCAL_KEY_ENV


def default_key(target: Target) -> str:
    """Return the key of a target without its variable; empty if it needs one."""
    named = isinstance(target, RemoteTarget) and target.key_variable is not None
    return "" if named or is_remote(target) else LOCAL_KEY


def api_key(scenario: Scenario, environment: Mapping[str, str]) -> str:
    """Return the key for a scenario's target, without white space around it, as a file's line end.

    Raises UsageError, which never shows the key, if its variable is unset or it does not fit into a header.
    """
    variable = key_variable(scenario.target)
    key = (environment.get(variable) or default_key(scenario.target)).strip()
    if not key and not variable.isupper():  # it may be the key itself
        raise UsageError(
            "target: the environment variable that key_variable names is not set; name a variable there, like "
            "RUNPOD_API_KEY, and put the endpoint's key into it"
        )
    if not key:
        raise UsageError(f"target: the environment variable {variable} is not set; put the endpoint's key into it")
    odd = next((place for place, character in enumerate(key, 1) if not "!" <= character <= "~"), None)
    if odd is None:
        return key
    # What it holds there is not shown: any part of a key is secret.
    problem = "a space or a control character" if key[odd - 1].isascii() else "a character that no key has"
    raise UsageError(
        f"target: the key in {variable} holds {problem} (position {odd} of {len(key)}); copy it again from where it "
        "was issued, since office programs replace dashes and quotes"
    )


def key_note(scenario: Scenario, environment: Mapping[str, str]) -> str | None:
    """Return that white space around the key is left out; None if there is none."""
    variable = key_variable(scenario.target)
    given = environment.get(variable, "")
    return None if given == given.strip() else f"the key in {variable} has white space around it, which is left out"


@dataclass(frozen=True)
class Proxy:
    """An HTTP proxy: its host and port, the headers with its credentials, if any, and what is secret in them."""

    host: str
    port: int
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    secrets: tuple[str, ...] = field(default=(), repr=False)

    def __str__(self) -> str:
        return f"{url_host(self.host)}:{self.port}"


def proxy_for(url: str) -> Proxy | None:
    """Return the proxy for this URL, by HTTP_PROXY, HTTPS_PROXY or ALL_PROXY; None on this machine or in NO_PROXY.

    Raises UsageError, which shows no credentials, if it is not an HTTP proxy.
    """
    parts = urlsplit(url)
    proxies = getproxies_environment()
    variable = next((each for each in (parts.scheme, "all") if proxies.get(each)), None)
    if variable is None or is_loopback(url) or proxy_bypass(parts.netloc.rpartition("@")[2]):
        return None
    named = proxies[variable]
    try:
        proxy = urlsplit(named if "://" in named else f"http://{named}")
        host, port = host_name(proxy), proxy.port or 80
    except ValueError:
        host = ""
    if not host or proxy.scheme != "http":
        raise UsageError(
            f"target: {variable.upper()}_PROXY names no HTTP proxy, the only kind that is spoken; "
            'write it like "http://HOST:PORT", or put the host of the target into NO_PROXY'
        )
    if proxy.username is None:
        return Proxy(host, port)
    password = unquote(proxy.password or "")
    pair = base64.b64encode(f"{unquote(proxy.username)}:{password}".encode()).decode()
    return Proxy(host, port, {"Proxy-Authorization": f"Basic {pair}"}, (pair, password))
