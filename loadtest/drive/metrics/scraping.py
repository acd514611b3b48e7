"""The page that Prometheus scrapes, in its text form, served by the master."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate, pairwise
from typing import Any

from gevent.pywsgi import WSGIServer
from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, InfoMetricFamily
from prometheus_client.registry import Collector

from loadtest.drive.metrics.counts import BOUNDS_S, TimeCounts
from loadtest.drive.metrics.families import Family, Kind, Snapshot, families
from loadtest.errors import UsageError
from loadtest.protocol.addresses import url_host

MAX_LINGER_S = 75.0
"""A scraper that was there is waited for at most this long; Prometheus asks once a minute unless set otherwise."""


class RunCollector(Collector):
    """The metrics of a run for a registry of Prometheus; `snapshot` is called at each scrape.

    `pause` is called between two metrics: to write each takes milliseconds, in which no job can be sent.
    """

    def __init__(
        self,
        attributes: dict[str, str],
        snapshot: Callable[[], Snapshot],
        pause: Callable[[], object] = lambda: None,
    ) -> None:
        self._pause = pause
        self._attributes = {name.replace(".", "_"): value for name, value in attributes.items()}
        self._snapshot = snapshot

    def collect(self) -> Iterator[Any]:
        """Yield every metric, and the run itself as `target_info`, as OpenTelemetry's exporters do."""
        yield InfoMetricFamily("target", "The run.", self._attributes)
        for family in families(self._snapshot()):
            self._pause()
            yield _metric(family)


def _metric(family: Family) -> Any:
    names = list(family.points[0].labels) if family.points else []
    kinds = {Kind.COUNTER: CounterMetricFamily, Kind.GAUGE: GaugeMetricFamily, Kind.HISTOGRAM: HistogramMetricFamily}
    metric = kinds[family.kind](family.prometheus_name, family.text, labels=names)
    for labels, value in family.points:
        values = [labels[name] for name in names]
        if isinstance(value, TimeCounts):
            bounds = [*(f"{bound:g}" for bound in BOUNDS_S), "+Inf"]
            metric.add_metric(values, list(zip(bounds, accumulate(value.buckets), strict=True)), value.sum_s)
        else:
            metric.add_metric(values, value)
    return metric


class ScrapePage:
    """The page `/metrics` at an address. Raises UsageError if it cannot listen there.

    `now` gives the time of each scrape, in seconds.
    """

    def __init__(self, address: tuple[str, int], collector: Collector, now: Callable[[], float]) -> None:
        registry = CollectorRegistry()
        registry.register(collector)
        self._page = make_wsgi_app(registry)
        self._now = now
        self.began_at = now()
        self.scraped_at: list[float] = []
        self._server = WSGIServer(address, self._answer, log=None, error_log=None)
        try:
            self._server.start()
        except OSError as error:
            host, port = address
            raise UsageError(
                f"--metrics: cannot listen on {url_host(host)}:{port}: {error.strerror}; name another address or port"
            ) from None

    def _answer(self, environment: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environment["PATH_INFO"] != "/metrics":
            start_response("404 Not Found", [("Content-Type", "text/plain")])
            return [b"the metrics are at /metrics\n"]
        answer: Iterable[bytes] = self._page(environment, start_response)
        self.scraped_at.append(self._now())
        return answer

    def close(self) -> None:
        """Close the page; scrapes under way are answered."""
        self._server.stop(timeout=1)


def linger_s(began_at: float, scraped_at: list[float]) -> float:
    """Return how long a scraper may take to come once more: the longest gap it has left, and half of it again.

    0 if it has never come. After its first scrape the gap is not known, so that the time until then counts.
    """
    if not scraped_at:
        return 0.0
    gap_s = max(after - before for before, after in pairwise([began_at, *scraped_at]))
    return min(MAX_LINGER_S, 1.5 * gap_s + 1.0)
