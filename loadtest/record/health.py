"""The shards of the master: the health that the endpoint reported, and the requests that asked for it."""

from __future__ import annotations

import math

from loadtest.protocol.client_messages import Health
from loadtest.protocol.operations import Op
from loadtest.record.directory import MASTER_PROCESS, RunDirectory
from loadtest.record.requests import RequestLog
from loadtest.record.sample import HEALTH, REQUESTS
from loadtest.record.shards import batch_of


class HealthWriter:
    """The health rows of a run, and one request row per second; RecordingError is raised if the disk is full."""

    def __init__(self, directory: RunDirectory) -> None:
        self._health = directory.shard("health", MASTER_PROCESS)
        self._requests = directory.shard("requests", MASTER_PROCESS)
        self._log = RequestLog(Op.HEALTH, keep_sends=False)

    def sent(self, at: float) -> None:
        """Count a request that is sent at this time."""
        self._log.sent(at)

    def answered(self, status: int, sent_at: float, answered_at: float, health: Health | None) -> None:
        """Write the health in an answer, if it holds one, and the requests of all seconds before it."""
        self._log.answered(status, sent_at, answered_at)
        if health is not None:
            jobs, workers = health.jobs, health.workers
            counts = [getattr(jobs, name, getattr(workers, name, None)) for name in HEALTH.names[1:]]
            self._health.append(batch_of([[value] for value in (answered_at, *counts)], HEALTH))
        self._write_requests(answered_at)

    def close(self) -> None:
        """Write the last requests and end the shards."""
        try:
            self._write_requests(math.inf)
        finally:
            self._health.close()
            self._requests.close()

    def _write_requests(self, before: float) -> None:
        rows = self._log.rows_before(before, MASTER_PROCESS)
        if rows:
            self._requests.append(batch_of(zip(*rows, strict=True), REQUESTS))
            self._log.drop_before(before)
