"""Standard streams that lose what cannot be written, and never raise."""

from __future__ import annotations

import errno
import io
import os
from pathlib import Path

import pytest

from loadtest.process import ForgivingStream


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
