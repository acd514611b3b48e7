"""A run over two hosts whose link is cut in the middle; the hosts are two network namespaces."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from loadtest.record.sample import SAMPLES
from loadtest.record.shards import batches
from tests.integration.conftest import wait_for
from tests.integration.run.conftest import Finished, open_load, read_journal

FORWARDER = Path(__file__).with_name("forwarder.py")
PORT, MASTER_PORT = 8000, 5557
MASTER_ADDRESS, FAR_ADDRESS = "10.77.0.1", "10.77.0.2"
CUT_S = 9.0
LIMIT = "400 per 2 s"
"""A short window, since it has to pass before the share of a lost process is given to others."""


@dataclass(frozen=True)
class Hosts:
    """Two network namespaces with a link between them."""

    near: str
    far: str

    def inside(self, host: str) -> list[str]:
        """Return the words that run a command on one of them."""
        return ["ip", "netns", "exec", host]

    def link(self, state: str) -> None:
        ip("-n", self.near, "link", "set", "cable", state)


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)


@pytest.fixture
def hosts() -> Iterator[Hosts]:
    if shutil.which("ip") is None:
        pytest.skip("no ip command; it comes with iproute2")
    made = Hosts(f"master-{os.getpid()}", f"far-{os.getpid()}")
    try:
        ip("netns", "add", made.near)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"a network namespace needs root: {error.stderr.strip()}")
    try:
        ip("netns", "add", made.far)
        ip("-n", made.near, "link", "add", "cable", "type", "veth", "peer", "name", "cable", "netns", made.far)
        for host, address in ((made.near, MASTER_ADDRESS), (made.far, FAR_ADDRESS)):
            ip("-n", host, "address", "add", f"{address}/24", "dev", "cable")
            ip("-n", host, "link", "set", "lo", "up")
            ip("-n", host, "link", "set", "cable", "up")
        yield made
    finally:
        for host in (made.near, made.far):
            subprocess.run(["ip", "netns", "delete", host], check=False, capture_output=True)


@pytest.fixture
def on(hosts: Hosts) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """`on(host, *arguments)`: Python with these arguments on a host, ended with the test."""
    begun: list[subprocess.Popen[str]] = []

    def begin(host: str, *arguments: str) -> subprocess.Popen[str]:
        command = [*hosts.inside(host), sys.executable, *arguments]
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        begun.append(process)
        return process

    yield begin
    for process in begun:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=10)


def kept(directory: Path) -> set[int]:
    """Return the jobs in the shards that a worker keeps on its own disk."""
    shards = directory.rglob("samples-*.arrow")
    return {seq for shard in shards for batch in batches(shard, SAMPLES) for seq in batch.column("seq").to_pylist()}


def test_link_that_is_cut_for_a_while_costs_no_sample_of_either_side(
    hosts: Hosts, on: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    endpoint, journal = tmp_path / "endpoint.yaml", tmp_path / "journal.jsonl"
    endpoint.write_text(json.dumps({"workers": {"active": 20, "max": 20}, "service": "50ms"}))
    options = ["--host", "0.0.0.0", "--port", str(PORT), "--config", str(endpoint), "--journal", str(journal)]
    server = on(hosts.near, "-m", "loadtest", "serve", *options)
    forwarder = on(hosts.far, str(FORWARDER), str(PORT), MASTER_ADDRESS)
    for each in (server, forwarder):
        assert each.stdout is not None
        assert each.stdout.readline().startswith("listening")
    scenario = open_load(
        "40/s",
        "20s",
        name="test",
        flows={"run": {"polling": {"every": "200ms"}}, "runsync": {}},
        limits=dict.fromkeys(("run", "runsync", "status", "status-sync", "stream", "cancel", "purge-queue"), LIMIT),
        drain={"within": "10s"},
    )
    path, out = tmp_path / "scenario.yaml", tmp_path / "run"
    path.write_text(json.dumps(scenario))
    options = ["--target", f"http://127.0.0.1:{PORT}/v2/local", "--expect-workers", "2", "--bind", MASTER_ADDRESS]
    master = on(hosts.near, "-m", "loadtest", "run", str(path), "--out", str(out), *options)
    address = f"{MASTER_ADDRESS}:{MASTER_PORT}"
    own = [tmp_path / "own0", tmp_path / "own1"]
    workers = [on(hosts.far, "-m", "loadtest", "worker", "--master", address, "--keep", str(keep)) for keep in own]
    wait_for(lambda: master.poll() is not None or all(kept(keep) for keep in own))
    time.sleep(1)
    hosts.link("down")
    cut_at = time.time()
    time.sleep(CUT_S)
    hosts.link("up")
    repaired_at = time.time()
    stdout, stderr = master.communicate(timeout=60)
    finished = Finished(master.returncode, out, stdout, stderr)
    assert [worker.wait(20) for worker in workers] == [0, 0]
    server.terminate()
    server.wait(10)
    rows, known = finished.samples, read_journal(journal).jobs
    assert finished.is_complete()
    assert finished.status == 3
    assert set(finished.run["lost"]) == {0, 1}
    assert "Processes 0, 1 " in finished.summary["reason"]
    assert finished.missing() == [0, 0]
    assert sum(each["recorded"] for each in finished.run["audit"]) == len(rows)
    assert len({row["seq"] for row in rows}) == len(rows)
    assert kept(own[0]) | kept(own[1]) == {row["seq"] for row in rows}
    assert not kept(own[0]) & kept(own[1])
    without_answer = [row for row in rows if row["job_id"] is None]
    assert {row["job_id"] for row in rows} - {None} <= known.keys()
    assert len(known) <= len(rows)
    assert len(known) >= len(rows) - len(without_answer)
    before = [row for row in rows if row["sent_at"] < cut_at - 1]
    after = [row for row in rows if row["sent_at"] > repaired_at + 5]
    assert {row["outcome"] for row in before} == {row["outcome"] for row in after} == {"completed"}
    assert {row["process"] for row in after} == {0, 1}
    assert len(after) > 20
