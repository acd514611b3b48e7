"""Where "2s", "20/s", "10 MB" and "1 %" become numbers in base units, and back.

Base units are seconds, events per second, bytes, and fractions of one. A number without its unit is
refused, since `timeout: 30` means milliseconds to one reader and minutes to the next.
"""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer, WithJsonSchema

_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20}
_NUMBER = r"([0-9]+(?:\.[0-9]+)?)"
_QUANTITY = re.compile(rf"{_NUMBER}\s*([A-Za-z]+)")
_RATE = re.compile(rf"{_NUMBER}\s*(?:/|per)\s*([0-9]+(?:\.[0-9]+)?)?\s*([a-z]+)")
_PERCENT = re.compile(rf"{_NUMBER}\s*%")


def _scaled(text: object, table: dict[str, float] | dict[str, int], what: str, example: str) -> float:
    match = _QUANTITY.fullmatch(str(text).strip())
    if not isinstance(text, str) or match is None:
        raise ValueError(f'"{text}" is not {what} with its unit; write it like "{example}"')
    unit = match[2]
    if unit not in table:
        raise ValueError(f'"{text}" has the unknown unit "{unit}"; use one of {", ".join(table)}')
    return float(match[1]) * table[unit]


def seconds(text: object) -> float:
    """A length of time such as "200ms", "2s" or "5 min", in seconds; ValueError where the unit is missing."""
    return _scaled(text, _SECONDS, "a time", f"{text}s" if _is_number(text) else "30s")


def byte_count(text: object) -> int:
    """A size such as "512 kB" or "10 MB", in bytes; ValueError where the unit is missing."""
    return round(_scaled(text, _BYTES, "a size", f"{text} kB" if _is_number(text) else "10 kB"))


def window(text: object) -> tuple[float, float]:
    """A count over a time, such as "1000 per 10 s", "20/s" or "6/min", as (count, seconds)."""
    match = _RATE.fullmatch(str(text).strip())
    if not isinstance(text, str) or match is None or match[3] not in _SECONDS:
        example = f"{text}/s" if _is_number(text) else "20/s"
        raise ValueError(f'"{text}" is not a rate with its unit; write it like "{example}" or "1000 per 10 s"')
    span_s = float(match[2] or 1) * _SECONDS[match[3]]
    if span_s == 0:
        raise ValueError(f'"{text}" counts over no time; write it like "20/s"')
    return float(match[1]), span_s


def per_second(text: object) -> float:
    """A rate such as "20/s", "6/min" or "1000 per 10 s", in events per second."""
    count, span_s = window(text)
    return count / span_s


def fraction(text: object) -> float:
    """A share such as "1 %", as a fraction of one; ValueError above 100 % or without the sign."""
    match = _PERCENT.fullmatch(str(text).strip())
    if not isinstance(text, str) or match is None:
        example = f"{text} %" if _is_number(text) else "1 %"
        raise ValueError(f'"{text}" is not a share with its sign; write it like "{example}"')
    share = float(match[1]) / 100
    if share > 1:
        raise ValueError(f'"{text}" is more than the whole; write at most "100 %"')
    return share


def _is_number(text: object) -> bool:
    if isinstance(text, str):
        return re.fullmatch(_NUMBER, text.strip()) is not None
    return isinstance(text, (int, float)) and not isinstance(text, bool) and text >= 0


def seconds_text(value_s: float) -> str:
    """Seconds as the scenario writes them, exact enough to be read back."""
    return f"{value_s:.12g}s" if value_s >= 1 or value_s == 0 else f"{value_s * 1000:.12g}ms"


def per_second_text(value_per_s: float) -> str:
    """A rate as the scenario writes it."""
    return f"{value_per_s:.12g}/s"


def fraction_text(value: float) -> str:
    """A share as the scenario writes it."""
    return f"{value * 100:.12g} %"


def _schema(example: str, pattern: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": pattern, "examples": [example]})


_TIME = r"^[0-9.]+ *(us|ms|s|min|h|d)$"
Seconds = Annotated[float, BeforeValidator(seconds), PlainSerializer(seconds_text), _schema("30s", _TIME)]
PerSecond = Annotated[
    float,
    BeforeValidator(per_second),
    PlainSerializer(per_second_text),
    _schema("20/s", r"^[0-9.]+ *(/|per) *[0-9.]* *(us|ms|s|min|h|d)$"),
]
Fraction = Annotated[
    float, BeforeValidator(fraction), PlainSerializer(fraction_text), _schema("1 %", r"^[0-9.]+ *%$")
]


class Frozen(BaseModel):
    """What a user wrote in a file: immutable, and any key that is not known is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
