"""JSON whose numbers keep their digits: 0.1000 does not become 0.1, nor 1e400 infinity."""

from __future__ import annotations

import re
from math import isfinite
from typing import Any

import msgspec

_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")


class WrittenNumber(float):
    """A number encoded as it was written; as a float it is the nearest one."""

    __slots__ = ("text",)
    text: str

    def __new__(cls, text: str) -> WrittenNumber:
        """Return the number of this text."""
        number = super().__new__(cls, text)
        number.text = text
        return number

    def __repr__(self) -> str:
        return self.text

    def __getnewargs__(self) -> tuple[str]:  # type: ignore[override]
        return (self.text,)


def written_number(text: str) -> float:
    """Return a float whose encoding is exactly this text, which is a number in JSON."""
    number = float(text)
    return number if msgspec.json.encode(number) == text.encode() else WrittenNumber(text)


def is_json_number(text: str) -> bool:
    """Return whether a text is a number in JSON."""
    return _NUMBER.fullmatch(text) is not None


def _as_written(value: object) -> msgspec.Raw:
    if isinstance(value, WrittenNumber):
        return msgspec.Raw(value.text.encode())
    raise TypeError(f"Encoding objects of type {type(value).__name__} is unsupported")


def _by_value(value: object) -> float | msgspec.Raw:
    return float(value) if isinstance(value, WrittenNumber) and isfinite(value) else _as_written(value)


_decoder = msgspec.json.Decoder(float_hook=written_number)
_encoder = msgspec.json.Encoder(enc_hook=_as_written)
_canonical_encoder = msgspec.json.Encoder(enc_hook=_by_value, order="deterministic")


def decode_json(text: str | bytes) -> Any:
    """Return the value of a JSON text; raises msgspec.MsgspecError if it is not JSON."""
    return _decoder.decode(text)


def encode_json(value: object) -> bytes:
    """Return a value as JSON, with its numbers as they were written."""
    return _encoder.encode(value)


def canonical_json(value: object) -> bytes:
    """Return JSON that is the same for equal values: keys in order, 0.1000 as 0.1."""
    return _canonical_encoder.encode(value)
