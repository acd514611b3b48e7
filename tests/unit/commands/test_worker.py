"""What `loadtest worker` does before it becomes a generator."""

from __future__ import annotations

import itertools
import os
import socket
import time
from pathlib import Path

import pytest

from loadtest.commands import worker
from loadtest.errors import RunAborted, UsageError


@pytest.mark.parametrize("master", ["no such host", "a..b:5557", "x" * 70, "127.0.0.1:0", "127.0.0.1:65536", ":5557"])
def test_worker_of_a_master_that_cannot_be_is_one_line_of_usage_error(master: str) -> None:
    with pytest.raises(UsageError, match=r"^--master: [^\n]*$"):
        worker.run_worker(master, None)


def test_worker_uses_the_address_that_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name may have an address on which nothing listens, or that never answers, before the one of the run."""
    kind = socket.AF_INET, socket.SOCK_STREAM, 0, ""
    found = [(*kind, ("127.0.0.2", 5557)), (*kind, ("127.0.0.3", 5557)), (*kind, ("127.0.0.4", 5557))]
    began: list[list[str]] = []
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    monkeypatch.setattr(worker, "answers", lambda _, address: address[0] == "127.0.0.3")
    monkeypatch.setattr(os, "execv", lambda _, command: began.append(command))
    worker.run_worker("two.invalid", None)
    (command,) = began
    assert command[command.index("--master-host") + 1] == "127.0.0.3"


def test_worker_without_a_run_says_so_and_ends(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    times = itertools.count(0.0, 100.0)
    monkeypatch.setattr(worker, "answers", lambda *_: False)
    monkeypatch.setattr(time, "monotonic", lambda: next(times))
    monkeypatch.setattr(time, "sleep", lambda _: None)
    with pytest.raises(RunAborted, match=r"no run listens at 127\.0\.0\.1:5557"):
        worker.run_worker("127.0.0.1", None)
    assert capfd.readouterr().err == "waiting up to 300 s for a run at 127.0.0.1:5557\n"


@pytest.mark.parametrize("keep", ["taken", "taken/inside", "x" * 300])
def test_worker_that_can_keep_nothing_is_one_line_of_usage_error(tmp_path: Path, keep: str) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(UsageError, match=r"^--keep [^\n]*; name another directory$"):
        worker.run_worker("127.0.0.1", tmp_path / keep)
