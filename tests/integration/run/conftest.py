"""What a user has: a scenario file, a command, and the directory that it leaves."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

WITHIN_S = 60
LATE_IS_SOUND: dict[str, Any] = {"validity": {"send_lag": "1s", "cpu": "100 %"}}
"""For a run beside other tests, which make its sends late, where how late they are is not what is looked at."""


@dataclass
class Finished:
    """A run that has ended, and what it left."""

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

    def chunks_of(self, row: dict[str, Any]) -> list[float]:
        """When each chunk of a job was seen."""
        whose = [("seq", "=", row["seq"]), ("process", "=", row["process"])]
        return pq.read_table(self.out / "chunks.parquet", filters=whose)["at"].to_pylist()  # type: ignore[no-any-return]

    def is_complete(self) -> bool:
        left = {path.name for path in self.out.iterdir()}
        built = {"summary.json", "report.html", "gate.xml"}
        return {"run.json", "samples.parquet", "requests.parquet"} | built <= left and "shards" not in left


@dataclass
class Journal:
    """What the server says happened."""

    requests: list[dict[str, Any]]
    jobs: dict[str, dict[str, Any]]


def read_journal(path: Path) -> Journal:
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return Journal([each for each in lines if "op" in each], {each["id"]: each for each in lines if "id" in each})


class Started:
    """`loadtest run` while it goes on."""

    def __init__(self, command: list[str], out: Path, env: dict[str, str]) -> None:
        self.out = out
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **env}
        )

    def finish(self, within_s: float = WITHIN_S) -> Finished:
        stdout, stderr = self.process.communicate(timeout=within_s)
        return Finished(self.process.returncode, self.out, stdout, stderr)

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)


def _runs(folder: Path) -> Iterator[Callable[..., Started]]:
    running: list[Started] = []

    def begin(
        scenario: dict[str, Any] | str,
        *arguments: str,
        env: dict[str, str] | None = None,
        out: Path | None = None,
        prefix: Sequence[str] = (),
    ) -> Started:
        path = folder / f"scenario{len(running)}.yaml"
        path.write_text(scenario if isinstance(scenario, str) else json.dumps({"name": "test", **scenario}))
        out = out or folder / f"run{len(running)}"
        command = [*prefix, sys.executable, "-m", "loadtest", "run", str(path), "--out", str(out), *arguments]
        running.append(Started(command, out, env or {}))
        return running[-1]

    yield begin
    for each in running:
        if each.process.poll() is None:
            each.process.terminate()
            each.process.communicate(timeout=WITHIN_S)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Started]]:
    """`start(scenario, *arguments)`: begin a run of a scenario given as a mapping or as a file's text."""
    yield from _runs(tmp_path)


@pytest.fixture(scope="module")
def start_module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Started]]:
    """The same, for runs that a whole module shares."""
    yield from _runs(tmp_path_factory.mktemp("runs"))


@pytest.fixture
def run(start: Callable[..., Started]) -> Callable[..., Finished]:
    """`run(scenario, *arguments)`: run a scenario to its end."""
    return lambda *args, **kwargs: start(*args, **kwargs).finish()


def sending(begun: Started | Path, processes: int = 1, within_s: float = 30.0) -> None:
    """Wait until every process of a run has samples on disk."""
    by = time.monotonic() + within_s
    directory = begun.out if isinstance(begun, Started) else begun
    while len(list((directory / "shards").glob("samples-*"))) < processes:
        assert time.monotonic() < by, "no samples came"
        time.sleep(0.05)


def steady(rate: str = "30/s", duration: str = "6s", **more: Any) -> dict[str, Any]:
    """A steady open load."""
    return {"load": {"arrivals": "poisson", "stages": [{"rate": rate, "for": duration}]}, **more}


@pytest.fixture
def command() -> Callable[..., subprocess.CompletedProcess[str]]:
    """`command(*arguments)`: one call of `loadtest`, to its end."""
    return lambda *arguments: subprocess.run(
        [sys.executable, "-m", "loadtest", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=WITHIN_S,
        stdin=subprocess.DEVNULL,
    )


@pytest.fixture
def free_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def stall() -> Callable[..., None]:
    """`stall(server, begun, seconds)`: the server stands still for so long in the middle of a run."""

    def stand_still(server: Any, begun: Started, seconds: float) -> None:
        sending(begun)
        time.sleep(1.5)
        os.kill(server.pid, signal.SIGSTOP)
        time.sleep(seconds)
        os.kill(server.pid, signal.SIGCONT)

    return stand_still
