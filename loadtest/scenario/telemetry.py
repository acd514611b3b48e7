"""Whether and where the figures of a run are published while it goes on: a page to scrape, and pushes by OTLP."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec

from loadtest.errors import UsageError
from loadtest.protocol.addresses import split_address

DEFAULT_PORT = 9464
"""The port at which exporters for Prometheus of OpenTelemetry listen."""
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_SPOKEN = "http/protobuf"
_INSTALL = "install it with: pip install 'loadtest[metrics]'"


@dataclass(frozen=True)
class MetricsConfig:
    """The ways in which figures are published: scraped at an address, if there is one, and pushed by OTLP or not."""

    address: tuple[str, int] | None = None
    otlp: bool = False


def metrics_config(address: str, environment: Mapping[str, str]) -> tuple[MetricsConfig | None, str]:
    """Return how figures are published, None if they are not, and a note on why they are not pushed, or an empty one.

    `address` is that of `--metrics`, empty without one; pushes follow OpenTelemetry's variables. Raises UsageError if
    the address is not valid, or what serves it is not installed.
    """
    at = split_address(address, DEFAULT_PORT, "--metrics") if address else None
    if at is not None and find_spec("prometheus_client") is None:
        raise UsageError(f"--metrics: prometheus-client is not installed; {_INSTALL}")
    otlp, note = _is_pushed(environment)
    return (MetricsConfig(at, otlp) if at is not None or otlp else None), note


def _is_pushed(environment: Mapping[str, str]) -> tuple[bool, str]:
    """Return whether figures are pushed, and why not if the variables ask for it."""
    endpoint = next((name for name in _ENDPOINTS if environment.get(name)), None)
    exporters = environment.get("OTEL_METRICS_EXPORTER") or "otlp"
    disabled = environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    if endpoint is None or disabled or "otlp" not in exporters.split(","):
        return False, ""
    name = next((each for each in _PROTOCOLS if environment.get(each)), None)
    if name is not None and environment[name] != _SPOKEN:
        return False, f"{name} is {environment[name]}, so metrics are not pushed; set it to {_SPOKEN}"
    if not _is_installed("opentelemetry.exporter.otlp.proto.http"):
        return False, f"{endpoint} is set, but the exporter of OpenTelemetry is not installed; {_INSTALL}"
    return True, ""


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # a package around it is missing
        return False
