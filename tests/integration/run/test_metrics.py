"""The metrics of a run with two generators, as a scraper and a receiver of OTLP see them."""

from __future__ import annotations

import gzip
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from prometheus_client.parser import text_string_to_metric_families

from tests.integration.run.conftest import LATE_IS_SOUND, MIXED, Finished, Start, open_load

SETTINGS = {"workers": {"active": 20, "max": 20}, "service": "50ms", "failure_rate": "20 %"}
Values = dict[tuple[str, frozenset[tuple[str, str]]], float]
"""Each value by its name in Prometheus and its labels."""


@dataclass
class Seen:
    """A run that has ended, every page that a scraper got, and all pushes."""

    finished: Finished
    pages: list[Values] = field(default_factory=list)
    pushes: list[ExportMetricsServiceRequest] = field(default_factory=list)


class Receiver(BaseHTTPRequestHandler):
    """A receiver of OTLP that keeps each push, decoded."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers["Content-Encoding"] == "gzip":
            body = gzip.decompress(body)
        assert (self.path, self.headers["X-Team"]) == ("/v1/metrics", "a")
        self.server.pushes.append(ExportMetricsServiceRequest.FromString(body))  # type: ignore[attr-defined]
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Write nothing."""


@pytest.fixture(scope="module")
def seen(start_module: Start, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    server.pushes = []  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as probe:
        port = probe.server_address[1]
    environment = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{server.server_address[1]}",
        "OTEL_EXPORTER_OTLP_HEADERS": "x-team=a",
        "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
        "OTEL_METRIC_EXPORT_INTERVAL": "500",
        "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment=test",
    }
    scenario = open_load("40/s", "2s", endpoint=SETTINGS, flows=MIXED, **LATE_IS_SOUND)
    run = start_module(scenario, "--processes", "2", "--metrics", f"127.0.0.1:{port}", env=environment)
    pages: list[Values] = []
    while run.process.poll() is None:
        with suppress(httpx.TransportError):
            pages.append(values_of(httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=2).text))
        time.sleep(0.2)
    yield Seen(run.finish(), pages, server.pushes)  # type: ignore[attr-defined]
    server.shutdown()


def values_of(page: str) -> Values:
    parsed = (each for family in text_string_to_metric_families(page) for each in family.samples)
    return {(each.name, frozenset(each.labels.items())): each.value for each in parsed}


def labelled(**labels: str) -> frozenset[tuple[str, str]]:
    return frozenset(labels.items())


def test_the_last_page_and_the_last_push_are_the_summary_to_the_job(seen: Seen) -> None:
    finished, page = seen.finished, seen.pages[-1]
    assert finished.status == 0, finished.stderr
    summary = finished.summary
    pushed = pushed_values(seen.pushes[-1])
    for values in (page, pushed):
        by_outcome: dict[str, float] = {}
        for (name, labels), value in values.items():
            if name == "loadtest_jobs_total":
                outcome = dict(labels)["outcome"]
                by_outcome[outcome] = by_outcome.get(outcome, 0) + value
        assert by_outcome == {each: summary["jobs"][each] for each in by_outcome}
        assert sum(by_outcome.values()) == summary["jobs"]["submitted"]
        assert by_outcome["failed"] > 0
        for flow, figures in summary["flows"].items():
            whose = labelled(flow=flow, outcome="completed")
            for column in ("delay", "execution", "end_to_end"):
                quantiles, name = figures[f"{column}_ms"], f"loadtest_job_{column}_seconds"
                assert values[f"{name}_count", whose] == quantiles["n"]
                assert values[f"{name}_sum", whose] == pytest.approx(quantiles["n"] * quantiles["mean"] / 1000)
        for operation, figures in summary["operations"].items():
            sent = [value for (name, labels), value in values.items() if of_operation(name, labels, operation)]
            assert sum(sent) == figures["requests"], operation
        assert values["loadtest_jobs_in_flight", frozenset()] == 0


def of_operation(name: str, labels: frozenset[tuple[str, str]], operation: str) -> bool:
    return name == "loadtest_requests_total" and ("operation", operation) in labels


def pushed_values(push: ExportMetricsServiceRequest) -> Values:
    """Return a push as a scraper would have it, by OpenTelemetry's rules for names."""
    values: Values = {}
    (resource,) = push.resource_metrics
    for metric in resource.scope_metrics[0].metrics:
        kind = metric.WhichOneof("data")
        name = metric.name.replace(".", "_") + {"s": "_seconds", "1": "_ratio"}.get(metric.unit, "")
        for point in getattr(metric, kind).data_points:
            labels = frozenset((each.key, each.value.string_value) for each in point.attributes)
            if kind == "histogram":
                values[f"{name}_count", labels], values[f"{name}_sum", labels] = point.count, point.sum
            else:
                value = getattr(point, point.WhichOneof("value"))
                values[f"{name}_total" if kind == "sum" else name, labels] = value
    return values


def test_figures_are_there_while_the_run_goes_on_and_counters_never_fall(seen: Seen) -> None:
    assert len(seen.pages) > 5
    assert len(seen.pushes) > 3
    in_flight = [page["loadtest_jobs_in_flight", frozenset()] for page in seen.pages]
    used = [page.get(("loadtest_limit_used_ratio", labelled(operation="run")), 0) for page in seen.pages]
    assert max(in_flight) > 0
    assert 0 < max(used) < 0.1
    for before, after in zip(seen.pages, seen.pages[1:], strict=False):
        assert all(
            after.get(key, 0) >= value for key, value in before.items() if key[0].endswith(("_total", "_bucket"))
        )


def test_the_run_is_named_and_what_the_user_sets_is_kept(seen: Seen) -> None:
    resource = {each.key: each.value.string_value for each in seen.pushes[-1].resource_metrics[0].resource.attributes}
    assert resource["service.name"] == "loadtest"
    assert resource["loadtest.run.id"] == seen.finished.run["id"]
    assert resource["deployment.environment"] == "test"
    info = next(dict(labels) for name, labels in seen.pages[-1] if name == "target_info")
    assert (info["loadtest_run_id"], info["loadtest_scenario"]) == (seen.finished.run["id"], "test")
