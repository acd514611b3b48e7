"""The formats of figures: three significant digits, a unit, and a dash for an unknown value."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import Decimal

DASH = "–"
_NOT_PRINTABLE = re.compile("[^\t\n\r\x20-\x7e\xa0-\ud7ff\ue000-\ufdcf\ufdf0-\ufffd\U00010000-\U0010ffff]")
_STATUS = dict.fromkeys(("pass", "passes", "met", "better"), "pass") | dict.fromkeys(
    ("fail", "fails", "not met", "worse"), "fail"
)


def significant(value: float) -> str:
    """Return a number with three significant digits and thousands separators."""
    size = abs(value)
    if size >= 99.95:
        return f"{value:,.0f}"
    if size >= 9.995:
        return f"{value:.1f}"
    return f"{value:.2f}" if size >= 0.0995 else f"{value:.2g}"


def milliseconds(value_ms: float | None) -> str:
    """Return a time in ms, s, min or h, in the shortest form."""
    if value_ms is None:
        return DASH
    size = abs(value_ms)
    if size < 999.5:
        return f"{significant(value_ms)} ms"
    if size < 599_950:
        return f"{significant(value_ms / 1000)} s"
    return f"{significant(value_ms / 60_000)} min" if size < 35_997_000 else f"{significant(value_ms / 3.6e6)} h"


def duration(seconds: float) -> str:
    """Return a length of time in its two largest units."""
    if seconds < 120:
        return f"{seconds:.3g} s"
    minutes, rest_s = divmod(round(seconds), 60)
    if minutes < 120:
        return f"{minutes} min {rest_s:02} s" if rest_s else f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60:02} min" if minutes % 60 else f"{minutes // 60} h"


def rate(per_s: float | None) -> str:
    """Return events per second."""
    return DASH if per_s is None else f"{significant(per_s)}/s"


def count(n: int | None) -> str:
    """Return a whole number with thousands separators."""
    return DASH if n is None else f"{n:,}"


def share(fraction: float | None) -> str:
    """Return a fraction of one in percent; never 100 % for less than all, nor 0 % for more than none."""
    if fraction is None:
        return DASH
    percent = fraction * 100
    if 99.9 < percent < 100:
        return "> 99.9 %"
    return "< 0.1 %" if 0 < percent < 0.1 else f"{percent:.3g} %"


def signed_share(fraction: float) -> str:
    """Return a fraction of one in percent, with its sign."""
    return f"{fraction * 100:+.2g} %".replace("-", "−")


def number(value: float | None) -> str:
    """Return a number without a unit."""
    return DASH if value is None else significant(value)


def ratio(value: float | None) -> str:
    """Return a ratio with three decimals."""
    return DASH if value is None else f"{value:.3f}×"


def dollars(amount: float | None) -> str:
    """Return US dollars, to the cent from $1 on and to three digits below."""
    if amount is None:
        return DASH
    return f"${amount:,.2f}" if amount >= 1 or amount == 0 else f"${Decimal(f'{amount:.3g}'):f}"


def timestamp(at: float) -> str:
    """Return a time in seconds since the epoch as a date and time of day in UTC."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def status(value: str) -> str:
    """Return pass, fail or inconclusive for a verdict, the outcome of a probe, or the standing of a metric."""
    return _STATUS.get(value, "inconclusive")


def printable(text: str) -> str:
    """Return a text without the characters that XML or HTML forbids, or that a terminal obeys."""
    return _NOT_PRINTABLE.sub("\ufffd", text)


def one_line(text: str, most: int) -> str:
    """Return a text on one line of at most this many characters."""
    line = " ".join(printable(text).split())
    return line if len(line) <= most else f"{line[: most - 1]}…"


def verdict(value: str) -> str:
    """Return a verdict for people: "inconclusive" if the evidence decides nothing, as the JSON files put it."""
    return "inconclusive" if value == "cannot tell" else value
