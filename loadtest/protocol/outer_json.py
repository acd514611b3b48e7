"""The outermost layer of a JSON document, read although something deeper in it is not valid JSON."""

from __future__ import annotations

import re

BOM = b"\xef\xbb\xbf"
"""The byte order mark that some programs write before UTF-8."""
_SPACE = b" \t\r\n\0"
_MARK = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|["\[\]{},:]', re.DOTALL)
"""A whole string, a character of the structure, or the quote of a string without an end."""


def outer_members(body: bytes) -> dict[bytes, bytes] | None:
    """Return the members of an object, keys and values as they are written; None if the body is no whole object."""
    parts = _outer_parts(body, b"{")
    if parts is None or (len(parts) % 2 and parts != [b""]):
        return None
    return {key.strip(b'"'): value for key, value in zip(parts[::2], parts[1::2], strict=False)}


def outer_elements(body: bytes) -> list[bytes] | None:
    """Return the elements of an array, as they are written; None if the body is no whole array."""
    parts = _outer_parts(body, b"[")
    return [] if parts == [b""] else parts


def _outer_parts(body: bytes, bracket: bytes) -> list[bytes] | None:
    """Return what the commas and colons of the outermost layer divide; None unless one pair of brackets holds all."""
    body = body.removeprefix(BOM).strip(_SPACE)
    if not body.startswith(bracket):
        return None
    parts, begin, depth = list[bytes](), 1, 0
    for mark in _MARK.finditer(body):
        text = mark[0]
        if text in (b"{", b"["):
            depth += 1
        elif text in (b"}", b"]"):
            depth -= 1
            if depth == 0:
                parts.append(body[begin : mark.start()].strip(_SPACE))
                return parts if mark.end() == len(body) else None
        elif text == b'"':
            return None
        elif depth == 1 and text in (b",", b":"):
            parts.append(body[begin : mark.start()].strip(_SPACE))
            begin = mark.end()
    return None
