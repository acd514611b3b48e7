"""The figures of live metrics: counted per generator, added up, and the same in both forms."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.sdk.resources import Resource
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from loadtest.drive.metrics.counts import BOUNDS_S, MetricCounter, RunCounts, TimeCounts, total
from loadtest.drive.metrics.families import Snapshot, families
from loadtest.drive.metrics.pushing import interval_s, metrics_data
from loadtest.drive.metrics.scraping import MAX_LINGER_S, RunCollector, linger_s
from loadtest.flows.steps import Response
from loadtest.record.sample import Outcome, Sample


def job(outcome: Outcome = Outcome.COMPLETED, flow: Any = "run", **more: Any) -> tuple[Sample, list[Any]]:
    times = {"sent_at": 100.002, "finished_at": 101.0, "delay_ms": 250, "execution_ms": 600}
    return Sample(0, flow, 100.0, outcome=outcome, **{**times, **more}), []


def counted(*jobs: tuple[Sample, list[Any]], statuses: tuple[int, ...] = ()) -> RunCounts:
    counter = MetricCounter()
    counter.count(jobs)
    for status in statuses:
        counter.count_request("GET", "/status/{id}", Response(status, b"", 0.0, 0.0))
    return counter.counts


GIVEN_UP = {"finished_at": None, "delay_ms": None, "execution_ms": None}
SUM = total(
    [
        counted(job(), job(), job(Outcome.FAILED), statuses=(200, 200, 429)),
        counted(job(), job(Outcome.CENSORED, "runsync", **GIVEN_UP), statuses=(200, 0)),
        counted(),
    ]
)


def test_generators_are_added_up_by_flow_and_outcome_and_by_operation_and_status() -> None:
    assert {(row.flow, row.outcome): row.jobs for row in SUM.jobs} == {
        ("run", "completed"): 3,
        ("run", "failed"): 1,
        ("runsync", "censored"): 1,
    }
    assert SUM.requests == {"status": {200: 3, 429: 1, 0: 1}}
    completed = next(row for row in SUM.jobs if row.outcome == "completed")
    assert (completed.delay.count, completed.delay.sum_s) == (3, pytest.approx(0.75))
    censored = next(row for row in SUM.jobs if row.outcome == "censored")
    assert (censored.delay.count, censored.end_to_end.count, censored.send_lag.count) == (0, 0, 1)


def test_a_time_on_a_bound_falls_into_its_bucket_and_one_beyond_all_into_the_last() -> None:
    times = TimeCounts()
    for time_s in (0.25, 0.2500001, 1e6, 0.0):
        times.add(time_s)
    assert times.buckets[BOUNDS_S.index(0.25)] == times.buckets[BOUNDS_S.index(0.5)] == 1
    assert (times.buckets[0], times.buckets[-1], times.count) == (1, 1, 4)
    assert (times.min_s, times.max_s) == (0.0, 1e6)


def test_counts_travel_between_processes_as_they_are() -> None:
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(SUM), type=RunCounts) == SUM


SNAPSHOT = Snapshot(SUM, in_flight=7, limits_used={"run": 0.25})


def scraped() -> dict[str, float]:
    """Return each value of the page by its name and labels, as a scraper reads it."""
    registry = CollectorRegistry()
    registry.register(RunCollector({"loadtest.run.id": "a"}, lambda: SNAPSHOT))
    parsed = text_string_to_metric_families(generate_latest(registry).decode())
    return {key(each.name, each.labels): each.value for family in parsed for each in family.samples}


def key(name: str, labels: dict[str, str]) -> str:
    return name + "".join(f" {name}={value}" for name, value in sorted(labels.items()))


def test_the_page_for_prometheus_has_each_figure_under_its_name_and_labels() -> None:
    values = scraped()
    assert values["target_info loadtest_run_id=a"] == 1
    assert values["loadtest_jobs_total flow=run outcome=completed"] == 3
    assert values["loadtest_jobs_in_flight"] == 7
    assert values["loadtest_requests_total operation=status status=429"] == 1
    assert values["loadtest_limit_used_ratio operation=run"] == 0.25
    delay = "loadtest_job_delay_seconds"
    assert values[f"{delay}_count flow=run outcome=completed"] == 3
    assert values[f"{delay}_sum flow=run outcome=completed"] == pytest.approx(0.75)
    assert values[f"{delay}_bucket flow=run le=0.1 outcome=completed"] == 0
    assert values[f"{delay}_bucket flow=run le=0.25 outcome=completed"] == 3
    assert values[f"{delay}_bucket flow=run le=+Inf outcome=completed"] == 3


def test_what_is_pushed_is_what_is_scraped() -> None:
    data = metrics_data(Resource({"service.name": "loadtest"}), families(SNAPSHOT), 5, 9)
    request = encode_metrics(data)
    request = type(request).FromString(request.SerializeToString())
    (scope,) = request.resource_metrics[0].scope_metrics
    names = {family.name: family.prometheus_name for family in families(SNAPSHOT)}
    page, pushed = scraped(), {}
    for metric in scope.metrics:
        found = getattr(metric, metric.WhichOneof("data"))
        for point in found.data_points:
            labels = {each.key: each.value.string_value for each in point.attributes}
            name = names[metric.name]
            assert point.time_unix_nano == 9
            if metric.WhichOneof("data") == "histogram":
                assert point.start_time_unix_nano == 5
                pushed[key(f"{name}_count", labels)] = point.count
                pushed[key(f"{name}_sum", labels)] = point.sum
                assert list(point.explicit_bounds) == list(BOUNDS_S)
                below = sum(point.bucket_counts[: BOUNDS_S.index(0.25) + 1])
                assert below == page[key(f"{name}_bucket", {**labels, "le": "0.25"})]
            else:
                value = point.as_double or point.as_int
                counter = metric.WhichOneof("data") == "sum"
                pushed[key(f"{name}_total" if counter else name, labels)] = value
    others = {name: value for name, value in page.items() if "_bucket" not in name and "target_info" not in name}
    assert pushed == others
    assert {metric.unit for metric in scope.metrics} == {"{job}", "{request}", "s", "1"}


@pytest.mark.parametrize(
    ("scraped_at", "expected_s"),
    [([], 0.0), ([10.0], 16.0), ([10.0, 12.0, 14.0], 16.0), ([2.0, 4.0, 9.0], 8.5), ([900.0], MAX_LINGER_S)],
)
def test_the_last_figures_wait_for_a_scraper_that_was_there(scraped_at: list[float], expected_s: float) -> None:
    assert linger_s(0.0, scraped_at) == expected_s


@pytest.mark.parametrize(("text", "expected_s"), [("", 60.0), ("5000", 5.0), ("x", 60.0), ("-1", 60.0)])
def test_the_interval_of_pushes_is_opentelemetrys(text: str, expected_s: float) -> None:
    assert interval_s({"OTEL_METRIC_EXPORT_INTERVAL": text}) == expected_s


def test_a_page_is_written_with_a_pause_before_each_metric() -> None:
    paused: list[int] = []
    registry = CollectorRegistry()
    registry.register(RunCollector({}, lambda: SNAPSHOT, lambda: paused.append(1)))
    generate_latest(registry)
    assert len(paused) == len(families(SNAPSHOT))
