from __future__ import annotations

import pytest

from loadtest.report import formatting


@pytest.mark.parametrize(
    ("value_ms", "text"),
    [
        (None, "–"), (0, "0 ms"), (0.4213, "0.42 ms"), (0.04213, "0.042 ms"), (7.208, "7.21 ms"), (99.96, "100 ms"),
        (999.4, "999 ms"), (999.6, "1.00 s"), (12_753.9, "12.8 s"), (599_000, "599 s"), (660_000, "11.0 min"),
        (36_000_000, "10.0 h"), (-3.2, "-3.20 ms"),
    ],
)  # fmt: skip
def test_times_have_three_significant_digits(value_ms: float | None, text: str) -> None:
    assert formatting.milliseconds(value_ms) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (4.5, "4.5 s"),
        (119, "119 s"),
        (125, "2 min 05 s"),
        (600, "10 min"),
        (7200, "2 h"),
        (7500, "2 h 05 min"),
    ],
)
def test_durations_have_their_two_largest_units(seconds: float, text: str) -> None:
    assert formatting.duration(seconds) == text


@pytest.mark.parametrize(
    ("fraction", "text"), [(1, "100 %"), (0.9999, "> 99.9 %"), (0.0165, "1.65 %"), (0.0001, "< 0.1 %"), (0, "0 %")]
)
def test_share_is_100_percent_only_of_all_and_0_only_of_none(fraction: float, text: str) -> None:
    assert formatting.share(fraction) == text


def test_rates_counts_dollars_and_timestamps() -> None:
    assert (formatting.rate(1234.5), formatting.rate(0.204), formatting.rate(None)) == ("1,234/s", "0.20/s", "–")
    assert (formatting.count(12345), formatting.count(None)) == ("12,345", "–")
    assert tuple(map(formatting.dollars, (0.13689, 12.5, 0, None))) == (
        "$0.137", "$12.50", "$0.00", "–",
    )  # fmt: skip
    assert formatting.dollars(0.0000312) == "$0.0000312"
    assert formatting.timestamp(1_767_225_600.0) == "2026-01-01 00:00:00 UTC"


def test_signed_share_has_its_sign() -> None:
    assert [formatting.signed_share(value) for value in (0.0213, -0.0041)] == ["+2.1 %", "−0.41 %"]


def test_number_has_no_unit() -> None:
    assert [formatting.number(value) for value in (None, 1.8333, 0.028)] == ["–", "1.83", "0.028"]


def test_undecided_verdict_is_inconclusive_on_screen() -> None:
    assert [formatting.verdict(value) for value in ("cannot tell", "not met")] == ["inconclusive", "not met"]
