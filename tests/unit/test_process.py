"""Open files, signals and standard streams of a process: none of them stops or ends it by surprise."""

from __future__ import annotations

import errno
import io
import os
import resource
import signal
import sys
import termios
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import TextIO

import pytest

from loadtest.errors import ExitCode, UsageError
from loadtest.process import (
    LEAST_FILES,
    PIPE_BYTES,
    SIGNAL_EXIT_CODES,
    DroppingStream,
    ForgivingStream,
    ending_signals,
    refuse_too_few_files,
    tell,
)


@pytest.mark.parametrize("ignored", list(SIGNAL_EXIT_CODES))
def test_only_an_ignored_hang_up_stays_ignored(monkeypatch: pytest.MonkeyPatch, ignored: signal.Signals) -> None:
    """A shell lets what runs in the background ignore SIGINT and SIGQUIT."""
    monkeypatch.setattr(signal, "getsignal", lambda number: signal.SIG_IGN if number is ignored else signal.SIG_DFL)
    assert set(SIGNAL_EXIT_CODES) - set(ending_signals()) == ({ignored} if ignored is signal.SIGHUP else set())


@pytest.mark.parametrize(("limit", "refused"), [(LEAST_FILES - 1, True), (LEAST_FILES, False)])
def test_a_process_with_hardly_any_open_files_is_refused_in_a_line(
    monkeypatch: pytest.MonkeyPatch, limit: int, refused: bool
) -> None:
    monkeypatch.setattr(resource, "setrlimit", lambda *_: None)
    monkeypatch.setattr(resource, "getrlimit", lambda _: (limit, limit))
    with pytest.raises(UsageError, match="ulimit -n 1024") if refused else nullcontext():
        refuse_too_few_files()


def test_every_ending_by_a_signal_is_documented() -> None:
    assert set(SIGNAL_EXIT_CODES.values()) == {ExitCode.SIGINT, ExitCode.SIGTERM}


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_characters_that_a_terminal_lacks_are_replaced(tmp_path: Path, encoding: str) -> None:
    with (tmp_path / "out").open("w", encoding=encoding) as file:
        stream = ForgivingStream(file)
        stream.write("p95 – 3 × 10 ━ \ud800\n")
        stream.flush()
    assert stream.error is None
    assert (tmp_path / "out").read_bytes().startswith(b"p95 ")


def test_full_disk_is_noted_once_and_what_follows_is_dropped() -> None:
    with open("/dev/full", "w") as file:  # noqa: PTH123
        stream = ForgivingStream(file)
        for _ in range(3):
            stream.write("x" * 100_000)
            stream.flush()
        assert stream.error is not None
        assert stream.error.errno == errno.ENOSPC


@pytest.mark.filterwarnings("error")
def test_pipe_without_a_reader_is_noted(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with io.TextIOWrapper(io.FileIO(writer, "w")) as file:
        stream = ForgivingStream(file)
        stream.write("x\n")
        stream.flush()
    assert stream.error is not None
    assert stream.error.errno == errno.EPIPE


@pytest.fixture
def pipe() -> Iterator[tuple[int, TextIO]]:
    reader, writer = os.pipe()
    with os.fdopen(writer, "w", encoding="utf-8") as stream:
        yield reader, stream


def test_what_fits_is_written_at_once(pipe: tuple[int, TextIO]) -> None:
    reader, stream = pipe
    dropping = DroppingStream(stream)
    assert dropping.write("é\n") == 2
    dropping.flush()
    assert os.read(reader, 100).decode() == "é\n"
    assert not dropping.isatty()
    assert dropping.fileno() == stream.fileno()
    os.close(reader)


def test_lines_for_a_full_pipe_are_dropped_and_the_next_is_whole_once_it_is_read(pipe: tuple[int, TextIO]) -> None:
    reader, stream = pipe
    dropping = DroppingStream(stream)
    for _ in range(1000):
        dropping.write("x" * 3 * PIPE_BYTES + "\n")
    assert len(os.read(reader, 1 << 24)) > 3 * PIPE_BYTES
    dropping.write("next\n")
    assert os.read(reader, 100) == b"next\n"
    os.close(reader)


def test_a_reader_that_is_gone_is_no_error(pipe: tuple[int, TextIO]) -> None:
    reader, stream = pipe
    os.close(reader)
    DroppingStream(stream).write("lost\n")


def test_a_note_waits_for_no_reader(pipe: tuple[int, TextIO], monkeypatch: pytest.MonkeyPatch) -> None:
    reader, stream = pipe
    monkeypatch.setattr(sys, "stderr", ForgivingStream(stream))
    for _ in range(1000):
        tell("x" * PIPE_BYTES)
    assert len(os.read(reader, 1 << 24)) >= PIPE_BYTES
    os.close(reader)
    tell("lost")


@pytest.mark.skipif(sys.platform != "linux", reason="a stopped terminal")
def test_lines_for_a_stopped_terminal_are_dropped() -> None:
    master, terminal = os.openpty()
    with os.fdopen(terminal, "w", encoding="utf-8") as stream:
        dropping = DroppingStream(stream)
        assert dropping.isatty()
        termios.tcflow(terminal, termios.TCOOFF)  # as Ctrl-S does
        for _ in range(100):
            dropping.write("x" * PIPE_BYTES)
        termios.tcflow(terminal, termios.TCOON)
    os.close(master)
