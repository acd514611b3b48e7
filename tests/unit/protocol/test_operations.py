"""The description of the endpoint is consistent."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.protocol.operations import (
    ALIASES,
    FINAL,
    OPERATIONS,
    TRANSITIONS,
    JobEvent,
    JobState,
    Limit,
    Op,
    authorization,
    parse_limit,
    presented_key,
)


def test_the_table_has_the_documented_limits() -> None:
    limits = {op: (each.limit.requests, each.limit.per_s, each.limit.concurrent)
              for op, each in OPERATIONS.items() if each.limit}  # fmt: skip
    assert limits == {
        Op.RUN: (1000, 10, 200),
        Op.RUNSYNC: (2000, 10, 400),
        Op.STATUS: (2000, 10, 400),
        Op.STATUS_SYNC: (2000, 10, 400),
        Op.STREAM: (2000, 10, 400),
        Op.OPENAI: (2000, 10, 400),
        Op.CANCEL: (100, 10, 20),
        Op.PURGE_QUEUE: (2, 10, None),
        Op.OPENAI: (2000, 10, 400),
    }
    assert set(OPERATIONS) == set(Op)


def test_a_state_is_final_when_only_a_retry_leads_out_of_it() -> None:
    assert {JobState.COMPLETED, JobState.FAILED, JobState.CANCELLED, JobState.TIMED_OUT} == FINAL
    assert {was for was, event in TRANSITIONS if event is JobEvent.RETRIED} == {JobState.FAILED, JobState.TIMED_OUT}


def test_every_state_can_be_reached_from_the_queue_and_every_event_moves_something() -> None:
    reached = {JobState.IN_QUEUE}
    for _ in JobState:
        reached |= {to for (was, _), to in TRANSITIONS.items() if was in reached}
    assert reached == set(JobState)
    assert {event for _, event in TRANSITIONS} == set(JobEvent)
    assert ALIASES["RUNNING"] is JobState.IN_PROGRESS


@pytest.mark.parametrize("header", ["Bearer secret", "Bearer Bearer secret", "secret", " secret "])
def test_the_key_is_found_in_each_form_seen_on_the_wire(header: str) -> None:
    assert presented_key(header) == "secret"


@given(st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1).filter(lambda key: key != "Bearer"))
def test_a_server_accepts_the_header_of_a_client(key: str) -> None:
    assert presented_key(authorization(key)) == key


@pytest.mark.parametrize("limit", [Limit(1000, 10.0, 200), Limit(2, 10.0), Limit(5, 0.5, 1)])
def test_a_limit_reads_back_as_it_is_written(limit: Limit) -> None:
    assert parse_limit(str(limit)) == limit


@pytest.mark.parametrize("text", ["5 per 1 s, 0 at once", "9999999999 per 1 s", "1 per 1 s, 9999999999 at once"])
def test_a_limit_out_of_range_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is out of range"):
        parse_limit(text)


@pytest.mark.parametrize("text", ["1000", "0 per 10 s", "1.5 per 10 s", "10 per 10 s, many at once"])
def test_an_invalid_limit_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match=r"write it like"):
        parse_limit(text)


def test_a_limit_has_a_long_term_rate() -> None:
    assert Limit(1000, 10).per_second == 100
