"""An endpoint's errors as people read them: without escapes, and short."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.protocol.error_text import ERROR_LENGTH, error_text

RAISED = {
    "error_type": "<class 'ValueError'>",
    "error_message": 'no model "x"',
    "error_traceback": 'Traceback (most recent call last):\n  File "/h.py", line 3\n',
    "hostname": "unknown",
    "worker_id": "t8tnuv6d4x7xm8",
}


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", ""),
        (b'"out of memory"', "out of memory"),
        (rb'"caf\u00e9 \"x\"\nline two"', 'café "x"\nline two'),
        (b'{"error": "no GPU"}', '{"error": "no GPU"}'),
        (rb'{"error": "caf\u00e9 \"x\"", "code": 7}', 'error: café "x", code: 7'),
        (b"<html>\n<h1>502 Bad Gateway</h1>", "<html>\n<h1>502 Bad Gateway</h1>"),
        (b"not \xff UTF-8", "not � UTF-8"),
        (b'"cut off', "cut off"),
        (b"null", "null"),
        (b"12", "12"),
        (
            json.dumps(json.dumps(RAISED)).encode(),
            'ValueError: no model "x"\nTraceback (most recent call last):\n  File "/h.py", line 3',
        ),
    ],
)
def test_an_error_is_shown_without_the_escapes_of_json(body: bytes, text: str) -> None:
    assert error_text(body) == text


@given(st.binary(max_size=3000) | st.text(max_size=3000).map(lambda each: json.dumps(each).encode()))
def test_every_body_has_a_short_text(body: bytes) -> None:
    assert len(error_text(body)) <= ERROR_LENGTH


@pytest.mark.parametrize("body", [b"x" * 10**7, b'"' + b"x" * 10**7 + b'"', b"[" * 100_000, b'["\\n' + b"[" * 60_000])
def test_a_large_or_deep_body_is_cut(body: bytes) -> None:
    text = error_text(body)
    assert len(text) == ERROR_LENGTH
    assert text.endswith("…")
