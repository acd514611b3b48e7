"""One cause is one row, whatever ids, numbers and addresses its texts name; two causes stay two."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.analyze.causes import MAX_CAUSES, cause_counts, causes
from loadtest.analyze.summarize import summarize
from loadtest.analyze.summary import Cause
from tests.unit.analyze.rows import job, run, run_data, samples

IDS = st.one_of(
    st.uuids().map(str),
    st.uuids().map(lambda each: f"sync-{each}-u1"),
    st.from_regex(r"[a-z0-9]{6}[0-9][a-z0-9]{7}", fullmatch=True),
    st.from_regex(r"req_[0-9A-Z]{3}[0-9][0-9A-Z]{8}", fullmatch=True),
    st.from_regex(r"[A-Za-z]{32}", fullmatch=True),
)
ADDRESSES = st.one_of(
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map(str),
    st.tuples(st.ip_addresses(v=4), st.integers(1, 65535)).map(lambda each: f"{each[0]}:{each[1]}"),
    st.tuples(st.ip_addresses(v=6), st.integers(1, 65535)).map(lambda each: f"[{each[0]}]:{each[1]}"),
    st.integers(0, 2**64 - 1).map(hex),
)
NUMBERS = st.one_of(
    st.integers().map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(str),
    st.integers(0, 10**9).map("{:,}".format),
    st.decimals(0, 100, places=2).map("{}GiB".format),
    st.datetimes().map(lambda each: each.strftime("%Y-%m-%dT%H:%M:%SZ")),
    st.times().map(lambda each: each.strftime("%H:%M:%S")),
)


def failed(seq: int, error: str | None, **changes: object) -> dict[str, object]:
    return job(seq, 0.0, **{"outcome": "failed", "error": error, **changes})


def found(*rows: dict[str, object], pieces: int = 1) -> list[Cause]:
    table = samples(*rows)
    size = -(-len(table) // pieces)
    return causes([cause_counts(table.slice(start, size)) for start in range(0, len(table), size)])


@given(
    st.sampled_from([IDS, ADDRESSES, NUMBERS]).flatmap(lambda kind: st.lists(kind, min_size=2, max_size=8)),
    st.sampled_from(
        ["job {} is gone", '{{"detail": "no GPU on {}"}}', "connect to ({}) failed", "{}", "took={} of 5"]
    ),
    st.integers(1, 3),
)
def test_texts_that_differ_in_ids_addresses_or_numbers_are_one_cause(
    parts: list[str], text: str, pieces: int
) -> None:
    rows = [failed(seq, text.format(part)) for seq, part in enumerate(parts)]
    (cause,) = found(*rows, pieces=pieces)
    assert (cause.jobs, cause.seq, cause.job_id, cause.error) == (len(parts), 0, "id-0", text.format(parts[0]))


@pytest.mark.parametrize(
    "other",
    [
        {"error": "no GPU on pod 7"},
        {"outcome": "rejected"},
        {"http_status": 403},
        {"http_status": None},
        {"error": None},
    ],
)
def test_another_text_outcome_or_status_is_another_cause(other: dict[str, object]) -> None:
    rows = [failed(seq, f"out of memory on pod {seq}") for seq in range(3)]
    first, second = found(*rows, job(3, 0.0, **{"outcome": "failed", "error": "out of memory on pod 3"} | other))
    assert (first.jobs, second.jobs) == (3, 1)


def test_the_example_is_one_job_and_jobs_that_completed_are_no_cause() -> None:
    rows = [job(0, 0.0), failed(1, "gone", job_id=None), failed(2, "gone"), failed(3, None, outcome="censored")]
    assert found(*rows, pieces=4) == [
        Cause("failed", 200, 2, "gone", 1, None),
        Cause("censored", 200, 1, "", 3, "id-3"),
    ]


def test_causes_are_the_most_frequent_and_their_texts_are_bounded() -> None:
    words = [f"{first}{second}" for first in "abcdefghij" for second in "abcdefghij"]
    rows = [failed(seq, f"{word} " + "x" * 10**5) for seq, word in enumerate([*words, "cd", "cd"])]
    some = found(*rows, pieces=3)
    assert len(some) == MAX_CAUSES
    assert (some[0].jobs, some[0].error[:2]) == (3, "cd")
    assert max(len(cause.error) for cause in some) <= 500


def test_a_million_different_texts_stay_few_rows() -> None:
    seqs = pa.array(range(100_000), pa.int64())
    table = samples(failed(0, "x")).take(pa.array([0] * len(seqs)))
    texts = pa.array([f"request {seq:x}-{seq} failed" for seq in range(len(seqs))])
    counts = cause_counts(table.set_column(table.column_names.index("error"), "error", texts))
    assert counts.column("jobs").to_pylist() == [len(seqs)]


def test_the_summary_has_the_causes() -> None:
    summary = summarize(run_data(run(), samples(job(0, 0.0), failed(1, "out of memory"))))
    assert summary.causes == [Cause("failed", 200, 1, "out of memory", 1, "id-1")]


def test_completed_jobs_with_an_empty_output_are_a_cause_and_no_others_are() -> None:
    empty = [job(seq, 0.0, error="no result", error_kind="empty_output") for seq in range(2)]
    other = [job(2, 0.0), job(3, 0.0, error="a warning of the worker"), failed(4, "no result")]
    assert [(cause.outcome, cause.jobs, cause.error) for cause in found(*empty, *other)] == [
        ("completed", 2, "no result"),
        ("failed", 1, "no result"),
    ]
