"""Servers for tests: real processes on free loopback ports, ended with the test."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.integration.processes import LoadtestProcess

KEY = "local"
LONGEST = ("test_two_hosts", "test_target_faults", "test_mixed_outcomes")
STARTS_WITHIN_S = 60.0
STOPS_WITHIN_S = 30.0


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let each of the parallel processes begin with tests that wait long: at the end, the others would be idle."""
    processes: int = getattr(config, "workerinput", {"workercount": 1})["workercount"]
    rest = [item for item in items if item.path.stem not in LONGEST]
    each = len(rest) / processes
    shares = [rest[round(number * each) : round((number + 1) * each)] for number in range(processes)]
    for number, name in enumerate(LONGEST):
        share = shares[number % processes]
        share[:0] = [item for item in items if item.path.stem == name]
    items[:] = [item for share in shares for item in share]


def wait_for(condition: Callable[[], object], within_s: float = 60.0) -> None:
    """Return when the condition holds; fails the test if it does not in time."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, f"waited {within_s:g} s in vain"
        time.sleep(0.01)


@dataclass(frozen=True)
class Served:
    """A running server: its endpoint's URL, its journal, and its process."""

    url: str
    journal: Path
    process: LoadtestProcess

    @property
    def pid(self) -> int:
        return self.process.pid

    def stop(self) -> int:
        """End the server with SIGTERM, and return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOPS_WITHIN_S)

    def requests(self) -> list[dict[str, Any]]:
        """Return the journal's requests, in the order of their answers."""
        return [line for line in self._lines() if "op" in line]

    def jobs(self) -> list[dict[str, Any]]:
        """Return the journal's jobs, in the order of their ends."""
        return [line for line in self._lines() if "id" in line]

    def _lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.journal.read_text().splitlines()]


Serve = Callable[..., Served]


def _servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    running: list[LoadtestProcess] = []

    def serve(settings: dict[str, Any] | None = None, key: str | None = None, **options: Any) -> Served:
        folder = tmp_path_factory.mktemp("serve")
        config, journal = folder / "endpoint.yaml", folder / "journal.jsonl"
        config.write_text(json.dumps(settings or {}))
        arguments = ["--config", str(config), "--journal", str(journal), "--until-stdin-closes"]
        for name, value in {"port": 0, **options}.items():
            arguments += [f"--{name}", str(value)]
        environment = {name: value for name, value in os.environ.items() if name != "LOADTEST_API_KEY"}
        if key is not None:
            environment["LOADTEST_API_KEY"] = key
        process = LoadtestProcess(folder, environment, "serve", *arguments)
        running.append(process)
        wait_for(lambda: "\n" in process.stdout or process.poll() is not None, STARTS_WITHIN_S)
        assert process.stdout.startswith("listening on http://"), process.stderr
        return Served(process.stdout.splitlines()[0].removeprefix("listening on "), journal, process)

    try:
        yield serve
    finally:
        for process in running:
            process.end(signal.SIGKILL, STOPS_WITHIN_S)


@pytest.fixture
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    """`serve(settings, key=…, endpoint=…, seed=…, port=…)` starts a server that lives as long as the test."""
    yield from _servers(tmp_path_factory)


@pytest.fixture(scope="module")
def serve_module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    """The same, for servers that a whole module shares."""
    yield from _servers(tmp_path_factory)
