"""Where the key of a target comes from: the environment, never a file or a command line."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from urllib.parse import urlsplit

from loadtest.errors import UsageError
from loadtest.scenario.model import RemoteTarget, Scenario

LOCAL_VARIABLE = "LOADTEST_API_KEY"
LOCAL_KEY = "local"
REMOTE_VARIABLE = "RUNPOD_API_KEY"


def is_loopback(url: str) -> bool:
    """Whether a URL points at this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def key_of(scenario: Scenario, environment: Mapping[str, str]) -> str:
    """The key for a scenario's target; UsageError where its variable is not set."""
    target = scenario.target
    named = target.key_variable if isinstance(target, RemoteTarget) else None
    if named is None and (not isinstance(target, RemoteTarget) or is_loopback(target.url)):
        return environment.get(LOCAL_VARIABLE) or LOCAL_KEY
    variable = named or REMOTE_VARIABLE
    key = environment.get(variable, "")
    if not key:
        raise UsageError(f"target: the environment variable {variable} is not set; put the endpoint's key into it")
    return key
