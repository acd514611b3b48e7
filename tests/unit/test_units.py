"""Quantities with their units: valid ones, invalid ones, and texts that read back as the same value."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.units import (
    byte_count,
    fraction,
    fraction_text,
    per_second,
    per_second_text,
    seconds,
    seconds_text,
    window,
)

finite = st.floats(min_value=0, max_value=1e15, allow_nan=False)


@pytest.mark.parametrize(
    ("text", "value_s"),
    [
        ("200ms", 0.2),
        ("2s", 2.0),
        ("5 min", 300.0),
        ("1.5h", 5400.0),
        ("1 d", 86400.0),
        ("100us", 0.0001),
        ("0s", 0.0),
    ],
)
def test_a_time_is_read_in_seconds(text: str, value_s: float) -> None:
    assert seconds(text) == value_s


@pytest.mark.parametrize(("text", "size"), [("512 kB", 512_000), ("10MB", 10**7), ("1 MiB", 2**20), ("0.5 kB", 500)])
def test_a_size_is_read_in_bytes(text: str, size: int) -> None:
    assert byte_count(text) == size


@pytest.mark.parametrize(
    ("text", "read"),
    [("20/s", (20, 1)), ("6/min", (6, 60)), ("1000 per 10 s", (1000, 10)), ("1.5 / 2 min", (1.5, 120))],
)
def test_a_rate_keeps_its_count_and_its_span(text: str, read: tuple[float, float]) -> None:
    assert window(text) == read
    assert per_second(text) == read[0] / read[1]


@given(finite)
def test_a_time_reads_back_to_the_last_bit(value: float) -> None:
    assert seconds(seconds_text(value)) == value


@given(finite)
def test_a_rate_reads_back_to_the_last_bit(value: float) -> None:
    assert per_second(per_second_text(value)) == value


@given(st.floats(min_value=0, max_value=1))
def test_a_share_reads_back_to_the_last_bit(value: float) -> None:
    assert fraction(fraction_text(value)) == value


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, "0s"), (2.0, "2s"), (0.2, "200ms"), (90.0, "90s"), (0.0001, "0.1ms")]
)
def test_a_time_is_written_in_readable_units(value: float, text: str) -> None:
    assert seconds_text(value) == text


@pytest.mark.parametrize(
    ("read", "wrong", "says"),
    [
        (seconds, 30, '"30" is not a time with its unit; write it like "30s"'),
        (seconds, "30", 'write it like "30s"'),
        (seconds, "-2s", '"-2s" is negative; a time is zero or more'),
        (seconds, -2, '"-2" is negative'),
        (seconds, "2 minutes", '"2 minutes" has the unknown unit "minutes"; use one of us, ms, s, min, h, d'),
        (seconds, None, "nothing is not a time"),
        (seconds, True, "true is not a time"),
        (seconds, {"a": 1}, "a mapping is not a time"),
        (seconds, ["1s"], "a list is not a time"),
        (seconds, "soon", 'write it like "30s"'),
        (per_second, 20, '"20" is not a rate with its unit; write it like "20/s"'),
        (per_second, "-5/s", '"-5/s" is negative; a rate is zero or more'),
        (per_second, "20/week", 'unknown unit "week"'),
        (per_second, "20 per 0 s", "has a time of 0"),
        (window, "9" * 400 + "/s", "too large"),
        (fraction, 0.2, '"0.2" is not a share with its sign; write it like "1 %"'),
        (fraction, "101 %", 'write at most "100 %"'),
        (fraction, "-1 %", "is negative"),
        (byte_count, 10, '"10" is not a size with its unit; write it like "10 kB"'),
        (byte_count, "10 mb", 'unknown unit "mb"'),
    ],
)
def test_an_invalid_quantity_is_refused_with_an_example(read: object, wrong: object, says: str) -> None:
    assert callable(read)
    with pytest.raises(ValueError) as refusal:  # noqa: PT011 - the text is checked below
        read(wrong)
    assert says in str(refusal.value)
    assert "\n" not in str(refusal.value)
