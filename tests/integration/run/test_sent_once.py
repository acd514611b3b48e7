"""A target that takes jobs and closes, and repeats the key: each job was sent once, and no file holds the key."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler

import pytest

from tests.integration.run.conftest import LATE_IS_SOUND, Finished, Run, open_load
from tests.integration.run.faulty import HEALTH, Listener

KEY = "key-of-this-test-0123456789"
CLOSED, ECHOED = 5, 7
"""Every n-th job is taken without a response; every n-th is refused with a text that repeats the key."""


@dataclass
class Taken:
    """The submissions that the endpoint took, by their number, and what became of them."""

    url: str = ""
    inputs: list[int] = field(default_factory=list)
    closed: set[int] = field(default_factory=set)
    refused: set[int] = field(default_factory=set)
    done: dict[str, int] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)


class Talk(BaseHTTPRequestHandler):
    """One connection, request after request."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    taken: Taken

    def do_POST(self) -> None:
        number = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["input"]
        with self.taken.lock:
            self.taken.inputs.append(number)
            count = len(self.taken.inputs)
        if count % CLOSED == 0:
            self.taken.closed.add(number)
            self.close_connection = True
        elif count % ECHOED == 0:
            self.taken.refused.add(number)
            self.answer({"error": f"not for you: {self.headers['Authorization']}"}, 400)
        else:
            self.taken.done[f"job-{count}"] = number
            job = {"id": f"job-{count}", "status": "COMPLETED", "delayTime": 1, "executionTime": 1}
            self.answer(job | {"output": self.headers["Authorization"]})

    def do_GET(self) -> None:
        self.answer(HEALTH)

    def answer(self, body: object, status: int = 200) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """What happened is on record in `taken`."""


@pytest.fixture
def taken() -> Iterator[Taken]:
    made = Taken()
    with Listener(("127.0.0.1", 0), type("BoundTalk", (Talk,), {"taken": made})) as listener:
        made.url = f"http://127.0.0.1:{listener.server_address[1]}/v2/x"
        serving = threading.Thread(target=listener.serve_forever, args=(0.05,))
        serving.start()
        yield made
        listener.shutdown()
        serving.join()


def assert_no_secret(finished: Finished, secret: str) -> None:
    """Neither a file nor the terminal holds the secret."""
    assert secret not in finished.stdout + finished.stderr
    for path in finished.out.rglob("*"):
        assert path.is_dir() or secret.encode() not in path.read_bytes(), path


def test_each_job_is_sent_once_and_its_key_is_in_no_file(run: Run, taken: Taken) -> None:
    flows = {"runsync": {"inputs": {"template": "${seq}"}}}
    load = open_load("50/s", "2s", "constant", flows=flows, target=taken.url, gates=["errors < 1 %"])
    finished = run({**load, **LATE_IS_SOUND}, env={"LOADTEST_API_KEY": f" {KEY}\n"})
    assert "note: the key in LOADTEST_API_KEY has white space around it" in finished.stderr
    outcomes = {row["seq"]: row["outcome"] for row in finished.samples}
    assert sorted(taken.inputs) == sorted(outcomes) == list(range(100))
    assert {seq for seq, outcome in outcomes.items() if outcome == "unreachable"} == taken.closed
    assert {seq for seq, outcome in outcomes.items() if outcome == "rejected"} == taken.refused
    assert {row["error_kind"] for row in finished.samples if row["outcome"] == "unreachable"} == {"connection_closed"}
    assert {row["job_id"] for row in finished.samples} - {None} == set(taken.done)
    assert finished.status == 1, finished.stderr
    assert "not for you: Bearer ****" in (finished.out / "report.html").read_text()
    assert_no_secret(finished, KEY)


@pytest.mark.parametrize(
    ("environment", "word"),
    [
        ({"LOADTEST_API_KEY": KEY.replace("-", "\u2013")}, "that no key has"),
        ({"LOADTEST_API_KEY": "ké" + KEY}, "that no key has"),
        ({"LOADTEST_API_KEY": f"{KEY} {KEY}"}, "a space"),
    ],
)
def test_key_that_no_header_can_hold_is_refused_before_a_directory_is_made(
    run: Run, taken: Taken, environment: dict[str, str], word: str
) -> None:
    finished = run(open_load("5/s", "1s", target=taken.url), env=environment)
    assert finished.status == 2
    assert word in finished.stderr
    assert not any(part in finished.stderr + finished.stdout for part in ("0123456789", "of-this", "of\u2013this"))
    assert not finished.out.exists()
