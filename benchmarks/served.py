"""An endpoint of our own with a journal, and runs against it: what `kill_a_worker` and `push` have in common."""

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
BEGINS_WITHIN_S = 60.0


@dataclass(frozen=True)
class Served:
    """A running endpoint; its journal is whole once it has been stopped."""

    url: str
    journal: Path

    def requests(self) -> list[dict[str, Any]]:
        """Every request, with its operation, time and status."""
        return [line for line in self._lines() if "op" in line]

    def jobs(self) -> dict[str, dict[str, Any]]:
        """Every job by its id."""
        return {line["id"]: line for line in self._lines() if "id" in line}

    def _lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.journal.read_text().splitlines()]


@contextmanager
def served(directory: Path, settings: dict[str, Any], *options: str) -> Iterator[Served]:
    """An endpoint that answers until the block ends; with a handler, once all active workers have asked for a job."""
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
    """`loadtest run` while it goes on, and what it left."""

    def __init__(self, directory: Path, scenario: dict[str, Any], url: str, *arguments: str) -> None:
        self.out = directory / "run"
        path = directory / "scenario.yaml"
        path.write_text(json.dumps({"name": "bench", **scenario}))
        command = [*LOADTEST, "run", str(path), "--target", url, "--out", str(self.out), *arguments]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def sending(self, processes: int) -> None:
        """Wait until so many processes have samples on disk; RuntimeError where they do not."""
        by = time.monotonic() + BEGINS_WITHIN_S
        while len(list((self.out / "shards").glob("samples-*"))) < processes:
            if time.monotonic() > by or self._process.poll() is not None:
                raise RuntimeError(f"{self.out}: the run does not begin")
            time.sleep(0.02)

    def generators(self) -> list[psutil.Process]:
        """The processes of this run that only send."""
        children = psutil.Process(self._process.pid).children()
        return [child for child in children if "--worker" in child.cmdline()]

    def wait(self) -> int:
        """Wait for the end; the exit code."""
        return self._process.wait()

    def record(self) -> dict[str, Any]:
        """What `run.json` says."""
        record: dict[str, Any] = json.loads((self.out / "run.json").read_text())
        return record

    def rows(self) -> list[dict[str, Any]]:
        """The samples."""
        rows: list[dict[str, Any]] = pq.read_table(self.out / "samples.parquet").to_pylist()
        return rows
