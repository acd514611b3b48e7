"""Asks the target for its health while a run goes on, and keeps what it says."""

from __future__ import annotations

from contextlib import suppress

import gevent

from loadtest.clock import Clock
from loadtest.drive.http.client import HttpClient
from loadtest.errors import InvalidResponse
from loadtest.protocol.client_messages import decode_health
from loadtest.protocol.operations import OPERATIONS, Op
from loadtest.record.directory import MASTER_PROCESS, RunDirectory
from loadtest.record.recorder import Recorder
from loadtest.scenario.target import is_loopback

POLL_INTERVAL_S = 1.0
REMOTE_POLL_INTERVAL_S = 5.0


def poll_health(engine: HttpClient, directory: RunDirectory, clock: Clock, url: str) -> None:
    """Ask until killed; an answer that is none is passed over, and so is one that comes late."""
    recorder = Recorder(directory, MASTER_PROCESS)
    log = recorder.requests[Op.HEALTH]
    every_s = POLL_INTERVAL_S if is_loopback(url) else REMOTE_POLL_INTERVAL_S
    health = OPERATIONS[Op.HEALTH]
    try:
        while True:
            log.sent(clock.now())
            answer = engine.send(health.method, health.path, deadline=clock.now() + every_s)
            log.answered(answer.status, answer.sent_at, answer.answered_at)
            if answer.status == 200:
                with suppress(InvalidResponse):
                    recorder.health(answer.answered_at, decode_health(answer.body))
            recorder.flush(clock.now())
            gevent.sleep(every_s)
    finally:
        recorder.close()
