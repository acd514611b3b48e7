"""The job of a request of the OpenAI route, and the answers made of what workers send."""

from __future__ import annotations

from itertools import pairwise

import msgspec
import pytest

from loadtest.errors import InvalidResponse
from loadtest.protocol.client_messages import ABSENT
from loadtest.protocol.openai_messages import EventText, error_document, is_error, openai_submission, whole_answer

EVENTS = 'data: {"choices":[{"text":"é"}]}\n\ndata: {"choices":[]}\n\n'
DONE = "data: [DONE]\n\n"


def raw(value: object) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(value))


def answered(*outputs: object) -> str:
    text = EventText()
    return (b"".join([text.add(raw(output)) for output in outputs]) + text.end()).decode()


@pytest.mark.parametrize(
    ("body", "streamed"),
    [(b'{"stream": true, "n": 1e400}', True), (b'{"stream": false}', False), (b'{"stream": "true"}', False)],
)
def test_a_request_becomes_a_job_with_its_route_and_its_body_as_written(body: bytes, streamed: bool) -> None:
    submission, is_streamed = openai_submission("chat/completions", b"\xef\xbb\xbf " + body)
    assert bytes(submission.input) == b'{"openai_route":"/v1/chat/completions","openai_input":' + body + b"}"
    assert is_streamed == streamed


def test_a_request_without_a_body_has_an_empty_input() -> None:
    submission, streamed = openai_submission("models", b"")
    assert msgspec.json.decode(submission.input) == {"openai_route": "/v1/models", "openai_input": {}}
    assert not streamed


@pytest.mark.parametrize("body", [b"{", b"[]", b"7", b'{"stream": }', b"\xff"])
def test_a_body_that_is_no_object_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidResponse):
        openai_submission("completions", body)


def test_text_cut_anywhere_is_handed_on_as_it_is() -> None:
    for whole in (EVENTS, EVENTS + DONE, EVENTS + "data:[DONE]\n\n"):
        for cut in range(len(whole) + 1):
            assert answered(whole[:cut], whole[cut:]) == (whole if "[DONE]" in whole else whole + DONE)
    one_by_one = [EVENTS[a:b] for a, b in pairwise(range(len(EVENTS) + 1))]
    assert answered(*one_by_one) == EVENTS + DONE


def test_each_document_becomes_an_event_and_an_open_event_is_ended() -> None:
    assert answered({"n": 1}, [{"n": 2}, "data: 3\n\n"]) == 'data: {"n":1}\n\ndata: {"n":2}\n\ndata: 3\n\n' + DONE
    assert answered("data: 1") == "data: 1\n\n" + DONE
    assert answered("data: 1\n") == "data: 1\n\n" + DONE
    assert answered("data: 1\r\n\r\n") == "data: 1\r\n\r\n" + DONE
    assert answered() == DONE


def test_an_error_after_the_first_chunk_is_an_event() -> None:
    text = EventText()
    text.add(raw("data: 1\n"))
    assert text.fail(b'{"error":{}}') == b'\ndata: {"error":{}}\n\ndata: [DONE]\n\n'


def test_whole_answer_is_the_one_document_wherever_it_is() -> None:
    document, text = raw({"a": 1}), '{"a":1}'
    assert whole_answer([document], ABSENT) == b'{"a":1}'
    assert whole_answer([], document) == b'{"a":1}'
    assert whole_answer([], raw([{"a": 1}])) == b'{"a":1}'
    assert whole_answer([raw(text[:3]), raw(text[3:])], raw([])) == b'{"a":1}'
    assert whole_answer([document, document], ABSENT) == b'[{"a":1},{"a":1}]'
    assert {whole_answer([], result) for result in (raw([]), raw(None), ABSENT)} == {None}


def test_an_error_document_has_the_text_of_the_jobs_error() -> None:
    error = raw('{"error_type": "<class \'ValueError\'>", "error_message": "too long"}')
    assert msgspec.json.decode(error_document(error, "FAILED")) == {
        "error": {"message": "ValueError: too long", "type": "server_error", "code": "FAILED", "param": None}
    }
    assert b"the job ended CANCELLED" in error_document(ABSENT, "CANCELLED")
    assert is_error(b'{"error": {"message": "no"}}')
    assert not any(map(is_error, (b'{"error": null}', b'{"choices": []}', b'["error"]', b'"error"')))
