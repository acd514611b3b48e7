"""A process of its own that drives the engine, since importing gevent is for such processes alone.

Takes a plan as JSON, one line on standard input: the URL, how the time allowed is changed, and rounds of
requests; the requests of a round go out at once. Prints what came of them, one list a round.
"""

from __future__ import annotations

import json
import math
import sys

import gevent
import gevent.monkey

gevent.monkey.patch_all()

from loadtest.clock import WallClock  # noqa: E402
from loadtest.drive.http import client, dialer  # noqa: E402


def shown(answer: client.Response) -> dict[str, object]:
    body = answer.body if len(answer.body) < 1000 else answer.body[:10]
    return {
        "status": answer.status,
        "body": body.decode("latin-1"),
        "bytes": len(answer.body),
        "took_s": answer.answered_at - answer.sent_at,
        "retry_after_s": answer.retry_after_s,
        "fault": answer.error,
        "came": answer.body_progress,
        "answered_at": answer.answered_at,
    }


def main() -> None:
    plan = json.loads(sys.stdin.readline())
    client.RESPONSE_TIMEOUT_S = plan.get("answer_within_s", client.RESPONSE_TIMEOUT_S)
    dialer.CONNECT_TIMEOUT_S = plan.get("connect_within_s", dialer.CONNECT_TIMEOUT_S)
    sender = client.HttpClient(plan["url"], "secret", WallClock())
    rounds = []
    for wave in plan["rounds"]:
        gevent.sleep(wave.get("after_s", 0))
        sent = [
            gevent.spawn(
                sender.send,
                each.get("method", "POST"),
                each.get("path", "/run"),
                b"x" * each["bytes"] if "bytes" in each else each.get("body", "{}").encode(),
                each.get("hold_s", 0.0),
                WallClock().now() + each.get("patience_s", math.inf),
            )
            for each in wave["requests"]
        ]
        rounds.append([shown(each.get()) for each in sent])
    sender.close()
    sys.stdout.write(json.dumps(rounds))


main()
