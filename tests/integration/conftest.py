"""Servers of one's own for a test: real processes on free loopback ports, gone when the test is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

KEY = "local"
STOPS_WITHIN_S = 10.0
_PROGRAM = """
import json, sys
from pathlib import Path
from loadtest.serve.server import ServeOptions, serve
asked = json.loads(sys.argv[1])
paths = {name: Path(asked.pop(name)) for name in ("config", "journal", "handler", "logs") if name in asked}
serve(ServeOptions(**paths, until_stdin_closes=True, **asked))
"""


@dataclass(frozen=True)
class Served:
    """A running server: its endpoint's URL, its journal, and its process."""

    url: str
    journal: Path
    process: subprocess.Popen[str]

    @property
    def pid(self) -> int:
        return self.process.pid

    def stop(self) -> int:
        """Ends the server as SIGTERM does, and returns its exit code."""
        self.process.terminate()
        return self.process.wait(STOPS_WITHIN_S)

    def requests(self) -> list[dict[str, Any]]:
        """The journal's requests, in the order of their answers."""
        return [line for line in self._lines() if "op" in line]

    def jobs(self) -> list[dict[str, Any]]:
        """The journal's jobs, in the order of their ends."""
        return [line for line in self._lines() if "id" in line]

    def _lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.journal.read_text().splitlines()]


Serve = Callable[..., Served]


def _servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    running: list[Served] = []

    def serve(settings: dict[str, Any] | None = None, key: str | None = None, **kw: Any) -> Served:
        folder = tmp_path_factory.mktemp("serve")
        config, journal = folder / "endpoint.yaml", folder / "journal.jsonl"
        config.write_text(json.dumps(settings or {}))
        asked = json.dumps({"port": 0, "config": str(config), "journal": str(journal), **kw})
        environment = {name: value for name, value in os.environ.items() if name != "LOADTEST_API_KEY"}
        if key is not None:
            environment["LOADTEST_API_KEY"] = key
        process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, asked],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        assert process.stdout is not None
        said = process.stdout.readline().strip()
        running.append(Served(said.removeprefix("listening on "), journal, process))
        assert said.startswith("listening on http://"), f"the server did not start: {said}"
        return running[-1]

    try:
        yield serve
    finally:
        for served in running:
            if served.process.poll() is None:
                served.process.kill()
            with served.process:
                served.process.wait(STOPS_WITHIN_S)


@pytest.fixture
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    """`serve(settings, key=…, endpoint_id=…, seed=…, port=…)` starts a server that lives as long as the test."""
    yield from _servers(tmp_path_factory)


@pytest.fixture(scope="module")
def serve_module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    """The same, for servers that a whole module shares."""
    yield from _servers(tmp_path_factory)
