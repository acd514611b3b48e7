"""One look at an endpoint between runs: how many of its jobs are unfinished."""

from __future__ import annotations

import urllib.error
import urllib.request

from loadtest.errors import Aborted, BadAnswer
from loadtest.protocol import OPERATIONS, Op, authorization
from loadtest.scenario.target import is_loopback
from loadtest.wire import decode_health

ANSWER_WITHIN_S = 10.0


def unfinished_jobs(url: str, key: str) -> int:
    """Jobs that wait or run at an endpoint, as its health tells; Aborted where it does not answer."""
    operation = OPERATIONS[Op.HEALTH]
    asked = urllib.request.Request(
        url + operation.path, method=operation.method, headers={"Authorization": authorization(key)}
    )
    proxies = urllib.request.ProxyHandler({} if is_loopback(url) else None)
    try:
        with urllib.request.build_opener(proxies).open(asked, timeout=ANSWER_WITHIN_S) as answer:
            jobs = decode_health(answer.read()).jobs
    except (urllib.error.URLError, TimeoutError, BadAnswer) as fault:
        raise Aborted(f"target: {url} does not tell its health between two probes: {fault}") from None
    return jobs.in_queue + jobs.in_progress
