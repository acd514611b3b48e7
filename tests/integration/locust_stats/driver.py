"""Locust's statistics in batches, compared with what Locust itself would have counted.

Run in a process of its own, since importing Locust patches the process.
"""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from locust.env import Environment
from locust.stats import RequestStats

from loadtest.drive.stats.locust_stats import BATCH, JOB, MAX_ERROR_TEXTS, BatchedLocustStats
from loadtest.flows.steps import Response
from loadtest.record.sample import Outcome, Sample

TIMES_MS = st.lists(st.floats(0, 90_000), min_size=1, max_size=60)


def statistics() -> tuple[BatchedLocustStats, RequestStats]:
    environment = Environment()
    return BatchedLocustStats(environment, lambda work: work()), environment.stats


def figures_of(stats: RequestStats, name: str, method: str) -> dict[str, Any]:
    entry = stats.entries[name, method]
    figures = ("num_requests", "min_response_time", "max_response_time", "total_content_length", "response_times")
    return {figure: getattr(entry, figure) for figure in figures}


@given(TIMES_MS)
def a_batch_adds_up_to_what_locust_counts_one_by_one(times_ms: list[float]) -> None:
    ours, reported = statistics()
    alone = Environment().stats
    for time_ms in times_ms:
        ours.log_request("POST", "/run", time_ms, 7)
        alone.log_request("POST", "/run", time_ms, 7)
    ours.flush()
    assert figures_of(reported, "/run", "POST") == figures_of(alone, "/run", "POST")
    assert reported.total.response_times == alone.total.response_times
    assert abs(reported.total.total_response_time - alone.total.total_response_time) < 1e-6


def a_full_batch_is_added_at_once_and_the_rest_by_flush() -> None:
    ours, reported = statistics()
    for _ in range(BATCH + 1):
        ours.log_request("POST", "/run", 5.0, 7)
    assert reported.total.num_requests == BATCH
    ours.flush()
    assert reported.total.num_requests == BATCH + 1


def jobs_have_entries_of_their_own() -> None:
    ours, reported = statistics()
    done = Sample(0, "run", 10.0, sent_at=10.0, finished_at=10.3, delay_ms=100, execution_ms=150)
    done.outcome = Outcome.COMPLETED
    streamed = Sample(2, "stream", 10.0)
    failed = Sample(1, "run", 10.0, sent_at=10.0, finished_at=10.1, outcome=Outcome.FAILED, error="boom")
    for sample, chunk_seen_at in ((done, []), (failed, []), (streamed, [1.0, 1.05, 1.2])):
        ours.add_job(sample, chunk_seen_at)
    ours.flush()
    assert {name: reported.entries[name, JOB].num_requests for name, method in reported.entries if method == JOB} == {
        "run end-to-end": 2,
        "run delay": 1,
        "run execution": 1,
        "stream chunk gap": 2,
    }
    assert round(reported.entries["run end-to-end", JOB].max_response_time) == 300
    assert [str(error.error) for error in reported.errors.values()] == ["failed: boom"]


def distinct_errors_are_bounded() -> None:
    ours, reported = statistics()
    for number in range(3 * MAX_ERROR_TEXTS):
        failed = Sample(1, "run", 10.0, sent_at=10.0, finished_at=10.1, outcome=Outcome.FAILED, error=f"id {number}")
        ours.add_job(failed, [])
        ours.request_done("POST", "/run", Response(0, b"", 10.0, 10.1, error=f"closed {number}"))
    ours.flush()
    assert len(reported.errors) <= 2 * MAX_ERROR_TEXTS + 2
    assert sum(error.occurrences for error in reported.errors.values() if error.method == JOB) == 3 * MAX_ERROR_TEXTS


if __name__ == "__main__":
    a_batch_adds_up_to_what_locust_counts_one_by_one()
    a_full_batch_is_added_at_once_and_the_rest_by_flush()
    jobs_have_entries_of_their_own()
    distinct_errors_are_bounded()
