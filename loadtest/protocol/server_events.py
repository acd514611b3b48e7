"""Server-sent events of a whole body: the data of each, and where it ends."""

from __future__ import annotations

import re
from collections.abc import Iterator

DONE = b"[DONE]"
"""The data of the last event of an OpenAI stream."""
_LINE_END = re.compile(rb"\r\n|\n|\r")
_BLANK_LINE = re.compile(rb"(?:\r\n|\n|\r(?!\n)){2}")


def events(body: bytes) -> Iterator[tuple[bytes, int]]:
    """Yield the data of each event, and where in the body the event ends; the last one may lack its blank line."""
    begin = 0
    for blank in _BLANK_LINE.finditer(body):
        if data := _data(body[begin : blank.start()]):
            yield data, blank.end()
        begin = blank.end()
    if data := _data(body[begin:]):
        yield data, len(body)


def _data(event: bytes) -> bytes:
    lines = [line[5:] for line in _LINE_END.split(event) if line.startswith(b"data:")]
    return b"\n".join(lines).strip()
