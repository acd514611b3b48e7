"""Locust's statistics in batches, compared with what Locust itself would have counted.

Run in a process of its own, since importing Locust patches the process.
"""

from __future__ import annotations

import logging
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from locust.env import Environment
from locust.stats import RequestStats

from loadtest.drive.stats.locust_stats import JOB, MAX_ERRORS, BatchedLocustStats, RequestFailed
from loadtest.flows.steps import Response
from loadtest.record.sample import ChunkSeen, Outcome, Sample

TIMES_MS = st.lists(st.floats(0, 90_000), min_size=1, max_size=60)


METHOD, NAME = "POST", "/run"
RESPONSES = st.lists(
    st.tuples(st.sampled_from([0, 200, 429, 500]), st.binary(max_size=9), st.floats(0, 90)), min_size=1, max_size=60
)


def statistics() -> tuple[BatchedLocustStats, RequestStats]:
    environment = Environment()
    return BatchedLocustStats(environment), environment.stats


def figures_of(stats: RequestStats, name: str, method: str) -> dict[str, Any]:
    entry = stats.entries[name, method]
    figures = ("num_requests", "min_response_time", "max_response_time", "total_content_length", "response_times")
    return {figure: getattr(entry, figure) for figure in figures}


@settings(max_examples=30, deadline=None)
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


def responses(drawn: list[tuple[int, bytes, float]]) -> list[Response]:
    return [Response(status, body, 0.0, took_s, error=None if status else "lost") for status, body, took_s in drawn]


@settings(max_examples=30, deadline=None)
@given(RESPONSES)
def requests_are_counted_alike_whether_or_not_anyone_listens(drawn: list[tuple[int, bytes, float]]) -> None:
    """If another listens, Locust's own listener counts them."""
    alone, listened_to = Environment(), Environment()
    heard: list[tuple[str, str, float, int, str | None]] = []
    counted = []
    for environment in (alone, listened_to):
        environment.create_local_runner()
        stats = BatchedLocustStats(environment)
        if environment is listened_to:

            @environment.events.request.add_listener
            def on_request(
                request_type: str,
                name: str,
                response_time: float,
                response_length: int,
                exception: Exception | None,
                **_: Any,
            ) -> None:
                error = None if exception is None else str(exception)
                heard.append((request_type, name, response_time, response_length, error))

        for response in responses(drawn):
            stats.request_done(METHOD, NAME, response)
        stats.flush()
        errors = {str(error.error): error.occurrences for error in environment.stats.errors.values()}
        counted.append((figures_of(environment.stats, NAME, METHOD), environment.stats.total.num_failures, errors))
    assert counted[0] == counted[1]
    assert heard == [
        (METHOD, NAME, took_s * 1000, len(body), {0: "lost", 200: None}.get(status, f"HTTP {status}"))
        for status, body, took_s in drawn
    ]


def a_listener_that_leaves_and_one_that_fails_change_no_count() -> None:
    environment = Environment()
    environment.create_local_runner()
    ours = BatchedLocustStats(environment)
    [response] = responses([(200, b"", 0.1)])
    heard: list[str] = []

    def listener(name: str, **_: Any) -> None:
        heard.append(name)
        raise ValueError(name)

    logging.disable()
    ours.request_done(METHOD, NAME, response)
    environment.events.request.add_listener(listener)
    ours.request_done(METHOD, NAME, response)
    environment.events.request.remove_listener(listener)
    ours.request_done(METHOD, NAME, response)
    ours.flush()
    assert heard == [NAME]
    assert environment.stats.total.num_requests == 3


def different_errors_are_listed_up_to_a_number_and_all_counted() -> None:
    ours, reported = statistics()
    failed = [
        Sample(seq, "run", 1.0, sent_at=1.0, finished_at=2.0, outcome=Outcome.FAILED, error=f"job {seq // 2}")
        for seq in range(4 * MAX_ERRORS)
    ]
    ours.add_jobs([(sample, ()) for sample in failed])
    ours.flush()
    occurrences = {str(error.error): error.occurrences for error in reported.errors.values()}
    assert len(occurrences) == MAX_ERRORS + 1
    assert occurrences["failed: job 0"] == 2
    assert occurrences["other errors"] == 2 * MAX_ERRORS
    assert reported.entries["run end-to-end", JOB].num_failures == 4 * MAX_ERRORS


def each_run_lists_errors_of_its_own_and_counts_them_once() -> None:
    environment = Environment()
    for run in range(2):
        ours = BatchedLocustStats(environment)
        for number in range(MAX_ERRORS):
            ours.log_error(METHOD, NAME, RequestFailed(f"run {run}, error {number}"))
    errors = environment.stats.errors.values()
    assert len(errors) == 2 * MAX_ERRORS
    assert {error.occurrences for error in errors} == {1}


def jobs_have_entries_of_their_own_and_the_total_is_of_requests() -> None:
    ours, reported = statistics()
    ours.log_request(METHOD, NAME, 7.0, 1)
    done = Sample(0, "run", 10.0, sent_at=10.0, finished_at=10.3, delay_ms=100, execution_ms=150)
    done.outcome = Outcome.COMPLETED
    streamed = Sample(2, "stream", 10.0)
    failed = Sample(1, "run", 10.0, sent_at=10.0, finished_at=10.1, outcome=Outcome.FAILED, error="boom")
    ours.add_jobs([(done, ()), (failed, ()), (streamed, [ChunkSeen(at, 1) for at in (1.0, 1.05, 1.2)])])
    ours.flush()
    assert {name: reported.entries[name, JOB].num_requests for name, method in reported.entries if method == JOB} == {
        "run end-to-end": 2,
        "run delay": 1,
        "run execution": 1,
        "stream chunk gap": 2,
    }
    assert round(reported.entries["run end-to-end", JOB].max_response_time) == 300
    assert [str(error.error) for error in reported.errors.values()] == ["failed: boom"]
    total = reported.total
    assert (total.num_requests, total.num_failures, total.max_response_time) == (1, 0, 7.0)
    assert sum(total.num_reqs_per_sec.values()) == 1


if __name__ == "__main__":
    a_batch_adds_up_to_what_locust_counts_one_by_one()
    requests_are_counted_alike_whether_or_not_anyone_listens()
    a_listener_that_leaves_and_one_that_fails_change_no_count()
    different_errors_are_listed_up_to_a_number_and_all_counted()
    each_run_lists_errors_of_its_own_and_counts_them_once()
    jobs_have_entries_of_their_own_and_the_total_is_of_requests()
