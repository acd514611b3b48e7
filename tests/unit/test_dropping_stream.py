"""Output that never waits for its reader, whose pipe is full, whose terminal is stopped, or who is gone."""

from __future__ import annotations

import os
import sys
import termios
from collections.abc import Iterator
from typing import TextIO

import pytest

from loadtest.process import PIPE_BYTES, DroppingStream, ForgivingStream, tell


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
