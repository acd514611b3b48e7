"""The server as a process: how it starts, what its journal holds, and how it ends."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from loadtest.errors import UsageError
from loadtest.serve.server import ServeOptions
from loadtest.serve.server import serve as listen_and_serve
from tests.integration.conftest import KEY, Serve, Served

ENDS_WITHIN_S = 3.0


def test_an_ipv6_address_is_written_as_a_url_wants_it(serve: Serve) -> None:
    served = serve(host="::1")
    assert served.url.startswith("http://[::1]:")
    assert httpx.get(f"{served.url}/health", headers={"Authorization": KEY}).status_code == 200


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no device that is always full")
def test_journal_on_a_full_disk_ends_the_server_with_the_reason() -> None:
    program = (
        "import sys\nfrom pathlib import Path\nfrom loadtest.errors import RecordingError\n"
        "from loadtest.serve.server import ServeOptions, serve\n"
        "try:\n    serve(ServeOptions(port=0, journal=Path('/dev/full'), until_stdin_closes=True))\n"
        "except RecordingError as error:\n    sys.exit(str(error))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        url = process.stdout.readline().split()[-1]
        assert httpx.get(f"{url}/health", headers={"Authorization": KEY}).status_code == 200
        assert process.wait(ENDS_WITHIN_S) == 1
        assert (
            process.stderr.read() == "the journal /dev/full cannot be written: No space left on device; make room\n"
        )


def test_server_prints_its_address_and_uses_the_given_name_and_key(serve: Serve) -> None:
    served = serve(key="secret", endpoint="abc123")
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/v2/abc123", served.url)
    assert httpx.get(f"{served.url}/health", headers={"Authorization": "Bearer secret"}).status_code == 200
    assert httpx.get(f"{served.url}/health", headers={"Authorization": "Bearer local"}).status_code == 401


def test_a_port_that_is_taken_is_one_line_of_usage_error(serve: Serve) -> None:
    port = int(serve().url.split(":")[2].split("/")[0])
    program = (
        "import sys\nfrom loadtest.errors import UsageError\nfrom loadtest.serve.server import ServeOptions, serve\n"
        f"try:\n    serve(ServeOptions(port={port}))\nexcept UsageError as error:\n    sys.exit(str(error))"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=20, check=False)
    assert ran.stdout == ""
    assert ran.stderr == (
        f"cannot listen on 127.0.0.1 port {port}: Address already in use; name another with --port or --host\n"
    )


@pytest.mark.parametrize(("host", "port"), [
        ("no-such-host.invalid", 0), ("127.0.0.1", 70_000), ("192.0.2.1", 0), ("", 0), ("é" * 70, 0),
    ],
)  # fmt: skip
def test_unusable_address_is_a_usage_error_that_names_the_option(host: str, port: int) -> None:
    with pytest.raises(UsageError, match=r"^cannot listen on .*; name another with --[^\n]*$"):
        listen_and_serve(ServeOptions(host, port))


@pytest.mark.parametrize("endpoint_id", ["", "a/b", "a b", "ü", "a?b"])
def test_id_that_does_not_fit_in_a_url_is_refused(endpoint_id: str) -> None:
    with pytest.raises(UsageError, match="cannot be part of a URL"):
        listen_and_serve(ServeOptions(port=0, endpoint_id=endpoint_id))


def test_the_same_seed_gives_the_same_ids_and_times(serve: Serve) -> None:
    def story(seed: int) -> list[tuple[str, int]]:
        served = serve({"service": {"median": "20ms", "sigma": 1}}, seed=seed)
        with httpx.Client(base_url=served.url, headers={"Authorization": KEY}) as client:
            answers = [client.post("/runsync", json={"input": 1}).json() for _ in range(5)]
        return [(answer["id"], answer["executionTime"]) for answer in answers]

    first, again = story(5), story(5)
    assert [job_id for job_id, _ in first] == [job_id for job_id, _ in again]
    assert all(abs(one - two) <= 1 for (_, one), (_, two) in zip(first, again, strict=True))


def test_journal_has_every_request_and_every_job_and_agrees_with_the_wire(serve: Serve) -> None:
    served = serve({"workers": {"active": 1, "max": 1}, "service": {"median": "500ms", "sigma": 0.1}})
    before = time.time()
    with httpx.Client(base_url=served.url, headers={"Authorization": KEY}, timeout=20) as client:
        queued = [client.post("/run", json={"input": 1}).json()["id"] for _ in range(4)]
        answers = [client.post("/runsync", json={"input": 1}).json() for _ in range(4)]
        answers += [client.get(f"/status/{job_id}").json() for job_id in queued]
        client.get("/nothing")
        slow = client.post("/run", json={"input": 1}).json()["id"]
        cancelled = client.post(f"/cancel/{slow}").json()
    assert served.stop() == 0
    assert cancelled == {"id": slow, "status": "CANCELLED"}
    jobs = {job["id"]: job for job in served.jobs()}
    assert len(jobs) == len(served.jobs()) == 9
    for answer in answers:
        job = jobs[answer["id"]]
        assert (job["status"], job["worker"]) == (answer["status"], answer["workerId"])
        assert answer["delayTime"] == round((job["taken_at"] - job["submitted_at"]) * 1000)
        assert answer["executionTime"] == round((job["finished_at"] - job["taken_at"]) * 1000)
        assert before - 0.001 <= job["submitted_at"] <= time.time()
    ops = [(each["op"], each["status"]) for each in served.requests()]
    assert sorted(ops, key=str) == sorted(
        [("run", 200)] * 5 + [("runsync", 200)] * 4 + [("status", 200)] * 4 + [(None, 404), ("cancel", 200)], key=str
    )
    assert all(before <= each["at"] <= time.time() for each in served.requests())


def test_the_journal_is_on_disk_while_the_server_runs(serve: Serve) -> None:
    served = serve({"service": "0s"})
    httpx.post(f"{served.url}/runsync", json={"input": 1}, headers={"Authorization": KEY})
    deadline = time.monotonic() + 2
    while len(served.journal.read_text().splitlines()) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert (len(served.requests()), len(served.jobs())) == (1, 1)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_answers_what_is_held_and_ends_quickly_with_the_journal_whole(
    serve: Serve, number: signal.Signals
) -> None:
    served = serve({"workers": {"active": 1, "max": 1}, "service": "60s"})
    with httpx.Client(base_url=served.url, headers={"Authorization": KEY}) as client, ThreadPoolExecutor() as pool:
        held = [
            pool.submit(httpx.post, f"{served.url}/runsync", json={"input": 1}, headers={"Authorization": KEY})
            for _ in range(3)
        ]
        while sum(client.get("/health").json()["jobs"].values()) < 3:
            assert not any(each.done() for each in held)
        began = time.monotonic()
        os.kill(served.pid, number)
        assert served.process.wait(ENDS_WITHIN_S) == 0
        assert time.monotonic() - began < ENDS_WITHIN_S
        statuses = sorted(each.result().json()["status"] for each in held)
    assert statuses == ["IN_PROGRESS", "IN_QUEUE", "IN_QUEUE"]
    assert sorted(job["status"] for job in served.jobs()) == statuses
    running = next(job for job in served.jobs() if job["status"] == "IN_PROGRESS")
    assert running["taken_at"] is not None
    assert running["finished_at"] is None
    assert [each["status"] for each in served.requests() if each["op"] == "runsync"] == [200] * 3


def test_it_ends_when_its_standard_input_does(serve: Serve) -> None:
    served = serve()
    served.process.close_stdin()
    assert served.process.wait(ENDS_WITHIN_S) == 0


def test_it_does_not_outlive_the_process_that_started_it(tmp_path: Path) -> None:
    server = (
        "from loadtest.serve.server import ServeOptions, serve; serve(ServeOptions(port=0, until_stdin_closes=True))"
    )
    parent = (
        "import subprocess, sys, time\nfrom subprocess import PIPE\n"
        f"child = subprocess.Popen([sys.executable, '-c', {server!r}], stdin=PIPE, stdout=PIPE)\n"
        "print(child.stdout.readline().decode().split()[-1], flush=True)\n"
        "time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    url = process.stdout.readline().strip()
    assert httpx.get(f"{url}/health", headers={"Authorization": KEY}).status_code == 200
    process.kill()
    process.communicate(timeout=5)
    deadline = time.monotonic() + ENDS_WITHIN_S
    while answers(url) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not answers(url)


def answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health", headers={"Authorization": KEY}).status_code == 200
    except httpx.TransportError:
        return False


def test_a_served_endpoint_is_the_model_in_real_time(serve: Serve) -> None:
    served: Served = serve(
        {
            "workers": {"active": 0, "max": 1},
            "scaler": {"request_count": 1},
            "cold_start": "300ms",
            "idle_timeout": "1500ms",
            "service": "100ms",
        }
    )
    with httpx.Client(base_url=served.url, headers={"Authorization": KEY}) as client:
        began = time.monotonic()
        said = client.post("/runsync", json={"input": 1}).json()
        assert 0.4 <= time.monotonic() - began < 1.4
        assert (said["delayTime"], said["executionTime"]) == (300, 100)
        assert client.get("/health").json()["workers"]["running"] == 1
        time.sleep(1.6)
        assert client.get("/health").json()["workers"]["running"] == 0
