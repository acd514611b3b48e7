"""Notifications of webhooks, as they should be and otherwise: early, repeated, lost, of another job, unreadable."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from contextlib import suppress
from urllib.parse import urlsplit

from gevent import socket

from loadtest.clock import SleepingClock
from tests.hostile.ledger import TakenJob

Body = Callable[[TakenJob, float], bytes]


def _document(job: TakenJob, now: float) -> bytes:
    return json.dumps(job.document(now)).encode()


NOTIFICATIONS: dict[str, tuple[Body, ...]] = {
    "notified": (_document,),
    "notified_three_times": (_document,) * 3,
    "notification_lost": (),
    "notification_early": (_document,),
    "notification_empty": (lambda job, now: b"", _document),
    "notification_null": (lambda job, now: b"null", _document),
    "notification_of_another": (lambda job, now: b'{"id": "another", "status": "COMPLETED"}', _document),
    "notification_array": (lambda job, now: b"[1]",),
    "notification_number": (lambda job, now: b'{"id": 7, "status": "COMPLETED"}',),
    "notification_nan": (lambda job, now: _document(job, now)[:-1] + b', "later": NaN}',),
    "notification_truncated": (lambda job, now: _document(job, now)[:-5],),
    "notification_without_status": (lambda job, now: json.dumps({"id": job.job_id}).encode(), _document),
    "notification_unknown_status": (
        lambda job, now: json.dumps({"id": job.job_id, "status": "WARMING_UP"}).encode(),
        _document,
    ),
    "notification_deep": (lambda job, now: b"[" * 5000 + b"]" * 5000, _document),
    "notification_not_utf8": (lambda job, now: b'{"id": "\xff"}', _document),
}


def notify(job: TakenJob, url: str, clock: SleepingClock, rng: random.Random, met: Callable[[str], None]) -> None:
    """Post what the endpoint sends for a job, once the job has ended; one that ends at once is notified early."""
    kind = "notified" if rng.random() < 0.7 else rng.choice(sorted(NOTIFICATIONS))
    met(kind)
    if kind == "notification_early":
        job.ends_at = clock.now()
    clock.sleep_until(min(job.ends_at, job.cancelled_at))
    for body in NOTIFICATIONS[kind]:
        with suppress(OSError):
            _post(url, body(job, clock.now()))


def _post(url: str, body: bytes) -> None:
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname or "", parts.port or 80), timeout=5) as connection:
        head = f"POST {parts.path or '/'} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body)
        connection.recv(4096)
