"""Texts with units such as "2s", "20/s", "10 MB" and "1 %" as numbers in base units, and back.

Base units are seconds, events per second, bytes, and fractions of one. A number without its unit is refused, since
`timeout: 30` means milliseconds to one reader and minutes to the next.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from math import isinf
from typing import Annotated, Any, ClassVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    PlainSerializer,
    ValidationInfo,
    WithJsonSchema,
    model_validator,
)

from loadtest.errors import without_secrets

Scales = Mapping[str, Decimal | int]
_SECONDS: Scales = {
    "us": Decimal("1e-6"),
    "ms": Decimal("1e-3"),
    "s": 1,
    "min": 60,
    "h": 3600,
    "d": 86_400,
}
_BYTES = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20}
_NUMBER = r"([0-9]+(?:\.[0-9]+)?)"
_QUANTITY = re.compile(rf"{_NUMBER}\s*([A-Za-z]+)")
_RATE = re.compile(rf"{_NUMBER}\s*(?:/|per)\s*{_NUMBER}?\s*([A-Za-z]+)")
_PERCENT = re.compile(rf"{_NUMBER}\s*%")
_MAX_QUOTED = 100


def quoted(value: object) -> str:
    """Return a value from a file as a message quotes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "nothing"
    if isinstance(value, (dict, list, tuple)):
        return "a mapping" if isinstance(value, dict) else "a list"
    text = without_secrets(" ".join(str(value).split()))
    return f'"{text}"' if len(text) <= _MAX_QUOTED else f'"{text[:_MAX_QUOTED]}…"'


def last_lines(text: str, count: int) -> str:
    """Return the last lines of what a process wrote, as one line for a message."""
    return " | ".join(text.strip().splitlines()[-count:]) or "it wrote nothing"


def _match(pattern: re.Pattern[str], text: object, what: str, unit: str, default: str) -> re.Match[str]:
    """Return the parts of a quantity; raises ValueError with an example of the right form."""
    plain = str(text).strip()
    number = isinstance(text, (str, int, float)) and not isinstance(text, bool)
    if number and re.match(r"-\s*\.?[0-9]", plain):
        raise ValueError(
            f'{quoted(text)} is negative; {what.partition(" with ")[0]} is zero or more, like "{default}"'
        )
    match = pattern.fullmatch(plain)
    if match is None or not isinstance(text, str):
        example = plain + unit if unit and number and re.fullmatch(_NUMBER, plain) else default
        raise ValueError(f'{quoted(text)} is not {what}; write it like "{example}"')
    return match


def _scale(text: object, unit: str, table: Scales) -> Decimal | int:
    if unit not in table:
        raise ValueError(f'{quoted(text)} has the unknown unit "{unit}"; use one of {", ".join(table)}')
    return table[unit]


def seconds(text: object) -> float:
    """Return a time such as "200ms", "2s" or "5 min" in seconds; raises ValueError if the unit is missing."""
    match = _match(_QUANTITY, text, "a time with its unit", "s", "30s")
    return float(Decimal(match[1]) * _scale(text, match[2], _SECONDS))


def byte_count(text: object) -> int:
    """Return a size such as "512 kB" or "10 MB" in bytes; raises ValueError if the unit is missing."""
    match = _match(_QUANTITY, text, "a size with its unit", " kB", "10 kB")
    return round(Decimal(match[1]) * _scale(text, match[2], _BYTES))


def window(text: object) -> tuple[float, float]:
    """Return a count over a time, such as "1000 per 10 s", "20/s" or "6/min", as (count, seconds)."""
    match = _match(_RATE, text, "a rate with its unit", "/s", "20/s")
    count, span_s = float(match[1]), float(Decimal(match[2] or 1) * _scale(text, match[3], _SECONDS))
    if span_s == 0:
        raise ValueError(f'{quoted(text)} has a time of 0; write it like "20/s"')
    if isinf(count) or isinf(span_s):
        raise ValueError(f'{quoted(text)} is too large to count with; write it like "20/s"')
    return count, span_s


def per_second(text: object) -> float:
    """Return a rate such as "20/s", "6/min" or "1000 per 10 s" in events per second."""
    count, span_s = window(text)
    return count / span_s


def fraction(text: object) -> float:
    """Return a share such as "1 %" as a fraction of one; raises ValueError above 100 % or without the sign."""
    match = _match(_PERCENT, text, "a share with its sign", "", "1 %")
    share = Decimal(match[1]) / 100
    if share > 1:
        raise ValueError(f'{quoted(text)} is more than 100 %; write at most "100 %"')
    return float(share)


def _digits(value: Decimal) -> str:
    """Return all digits without an exponent, so that the text reads back as the same number to the last bit."""
    return format(value.normalize(), "f")


def seconds_text(value_s: float) -> str:
    """Return seconds as a scenario writes them; the text reads back as exactly the same value."""
    exact = Decimal(repr(value_s))
    return f"{_digits(exact)}s" if exact >= 1 or exact == 0 else f"{_digits(exact * 1000)}ms"


def per_second_text(value_per_s: float) -> str:
    """Return a rate as a scenario writes it; the text reads back as exactly the same value."""
    return f"{_digits(Decimal(repr(value_per_s)))}/s"


def fraction_text(value: float) -> str:
    """Return a share as a scenario writes it; the text reads back as exactly the same value."""
    return f"{_digits(Decimal(repr(value)) * 100)} %"


def byte_count_text(value: int) -> str:
    """Return a size as a scenario writes it; the text reads back as exactly the same value."""
    unit = next(unit for unit in ("MB", "kB", "B") if value % _BYTES[unit] == 0)
    return f"{value // _BYTES[unit]} {unit}"


def _schema(example: str, pattern: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": pattern, "examples": [example]})


_TIME = r"^[0-9.]+ *(us|ms|s|min|h|d)$"
Seconds = Annotated[float, BeforeValidator(seconds), PlainSerializer(seconds_text), _schema("30s", _TIME)]
Fraction = Annotated[
    float, BeforeValidator(fraction), PlainSerializer(fraction_text), _schema("1 %", r"^[0-9.]+ *%$")
]
PerSecond = Annotated[
    float,
    BeforeValidator(per_second),
    PlainSerializer(per_second_text),
    WithJsonSchema({"type": "string", "examples": ["100/s"]}),
]
Bytes = Annotated[
    int,
    BeforeValidator(byte_count),
    PlainSerializer(byte_count_text),
    _schema("10 MB", r"^[0-9.]+ *(B|kB|MB|GB|KiB|MiB)$"),
]


class StrictModel(BaseModel):
    """A part of a file that a user wrote: immutable, and an unknown key is refused.

    The text under a field is its description, which `scenario.schema` reads for editors and the reference. A model
    is built when it is first used: most are only parts of another, and each command waits for its imports.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, defer_build=True)


class FromFile(StrictModel):
    """A part of a file whose field `content` may be in another file, named as its `file`.

    A model stays free of I/O: the context of its validation reads the file, by the field and the file's name.
    """

    content: ClassVar[str]

    @model_validator(mode="before")
    @classmethod
    def _filled(cls, value: Any, info: ValidationInfo) -> Any:
        if info.context is None or not isinstance(value, dict) or not isinstance(value.get("file"), str):
            return value
        return value if cls.content in value else {**value, cls.content: info.context(cls.content, value["file"])}


def nearest_rank(n: int, per_mille: int) -> int:
    """Return the rank, from 1, of a percentile among n sorted values: ceil(p·n), exact in whole numbers."""
    whole, rest = divmod(per_mille * n, 1000)
    return max(1, whole + 1 if rest else whole)
