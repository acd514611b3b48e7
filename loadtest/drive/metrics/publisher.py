"""Publishes the figures of a run from its master: the sums of all generators, scraped and pushed."""

from __future__ import annotations

import os
from collections.abc import Callable

import gevent
from gevent import Greenlet

from loadtest.clock import SleepingClock
from loadtest.drive.metrics.families import Snapshot
from loadtest.process import tell
from loadtest.record.run import RunRecord
from loadtest.scenario.telemetry import MetricsConfig

FINAL_PUSH_TIMEOUT_S = 10.0
HOPELESS_PUSH_TIMEOUT_S = 2.0
"""How long the last push may take if the one before has failed."""
LOOK_AGAIN_S = 0.1
PAUSE_S = 0.001
"""Between two metrics of a page, so that jobs that are due are sent."""


class Publisher:
    """Publishes `snapshot()` until `finish`. Raises UsageError if it cannot listen on its address."""

    def __init__(
        self, config: MetricsConfig, run: RunRecord, snapshot: Callable[[], Snapshot], clock: SleepingClock
    ) -> None:
        self._clock = clock
        self._page = self._pusher = None
        self._greenlet: Greenlet[..., None] | None = None
        attributes = {
            "loadtest.run.id": run.id,
            "loadtest.scenario": str(run.scenario.get("name", "")),
            "loadtest.target": run.target,
        }
        if config.address is not None:
            from loadtest.drive.metrics.scraping import RunCollector, ScrapePage

            named = {"service.name": "loadtest", **attributes}
            collector = RunCollector(named, snapshot, lambda: clock.sleep(PAUSE_S))
            self._page = ScrapePage(config.address, collector, clock.now)
        if config.otlp:
            from loadtest.drive.metrics.pushing import Pusher, interval_s

            self._pusher = Pusher(attributes, clock.now(), snapshot)
            self._greenlet = gevent.spawn(self._push_regularly, interval_s(os.environ))

    def _push_regularly(self, every_s: float) -> None:
        assert self._pusher is not None
        while True:
            self._clock.sleep(every_s)
            self._pusher.push(self._clock.now())

    def finish(self, wait_for_scrape: bool) -> None:
        """Push the last figures, wait until they were scraped if a scraper was there before, and end."""
        if self._greenlet is not None:
            self._greenlet.kill()
        if self._pusher is not None:
            timeout_s = HOPELESS_PUSH_TIMEOUT_S if self._pusher.failing else FINAL_PUSH_TIMEOUT_S
            gevent.with_timeout(timeout_s, self._pusher.push, self._clock.now(), timeout_value=None)
            if self._pusher.failing:
                tell("warning: the last metrics were not pushed; look at OTEL_EXPORTER_OTLP_ENDPOINT")
            self._pusher.close()
        if self._page is not None:
            if wait_for_scrape:
                self._await_scrape()
            self._page.close()

    def _await_scrape(self) -> None:
        from loadtest.drive.metrics.scraping import linger_s

        assert self._page is not None
        scrapes = len(self._page.scraped_at)
        until = self._clock.now() + linger_s(self._page.began_at, self._page.scraped_at)
        while len(self._page.scraped_at) == scrapes and self._clock.now() < until:
            self._clock.sleep(LOOK_AGAIN_S)
