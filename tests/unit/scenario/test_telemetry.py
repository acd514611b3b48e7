"""Live metrics are off unless an option or a variable of OpenTelemetry asks for them."""

from __future__ import annotations

import importlib.util

import pytest

from loadtest.errors import UsageError
from loadtest.scenario import telemetry
from loadtest.scenario.telemetry import MetricsConfig, metrics_config

ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}
PUSHED = MetricsConfig(None, otlp=True)


@pytest.mark.parametrize(
    ("address", "environment", "expected"),
    [
        ("", {}, None),
        ("127.0.0.1", {}, MetricsConfig(("127.0.0.1", 9464))),
        ("[::1]:9000", ENDPOINT, MetricsConfig(("::1", 9000), otlp=True)),
        ("", ENDPOINT, PUSHED),
        ("", {"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://h/v1/metrics"}, PUSHED),
        ("", {**ENDPOINT, "OTEL_METRICS_EXPORTER": "console,otlp"}, PUSHED),
        ("", {**ENDPOINT, "OTEL_METRICS_EXPORTER": "none"}, None),
        ("", {**ENDPOINT, "OTEL_SDK_DISABLED": "True"}, None),
        ("", {**ENDPOINT, "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}, PUSHED),
    ],
)
def test_metrics_are_on_if_asked_for(
    address: str, environment: dict[str, str], expected: MetricsConfig | None
) -> None:
    assert metrics_config(address, environment) == (expected, "")


def test_a_protocol_that_is_not_spoken_is_named_and_the_run_goes_on() -> None:
    config, note = metrics_config("", {**ENDPOINT, "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL": "grpc"})
    assert config is None
    assert note.startswith("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL is grpc")


def test_without_the_extra_the_option_is_refused_and_the_variables_are_a_note(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(telemetry, "find_spec", lambda name: None)
    assert importlib.util.find_spec("prometheus_client") is not None
    config, note = metrics_config("", ENDPOINT)
    assert config is None
    assert "pip install 'loadtest[metrics]'" in note
    with pytest.raises(UsageError, match=r"--metrics: .*pip install 'loadtest\[metrics\]'"):
        metrics_config("127.0.0.1", {})


def test_an_address_that_is_none_is_refused_by_its_option() -> None:
    with pytest.raises(UsageError, match=r'--metrics: "127\.0\.0\.1:x" is not an address'):
        metrics_config("127.0.0.1:x", {})
