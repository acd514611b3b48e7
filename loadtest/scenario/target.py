"""The target of a scenario: the embedded endpoint, an endpoint by its URL, or a handler's workers."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Annotated, Any, Literal, TypeGuard
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Discriminator, Field, Tag, ValidationInfo, field_validator

from loadtest.errors import url_without_secrets
from loadtest.protocol.addresses import host_name
from loadtest.units import StrictModel

URL: dict[str, Any] = {"pattern": r"^https?://[^\s/]+(/[^\s]*)?$"}
"""The form of a URL in the JSON Schema."""
_LIKE = 'write it like "https://api.runpod.ai/v2/ID"'


class RemoteTarget(StrictModel):
    """An endpoint by its URL, and the environment variable that holds its key.

    The default variable is LOADTEST_API_KEY on loopback (`local` if unset) and RUNPOD_API_KEY elsewhere.
    """

    url: Annotated[str, Field(json_schema_extra=URL, examples=["https://api.runpod.ai/v2/ID"])]
    """The endpoint's whole URL, such as https://api.runpod.ai/v2/ID."""
    key_variable: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", examples=["RUNPOD_API_KEY"])] | None = (
        None
    )
    """The environment variable that holds the key; the key itself is never in a scenario."""
    allow_plain_http: bool = False
    """Whether the key may go unencrypted to another machine, such as a host in your own cluster."""

    @field_validator("url")
    @classmethod
    def _whole_url(cls, url: str) -> str:
        # What may be a secret is not repeated in a message.
        shown = url_without_secrets(url)
        if not re.fullmatch(URL["pattern"], url):
            raise ValueError(f'"{shown}" is not valid here; {_LIKE}')
        try:
            parts = urlsplit(url)
            whole = bool(host_name(parts)) and parts.port != 0 and not parts.query and not parts.fragment
        except ValueError:  # not a port, a bracket too few, or not a host name
            whole = False
        if whole and (parts.username is not None or parts.password is not None):
            raise ValueError("the URL holds a user or a password; name an environment variable as key_variable")
        if not whole or not url.isascii():
            raise ValueError(f'"{shown}" is not an endpoint\'s URL; {_LIKE}')
        return url.rstrip("/")


class HandlerTarget(StrictModel):
    """A handler of the vendor's worker SDK, run in real workers on this machine, which `endpoint` scales."""

    handler: Annotated[Path, Field(examples=["handler.py"])]
    """The handler's file, named from the scenario's folder."""
    concurrency: Annotated[int, Field(ge=1, le=1000)] = 1
    """How many jobs a worker takes at once, if the handler has no `concurrency_modifier` of its own."""

    @field_validator("handler", mode="before")
    @classmethod
    def _found(cls, name: object, info: ValidationInfo) -> object:
        return info.context("handler", name) if info.context is not None and isinstance(name, str) else name


def _target(value: object) -> object:
    return {"url": value} if isinstance(value, str) and value != "embedded" else value


def _target_kind(value: object) -> str:
    if isinstance(value, str):
        return "embedded"
    by_handler = isinstance(value, HandlerTarget) or (isinstance(value, dict) and "handler" in value)
    return "handler" if by_handler else "remote"


Target = Annotated[
    Annotated[Literal["embedded"], Tag("embedded")]
    | Annotated[RemoteTarget, Tag("remote")]
    | Annotated[HandlerTarget, Tag("handler")],
    Discriminator(_target_kind),
    BeforeValidator(_target, json_schema_input_type=str | RemoteTarget | HandlerTarget),
]
"""Where jobs go: `embedded` and `{handler: ...}` start an endpoint on this machine; others are URLs."""


def is_loopback(url: str) -> bool:
    """Return whether a URL points at this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def is_remote(target: Target) -> TypeGuard[RemoteTarget]:
    """Return whether a target is on another machine, where it costs money and may belong to others."""
    return isinstance(target, RemoteTarget) and not is_loopback(target.url)
