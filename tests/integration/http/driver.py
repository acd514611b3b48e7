"""A process that drives the HTTP client, since gevent patches the process that it runs in.

Reads plans as JSON, one line each on standard input: the URL, variables of the environment, timeouts to change, the
addresses of its host, and rounds of requests; the requests of a round go out together. A round can wait for a file
(`when`) and leave one (`then`). Each plan is carried out in a fork, since imports take longer than most plans. For
each, prints one line: the responses, one list per round, or what went wrong.
"""

from __future__ import annotations

import json
import math
import os
import socket
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any

import gevent
import gevent.monkey

fork, waitpid = os.fork, os.waitpid  # before gevent replaces them: the parent has no event loop
gevent.monkey.patch_all()

from loadtest.drive.http import client, connection, dialer  # noqa: E402
from loadtest.drive.timer import GeventClock  # noqa: E402


def as_json(response: client.Response) -> dict[str, object]:
    body = response.body if len(response.body) < 1000 else response.body[:10]
    return {
        "status": response.status,
        "body": body.decode("latin-1"),
        "bytes": len(response.body),
        "took_s": response.answered_at - response.sent_at,
        "retry_after_s": response.retry_after_s,
        "error": response.error,
        "error_kind": response.error_kind,
        "again": response is client.SEND_AGAIN,
        "body_progress": response.body_progress,
        "answered_at": response.answered_at,
    }


def rounds_of(plan: dict[str, Any]) -> list[list[dict[str, object]]]:
    clock = GeventClock()
    connection.RESPONSE_TIMEOUT_S = plan.get("response_timeout_s", connection.RESPONSE_TIMEOUT_S)
    dialer.CONNECT_TIMEOUT_S = plan.get("connect_timeout_s", dialer.CONNECT_TIMEOUT_S)
    if "addresses" in plan:
        resolved = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", tuple(each)) for each in plan["addresses"]]
        dialer.socket.getaddrinfo = lambda host, port, type: resolved
    sender = client.HttpClient(plan["url"], "secret", clock)
    rounds = []
    for wave in plan["rounds"]:
        gevent.sleep(wave.get("after_s", 0))
        while "when" in wave and not Path(wave["when"]).exists():
            gevent.sleep(0.01)
        sent = [
            gevent.spawn(
                sender.send,
                each.get("method", "POST"),
                each.get("path", "/run"),
                b"x" * each["bytes"] if "bytes" in each else each.get("body", "{}").encode(),
                each.get("long_poll_s", 0.0),
                clock.now() + each.get("deadline_s", math.inf),
            )
            for each in wave["requests"]
        ]
        rounds.append([as_json(each.get()) for each in sent])
        if "then" in wave:
            Path(wave["then"]).touch()
    sender.close()
    return rounds


def carry_out(plan: dict[str, Any]) -> None:
    """Print the responses to a plan, and what was written to standard error meanwhile."""
    rounds = []
    with tempfile.TemporaryFile() as errors:
        os.dup2(errors.fileno(), 2)
        os.environ.update(plan.get("env", {}))
        try:
            rounds = rounds_of(plan)
        finally:
            sys.stderr.flush()
            errors.seek(0)
            failed = errors.read().decode() + (traceback.format_exc() if sys.exc_info()[0] else "")
            os.write(1, json.dumps({"rounds": rounds, "failed": failed}).encode() + b"\n")


for line in sys.stdin:
    if fork() == 0:
        carry_out(json.loads(line))
        os._exit(0)
    waitpid(-1, 0)
