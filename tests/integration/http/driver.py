"""A process that drives the HTTP client, since gevent patches the process that it runs in.

Reads a plan as JSON, one line on standard input: the URL, timeouts to change, and rounds of requests; the requests
of a round go out together. A round can wait for a file (`when`) and leave one (`then`). Prints the responses, one
list per round.
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import gevent
import gevent.monkey

gevent.monkey.patch_all()

from loadtest.clock import WallClock  # noqa: E402
from loadtest.drive.http import client, dialer  # noqa: E402


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
        "body_progress": response.body_progress,
        "answered_at": response.answered_at,
    }


def main() -> None:
    plan = json.loads(sys.stdin.readline())
    client.RESPONSE_TIMEOUT_S = plan.get("response_timeout_s", client.RESPONSE_TIMEOUT_S)
    dialer.CONNECT_TIMEOUT_S = plan.get("connect_timeout_s", dialer.CONNECT_TIMEOUT_S)
    sender = client.HttpClient(plan["url"], "secret", WallClock())
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
                WallClock().now() + each.get("deadline_s", math.inf),
            )
            for each in wave["requests"]
        ]
        rounds.append([as_json(each.get()) for each in sent])
        if "then" in wave:
            Path(wave["then"]).touch()
    sender.close()
    sys.stdout.write(json.dumps(rounds))


main()
