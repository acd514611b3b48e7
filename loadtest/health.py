"""One look at an endpoint between runs: how many of its jobs are unfinished."""

from __future__ import annotations

import ssl

from loadtest.errors import InvalidResponse, RunAborted
from loadtest.protocol import OPERATIONS, Op, authorization
from loadtest.scenario.proxies import proxy_url
from loadtest.wire import decode_health

ANSWER_WITHIN_S = 10.0


def unfinished_jobs(url: str, key: str) -> int:
    """Jobs that wait or run at an endpoint, as its health tells; Aborted where it does not answer.

    It goes the way that the load goes: by the same proxy, and with the same certificates trusted.
    """
    # Slow to import, and no other run than a search of an endpoint that stays needs it.
    import httpx

    operation = OPERATIONS[Op.HEALTH]
    way = httpx.Client(
        proxy=proxy_url(url), verify=ssl.create_default_context(), trust_env=False, timeout=ANSWER_WITHIN_S
    )
    try:
        with way:
            answer = way.request(
                operation.method, url + operation.path, headers={"Authorization": authorization(key)}
            )
        if not answer.is_success:
            raise InvalidResponse(f"HTTP {answer.status_code}")
        jobs = decode_health(answer.content).jobs
    except (httpx.HTTPError, InvalidResponse) as error:
        raise RunAborted(f"target: {url} does not tell its health between two probes: {error}") from None
    return jobs.in_queue + jobs.in_progress
