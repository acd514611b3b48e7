"""Bodies of requests and responses: valid ones, invalid ones, and encoding as the inverse of decoding."""

from __future__ import annotations

from contextlib import suppress

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.json import encode

from loadtest.errors import InvalidResponse
from loadtest.protocol.client_messages import (
    ABSENT,
    MAX_ID_LENGTH,
    MAX_NUMBER,
    Chunk,
    Health,
    JobCounts,
    JobResponse,
    Problem,
    Purged,
    StreamResponse,
    WorkerCounts,
    decode,
    decode_accepted_job,
    decode_job,
    decode_stream,
    encode_submission,
)
from loadtest.protocol.operations import JobState
from loadtest.protocol.outer_json import outer_elements, outer_members

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)
TIMES = st.none() | st.integers(0, MAX_NUMBER)


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
    assert b'"output_tokens"' in bytes(job.output)


def test_running_is_an_alias_of_in_progress() -> None:
    job = decode_job(b'{"id": "a", "status": "RUNNING"}')
    assert (job.state, job.final) == (JobState.IN_PROGRESS, False)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"<html>",
        b"[]",
        b'{"id": "a"}',
        b'{"id": "a", "status": "COMPL',
        b'{"id": "a", "status": "COMPLETED"}',
        b'{"id": "a", "status": "COMPLETED", "delayTime": 5}',
        b'{"id": "a", "status": "COMPLETED", "delayTime": -1, "executionTime": 5}',
        b'{"id": "a", "status": "COMPLETED", "delayTime": 9223372036854775808, "executionTime": 5}',
        b'{"id": "a", "status": "COMPLETED", "delayTime": "soon", "executionTime": 5}',
        b'{"id": "a", "status": "COMPLETED", "delayTime": NaN, "executionTime": 5}',
    ],
)
def test_a_response_that_the_protocol_does_not_allow_is_invalid(body: bytes) -> None:
    with pytest.raises(InvalidResponse):
        decode_job(body)


def test_both_forms_of_a_stream_are_decoded() -> None:
    older = decode_stream(b' [{"metrics": {"output_tokens": 1}, "output": {"text": [" How"]}}]')
    assert (older.status, older.ended, len(older.stream)) == (None, False, 1)
    assert bytes(older.stream[0].metrics) == b'{"output_tokens": 1}'
    later = decode_stream(b'{"status": "COMPLETED", "stream": [{"output": 1}]}')
    assert (later.status, later.ended) == ("COMPLETED", False)
    assert decode_stream(b'{"status": "COMPLETED", "stream": []}').ended
    assert not decode_stream(b'{"status": "IN_PROGRESS", "stream": []}').ended


@pytest.mark.parametrize("body", [b"", b"[", b"null", b'{"stream": 5}', b"{}"])
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


COMPLETED = b'"id": "a", "status": "COMPLETED", "delayTime": 12, "executionTime": 34'


@pytest.mark.parametrize(
    "body",
    [
        b"\xef\xbb\xbf{" + COMPLETED + b"}",
        b"{" + COMPLETED + b"}\n\0",
        b'{"output": "caf\xe9", ' + COMPLETED + b"}",
        b'{"output": {"x": NaN, "y": [-Infinity]}, ' + COMPLETED + b"}",
        b'{"output": "\\ud800 \\x", ' + COMPLETED + b"}",
        b'{"output": "a\x01\nb", ' + COMPLETED + b"}",
        b'{"output": "}\\"{,:[", ' + COMPLETED + b"}",
        b'{"output": ' + b"[" * 5000 + b"]" * 5000 + b", " + COMPLETED + b"}",
        b'{"output": ' + b"9" * 10_000 + b", " + COMPLETED + b"}",
        b'{"workerId": {"odd": 1}, ' + COMPLETED + b"}",
        b'{"workerId": "' + b"w" * 10_000 + b'", ' + COMPLETED + b"}",
        b'{"id": "a", "status": "COMPLETED", "delayTime": 12.0, "executionTime": "34"}',
        b'{"id": "a", "status": "COMPLETED", "delayTime": "11.75", "executionTime": 34.4}',
        b'{"id": 7, "status": "COMPLETED", "delayTime": 12, "executionTime": 34}',
        b'{"status": "COMPLETED", "delayTime": 12, "executionTime": 34}',
    ],
    ids=range(15),
)
def test_job_is_read_whatever_is_odd_about_the_fields_that_are_not_needed(body: bytes) -> None:
    job = decode_job(body)
    assert (job.final, job.delay_ms, job.execution_ms) == (True, 12, 34)
    assert len(job.worker_id or "") <= MAX_ID_LENGTH


@given(st.binary() | st.binary().map(lambda inner: b'{"id": "a", "status": "IN_QUEUE", "output": ' + inner + b"}"))
def test_any_body_is_a_job_or_an_invalid_response(body: bytes) -> None:
    for decode_any in (decode_job, decode_accepted_job, decode_stream):
        with suppress(InvalidResponse):
            decode_any(body)


@given(st.text(), JSON)
def test_outermost_layer_is_that_of_the_whole_document(key: str, value: object) -> None:
    body = encode({"before": 1, key: value, "after": [value]})
    members = outer_members(b"\xef\xbb\xbf \r\n" + body)
    assert members is not None
    assert [msgspec.json.decode(each) for each in members.values()] == list(msgspec.json.decode(body).values())
    elements = outer_elements(encode([value, key, [value]]))
    assert elements is not None
    assert [msgspec.json.decode(each) for each in elements] == [value, key, [value]]
    assert outer_members(body[:-1]) is outer_members(body + b"x") is outer_elements(body) is None


def test_unknown_status_is_that_of_a_job_that_has_not_ended() -> None:
    job = decode_job(b'{"id": "a", "status": "WARMING_UP"}')
    assert (job.state, job.final) == (None, False)
    assert not decode_stream(b'{"status": "WARMING_UP", "stream": []}').ended


@pytest.mark.parametrize("job_id", ["", "a\r\nX-Injected: yes", "a\x00", "\u2028", ".", "..", "x" * 513, "a\x7f"])
def test_id_that_no_request_can_name_is_refused(job_id: str) -> None:
    with pytest.raises(InvalidResponse, match="no usable id"):
        decode_accepted_job(encode({"id": job_id, "status": "IN_QUEUE"}))


def test_chunk_of_another_form_is_an_output() -> None:
    part = decode_stream(
        b'{"status": "IN_PROGRESS", "stream": ["a", 5, {"output": "caf\xe9", "metrics": {}}, {"x": 1}]}'
    )
    assert [bytes(chunk.output) for chunk in part.stream] == [b'"a"', b"5", b'"caf\xe9"', b'{"x": 1}']
