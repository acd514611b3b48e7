"""Runs as a user has them: a scenario file, a command, and the directory that it leaves."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pyarrow.parquet as pq
import pytest

from tests.integration.conftest import Served, wait_for
from tests.integration.processes import LoadtestProcess

WITHIN_S = 150.0
FAST = {"workers": {"active": 60, "max": 60}, "service": "50ms"}
MIXED: dict[str, Any] = {"run": {"polling": {"every": "100ms"}}, "runsync": {}}
LATE_IS_SOUND: dict[str, Any] = {"validity": {"send_lag": "30s", "cpu": "100 %", "started": "80 %"}}
"""For tests that judge no send lag: other tests run at the same time and make sends late."""


@dataclass
class Finished:
    """A command that has ended, and the directory that it left."""

    status: int
    out: Path
    stdout: str
    stderr: str

    @property
    def summary(self) -> dict[str, Any]:
        return json.loads((self.out / "summary.json").read_text())  # type: ignore[no-any-return]

    @property
    def run(self) -> dict[str, Any]:
        return json.loads((self.out / "run.json").read_text())  # type: ignore[no-any-return]

    @property
    def samples(self) -> list[dict[str, Any]]:
        return pq.read_table(self.out / "samples.parquet").to_pylist()  # type: ignore[no-any-return]

    def missing(self) -> list[int]:
        """Return how many samples each process sent and did not record."""
        return [each["sent"] - each["recorded"] for each in self.run["audit"]]

    def chunks_of(self, row: dict[str, Any]) -> list[float]:
        """Return when the client saw each chunk of a job."""
        of_job = [("seq", "=", row["seq"]), ("process", "=", row["process"])]
        return pq.read_table(self.out / "chunks.parquet", filters=of_job)["at"].to_pylist()  # type: ignore[no-any-return]

    def is_complete(self) -> bool:
        present = {path.name for path in self.out.iterdir()}
        built = {"summary.json", "report.html", "gate.xml"}
        return {"run.json", "samples.parquet", "requests.parquet"} | built <= present and "shards" not in present


Command = Callable[..., Finished]


@dataclass
class Journal:
    """The server's own account of a run."""

    requests: list[dict[str, Any]]
    jobs: dict[str, dict[str, Any]]


def journal_of(server: Served) -> Journal:
    """Stop a server, and read its journal."""
    server.stop()
    return read_journal(server.journal)


def read_journal(path: Path) -> Journal:
    """Read the journal of a server that has ended."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return Journal([line for line in lines if "op" in line], {line["id"]: line for line in lines if "id" in line})


class Started:
    """`loadtest run` while it goes on."""

    def __init__(self, process: LoadtestProcess, out: Path) -> None:
        self.process, self.out = process, out

    def finish(self, within_s: float = WITHIN_S) -> Finished:
        """Wait for the end of the run."""
        status = self.process.wait(within_s)
        return Finished(status, self.out, self.process.stdout, self.process.stderr)

    def children(self) -> list[psutil.Process]:
        """Return the processes that drive or send, the master first."""
        children = set(psutil.Process(self.process.pid).children()) - set(self.servers())
        return sorted(children, key=lambda child: child.pid)

    def servers(self) -> list[psutil.Process]:
        """Return the process of the run's local endpoint, if it has one."""
        children = psutil.Process(self.process.pid).children()
        return [child for child in children if "--until-stdin-closes" in child.cmdline()]


Start = Callable[..., Started]
Run = Callable[..., Finished]


def _runs(folder: Path) -> Iterator[Start]:
    running: list[Started] = []

    def begin(
        scenario: dict[str, Any] | str, *arguments: str, env: dict[str, str] | None = None, out: Path | None = None
    ) -> Started:
        number = len(running)
        path = folder / f"scenario{number}.yaml"
        path.write_text(scenario if isinstance(scenario, str) else json.dumps({"name": "test", **scenario}))
        out = out or folder / f"run{number}"
        output = folder / f"output{number}"
        output.mkdir()
        call = ["run", str(path), "--out", str(out), *arguments]
        running.append(Started(LoadtestProcess(output, {**os.environ, **(env or {})}, *call), out))
        return running[-1]

    yield begin
    for each in running:
        each.process.end(signal.SIGTERM, WITHIN_S)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """`start(scenario, *arguments)`: begin a run of a scenario given as a mapping or as a file's text."""
    yield from _runs(tmp_path)


@pytest.fixture(scope="module")
def start_module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """The same, for runs that a whole module shares."""
    yield from _runs(tmp_path_factory.mktemp("runs"))


@pytest.fixture
def run(start: Start) -> Run:
    """`run(scenario, *arguments)`: run a scenario to its end."""
    return lambda *args, **kwargs: start(*args, **kwargs).finish()


def sending(begun: Started | Path, processes: int = 1) -> None:
    """Wait until every process of a run has samples on disk."""
    directory = begun.out if isinstance(begun, Started) else begun
    wait_for(lambda: len(list((directory / "shards").glob("samples-*"))) >= processes)


def open_load(rate: str, duration: str, arrivals: str = "poisson", **more: Any) -> dict[str, Any]:
    """Return a scenario of a steady open load."""
    return {"load": {"arrivals": arrivals, "stages": [{"rate": rate, "for": duration}]}, **more}


@pytest.fixture
def command(tmp_path_factory: pytest.TempPathFactory) -> Command:
    """`command(*arguments)`: one call of `loadtest`, to its end."""

    def call(*arguments: str, **environment: str) -> Finished:
        folder = tmp_path_factory.mktemp("command")
        process = LoadtestProcess(folder, {**os.environ, **environment}, *arguments)
        process.close_stdin()
        return Finished(process.wait(WITHIN_S), folder, process.stdout, process.stderr)

    return call


@pytest.fixture
def free_port() -> int:
    """Return a port on which no process listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def stall(server: Served, seconds: float) -> None:
    """Suspend a server for a while."""
    os.kill(server.pid, signal.SIGSTOP)
    time.sleep(seconds)
    os.kill(server.pid, signal.SIGCONT)
