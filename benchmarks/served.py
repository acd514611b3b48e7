"""A local endpoint with a journal and runs against it, for `kill_a_generator`, `push` and `chunks`."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pyarrow.parquet as pq

LOADTEST = [sys.executable, "-m", "loadtest"]
START_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Served:
    """A running endpoint; its journal is complete once it has stopped."""

    url: str
    journal: Path

    def requests(self) -> list[dict[str, Any]]:
        """Return every request, with its operation, time and status."""
        return [line for line in self._lines() if "op" in line]

    def jobs(self) -> dict[str, dict[str, Any]]:
        """Return every job by its id."""
        return {line["id"]: line for line in self._lines() if "id" in line}

    def _lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.journal.read_text().splitlines()]


@contextmanager
def served(directory: Path, settings: dict[str, Any], *options: str) -> Iterator[Served]:
    """Serve an endpoint until the block ends; with a handler, the block starts when all active workers are ready."""
    config, journal = directory / "endpoint.yaml", directory / "journal.jsonl"
    config.write_text(json.dumps(settings))
    command = [*LOADTEST, "serve", "--port", "0", "--config", str(config), "--journal", str(journal), *options]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    try:
        url = server.stdout.readline().strip().removeprefix("listening on ")
        if "--handler" in options:
            server.stdout.readline()
        yield Served(url, journal)
    finally:
        server.terminate()
        server.communicate()


class Run:
    """A `loadtest run` and its run directory."""

    def __init__(self, directory: Path, scenario: dict[str, Any], url: str, *arguments: str) -> None:
        self.out = directory / "run"
        path = directory / "scenario.yaml"
        path.write_text(json.dumps({"name": "bench", **scenario}))
        command = [*LOADTEST, "run", str(path), "--target", url, "--out", str(self.out), *arguments]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def wait_until_sending(self, generators: int) -> None:
        """Wait until this many generators have samples on disk. Raises RuntimeError if they do not."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while len(list((self.out / "shards").glob("samples-*"))) < generators:
            if time.monotonic() > deadline or self._process.poll() is not None:
                raise RuntimeError(f"{self.out}: the run does not start")
            time.sleep(0.02)

    def generators(self) -> list[psutil.Process]:
        """Return the processes of this run that only send."""
        children = psutil.Process(self._process.pid).children()
        return [child for child in children if "--worker" in child.cmdline()]

    def wait(self) -> int:
        """Wait for the end, and return the exit code."""
        return self._process.wait()

    def record(self) -> dict[str, Any]:
        """Return `run.json`."""
        record: dict[str, Any] = json.loads((self.out / "run.json").read_text())
        return record

    def rows(self) -> list[dict[str, Any]]:
        """Return the samples."""
        rows: list[dict[str, Any]] = pq.read_table(self.out / "samples.parquet").to_pylist()
        return rows
