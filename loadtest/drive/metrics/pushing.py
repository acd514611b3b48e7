"""Pushes by OTLP over HTTP, with OpenTelemetry's exporter, which reads its own environment variables."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricExportResult,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from loadtest.drive.metrics.counts import BOUNDS_S, TimeCounts
from loadtest.drive.metrics.families import Family, Kind, Point, Snapshot, families

DEFAULT_INTERVAL_S = 60.0
"""That of OpenTelemetry's specification."""
_CUMULATIVE = AggregationTemporality.CUMULATIVE


def interval_s(environment: Mapping[str, str]) -> float:
    """Return the seconds between two pushes, from OTEL_METRIC_EXPORT_INTERVAL, in milliseconds."""
    try:
        milliseconds = float(environment.get("OTEL_METRIC_EXPORT_INTERVAL") or DEFAULT_INTERVAL_S * 1000)
    except ValueError:
        return DEFAULT_INTERVAL_S
    return milliseconds / 1000 if milliseconds > 0 else DEFAULT_INTERVAL_S


class Pusher:
    """Pushes the figures of a run, cumulative since `began_at` (seconds since the epoch).

    A push that fails is repeated with the next figures; the run goes on without it.
    """

    def __init__(self, attributes: dict[str, str], began_at: float, snapshot: Callable[[], Snapshot]) -> None:
        # What it logs about each failed push would hide what matters.
        logging.getLogger("opentelemetry.exporter").setLevel(logging.CRITICAL)
        self._exporter = OTLPMetricExporter()
        self._resource = Resource.create({"service.name": "loadtest", **attributes})
        self._began_ns = round(began_at * 1e9)
        self._snapshot = snapshot
        self.failing = False

    def push(self, now: float) -> None:
        """Push the figures of this moment; `failing` is true from then on until they have arrived."""
        data = metrics_data(self._resource, families(self._snapshot()), self._began_ns, round(now * 1e9))
        self.failing = True
        self.failing = self._exporter.export(data) is not MetricExportResult.SUCCESS

    def close(self) -> None:
        """Close the connection."""
        self._exporter.shutdown()


def metrics_data(resource: Resource, found: list[Family], began_ns: int, now_ns: int) -> MetricsData:
    """Return the metrics as OpenTelemetry's exporters take them."""
    metrics = [
        Metric(family.name, family.text, family.unit, _data(family, began_ns, now_ns))
        for family in found
        if family.points
    ]
    scope = ScopeMetrics(InstrumentationScope("loadtest"), metrics, "")
    return MetricsData([ResourceMetrics(resource, [scope], "")])


def _data(family: Family, began_ns: int, now_ns: int) -> Any:
    points = [_point(point, began_ns, now_ns) for point in family.points]
    if family.kind is Kind.HISTOGRAM:
        return Histogram(points, _CUMULATIVE)
    return Gauge(points) if family.kind is Kind.GAUGE else Sum(points, _CUMULATIVE, is_monotonic=True)


def _point(point: Point, began_ns: int, now_ns: int) -> Any:
    value, labels = point.value, dict(point.labels)
    if isinstance(value, TimeCounts):
        return HistogramDataPoint(
            labels, began_ns, now_ns, value.count, value.sum_s, value.buckets, BOUNDS_S, value.min_s, value.max_s
        )
    return NumberDataPoint(labels, began_ns, now_ns, value)
