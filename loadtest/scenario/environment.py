"""The key and the proxy of a target, from the environment; a key is never in a file or on a command line."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit
from urllib.request import getproxies_environment, proxy_bypass

from loadtest.errors import UsageError
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


def api_key(scenario: Scenario, environment: Mapping[str, str]) -> str:
    """Return the key for a scenario's target; UsageError if its variable is unset or not fit for a header."""
    variable = key_variable(scenario.target)
    named = isinstance(scenario.target, RemoteTarget) and scenario.target.key_variable is not None
    default = "" if named or is_remote(scenario.target) else LOCAL_KEY
    key = environment.get(variable) or default
    if not key and not variable.isupper():  # it may be the key itself
        raise UsageError(
            "target: the environment variable that key_variable names is not set; name a variable there, like "
            "RUNPOD_API_KEY, and put the endpoint's key into it"
        )
    if not key:
        raise UsageError(f"target: the environment variable {variable} is not set; put the endpoint's key into it")
    # A line end, as a key read from a file often has one, would end the header and begin another.
    if not key.isprintable() or " " in key:
        raise UsageError(f"target: the key in {variable} holds a space or a line end; put the key alone into it")
    return key


def proxy_url(url: str) -> str | None:
    """Return the proxy for this URL, by HTTP_PROXY, HTTPS_PROXY or ALL_PROXY; None on this machine or in NO_PROXY."""
    parts = urlsplit(url)
    proxies = getproxies_environment()
    named = proxies.get(parts.scheme) or proxies.get("all")
    if named is None or is_loopback(url) or proxy_bypass(parts.netloc.rpartition("@")[2]):
        return None
    return named if "://" in named else f"http://{named}"
