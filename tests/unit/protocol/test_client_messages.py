"""Bodies of requests and responses: valid ones, invalid ones, and encoding as the inverse of decoding."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.json import encode

from loadtest.errors import InvalidResponse
from loadtest.protocol.client_messages import (
    ABSENT,
    Chunk,
    Health,
    JobCounts,
    JobResponse,
    Problem,
    Purged,
    StreamResponse,
    Tokens,
    WorkerCounts,
    decode,
    decode_job,
    decode_stream,
    encode_submission,
    token_counts,
)
from loadtest.protocol.operations import JobState

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)
TIMES = st.none() | st.integers(0, 2**40)


@given(st.sampled_from(["IN_QUEUE", "IN_PROGRESS", "FAILED", "CANCELLED"]), TIMES, TIMES, JSON)
def test_a_job_reads_back_as_it_was_written(
    status: str, delay: int | None, execution: int | None, out: object
) -> None:
    job = JobResponse("a", status, delay, execution, None, msgspec.Raw(encode(out)))
    again = decode_job(encode(job))
    assert (again.id, again.status, again.delay_ms, again.execution_ms) == ("a", status, delay, execution)
    assert msgspec.json.decode(again.output) == out
    assert encode(again) == encode(job)


def test_fields_not_known_yet_are_left_out() -> None:
    assert encode(JobResponse("a", "IN_QUEUE")) == b'{"id":"a","status":"IN_QUEUE"}'
    assert decode_job(b'{"id":"a","status":"IN_QUEUE"}').output is ABSENT
    assert encode(Chunk(msgspec.Raw(b"1"))) == b'{"output":1}'


def test_the_documented_status_response_is_decoded() -> None:
    job = decode_job(
        b'{"delayTime": 31618, "executionTime": 1437, "id": "60902e6c-08a1-426e-9cb9-9eaec90f5e2b-u1",'
        b' "output": {"input_tokens": 22, "output_tokens": 16, "text": ["Hello!"]}, "status": "COMPLETED",'
        b' "somethingNew": {}}'
    )
    assert (job.state, job.final, job.delay_ms, job.execution_ms) == (JobState.COMPLETED, True, 31618, 1437)
    assert token_counts(job.output) == Tokens(22, 16)


def test_running_is_an_alias_of_in_progress() -> None:
    job = decode_job(b'{"id": "a", "status": "RUNNING"}')
    assert (job.state, job.final) == (JobState.IN_PROGRESS, False)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"<html>",
        b'{"status": "IN_QUEUE"}',
        b'{"id": "a", "status": "LOST"}',
        b'{"id": "a", "status": "COMPLETED"}',
        b'{"id": "a", "status": "COMPLETED", "delayTime": 5}',
        b'{"id": "a", "status": "COMPLETED", "delayTime": -1, "executionTime": 5}',
        b'{"id": "a", "status": "COMPLETED", "delayTime": 1.5, "executionTime": 5}',
    ],
)
def test_a_response_that_the_protocol_does_not_allow_is_invalid(body: bytes) -> None:
    with pytest.raises(InvalidResponse):
        decode_job(body)


def test_both_forms_of_a_stream_are_decoded() -> None:
    older = decode_stream(b' [{"metrics": {"output_tokens": 1}, "output": {"text": [" How"]}}]')
    assert (older.status, older.ended, len(older.stream)) == (None, False, 1)
    assert token_counts(older.stream[0].metrics) == Tokens(None, 1)
    later = decode_stream(b'{"status": "COMPLETED", "stream": [{"output": 1}]}')
    assert (later.status, later.ended) == ("COMPLETED", False)
    assert decode_stream(b'{"status": "COMPLETED", "stream": []}').ended
    assert not decode_stream(b'{"status": "IN_PROGRESS", "stream": []}').ended


@pytest.mark.parametrize("body", [b"", b"[", b"[1]", b'{"status": "LOST", "stream": []}', b'{"stream": []}', b"{}"])
def test_an_invalid_stream_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidResponse):
        decode_stream(body)


def test_a_stream_reads_back_as_it_was_written() -> None:
    answer = StreamResponse([Chunk(msgspec.Raw(b'"a"'), msgspec.Raw(b'{"output_tokens":1}'))], "IN_PROGRESS")
    assert encode(decode_stream(encode(answer))) == encode(answer)


def test_health_is_decoded_with_and_without_the_later_worker_states() -> None:
    seed = (
        b'{"jobs": {"completed": 1, "failed": 5, "inProgress": 0, "inQueue": 2, "retried": 0},'
        b' "workers": {"idle": 0, "running": 0}}'
    )
    assert decode(Health, seed, "health answer") == Health(
        JobCounts(completed=1, failed=5, in_queue=2), WorkerCounts()
    )
    health = Health(JobCounts(1, 2, 3, 4, 5), WorkerCounts(1, 2, 3, 4, 5, 6))
    assert decode(Health, encode(health), "health answer") == health
    with pytest.raises(InvalidResponse):
        decode(Health, b"[]", "health answer")


def test_other_messages_are_encoded_as_documented() -> None:
    assert encode(Purged(2)) == b'{"removed":2,"status":"completed"}'
    assert msgspec.json.decode(encode_submission({"prompt": "x"})) == {"input": {"prompt": "x"}}
    assert encode(Problem(400, "Bad Request", "why")) == b'{"status":400,"title":"Bad Request","detail":"why"}'


def test_missing_token_counts_are_none_and_not_zero() -> None:
    assert token_counts(msgspec.Raw(b'"text"')) == Tokens(None, None)
    assert token_counts(msgspec.Raw(b"{}")) == Tokens(None, None)
