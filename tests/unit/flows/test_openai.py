"""The openai flow: what an answer means for the job's row, wherever its body is cut."""

from __future__ import annotations

import json
from typing import Any

import pytest

from loadtest.flows.job_flow import JobFlow
from loadtest.flows.openai import EVENTS_PER_TURN, TURN_S, ReadingTurns, run_openai
from loadtest.flows.steps import NO_RESPONSE, Flow, Response, Send, WaitUntil
from loadtest.flows.submissions import submission
from loadtest.protocol.operations import Op
from loadtest.record.sample import ChunkSeen, ErrorKind, Outcome, Sample
from loadtest.scenario.model import Scenario
from loadtest.traffic.polling import PollGroup, PollPacer
from loadtest.traffic.settings import Polling

ENDED_AT = 50.0


def event(content: str | None = None, line_end: str = "\n", **members: Any) -> bytes:
    choices = [] if content is None else [{"index": 0, "delta": {"content": content}}]
    text = json.dumps({"id": "chatcmpl-7", "choices": choices, **members}, ensure_ascii=False)
    return f"data: {text}{line_end}{line_end}".encode()


def stop(line_end: str = "\n") -> bytes:
    return event(line_end=line_end, choices=[{"index": 0, "delta": {}, "finish_reason": "stop"}])


USAGE = {"usage": {"prompt_tokens": 9, "completion_tokens": 3}}


def stream(line_end: str = "\n") -> list[bytes]:
    """Return a role, three pieces, a reason, the usage and the end; the line separator U+2028 ends no line."""
    texts = [event(text, line_end) for text in ("", "Grüße", " \u2028", "!")]
    return [*texts, stop(line_end), event(line_end=line_end, **USAGE), f"data: [DONE]{line_end}{line_end}".encode()]


def driven(
    response: Response, check: Any = None, flow: dict[str, Any] | None = None
) -> tuple[Sample, list[ChunkSeen]]:
    sample, seen = Sample(0, "openai", 1.0), list[ChunkSeen]()
    steps = run_openai(job_flow(sample, check, flow), seen, 60.0, ReadingTurns())
    sent = next(steps)
    assert isinstance(sent, Send)
    assert (sent.op, sent.long_poll_s, sent.deadline) == (Op.OPENAI, 60.0, 61.0)
    sample.sent_at = 1.0
    finish(steps, response)
    return sample, seen


def finish(steps: Flow, response: Response) -> list[float]:
    """Answer the request, and return the times until which the flow then waits."""
    waits = []
    try:
        step = steps.send(response)
        while True:
            assert isinstance(step, WaitUntil)
            waits.append(step.at)
            step = steps.send(NO_RESPONSE)
    except StopIteration:
        return waits


def job_flow(sample: Sample, check: Any = None, flow: dict[str, Any] | None = None) -> JobFlow:
    settings = flow or {"input": {"messages": [{"role": "user", "content": "hi"}]}}
    scenario = Scenario.model_validate(
        {"name": "x", "load": {"stages": [{"rate": "1/s", "for": "1s"}]}, "flows": {"openai": settings}}
    )
    asked = submission(scenario, "openai", scenario.flows["openai"].input)
    pacer = PollPacer(Polling(), 198.0, PollGroup())
    return JobFlow(sample, asked, pacer, 60.0, check=check)


def answered(body: bytes, cuts: list[int] | None = None, **changes: Any) -> Response:
    """Return a response whose body came in parts: the one that ends at `cut` bytes at 10 s and a millisecond each."""
    progress = [(cut, 10.0 + cut / 1000) for cut in cuts or []]
    values: dict[str, Any] = {"status": 200, "body_progress": progress, **changes}
    return Response(body=body, sent_at=1.0, answered_at=ENDED_AT, **values)


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"], ids=["lf", "crlf", "cr"])
def test_each_event_is_seen_when_its_end_came_wherever_the_body_is_cut(line_end: str) -> None:
    events = stream(line_end)
    body = b"".join(events)
    ends = [sum(map(len, events[: number + 1])) for number in range(len(events))]
    for cut in range(1, len(body)):
        sample, seen = driven(answered(body, [cut]))
        at = [10.0 + cut / 1000 if end <= cut else ENDED_AT for end in ends]
        assert [chunk.at for chunk in seen] == at[:-1]
        assert [chunk.pieces for chunk in seen] == [0, 1, 1, 1, 0, 0]
        assert (sample.first_content_at, sample.last_content_at, sample.finished_at) == (at[1], at[3], at[-1])
        assert (sample.outcome, sample.error) == (Outcome.COMPLETED, None)
        assert (sample.input_tokens, sample.output_tokens, sample.chunks) == (9, 3, 6)


def test_body_that_comes_byte_by_byte_has_the_time_of_each_event() -> None:
    events = stream()
    body = b"".join(events)
    sample, seen = driven(answered(body, list(range(1, len(body)))))
    ends = [sum(map(len, events[: number + 1])) for number in range(len(events) - 1)]
    assert [chunk.at for chunk in seen] == pytest.approx([10.0 + end / 1000 for end in ends])
    assert sample.first_chunk_at == seen[0].at
    assert sample.job_id == "chatcmpl-7"


@pytest.mark.parametrize(
    ("body", "outcome", "error"),
    [
        (event("a") + b'data: {"error": {"message": "out of memory", "code": 500}}\n\n', "failed", "out of memory"),
        (b'data: {"object": "error", "message": "too long"}\n\n', "failed", "too long"),
        (event("a") + event("b"), "bad_answer", "without [DONE]"),
        (event("a") + stop(), "completed", None),
        (event("a") + b"data: [DONE]", "completed", None),
        (b"data: [DONE]\n\n", "completed", "empty output"),
        (b": ping\n\n" + event("") + b"data: [DONE]\n\n", "completed", "empty output"),
        (b"", "bad_answer", "the body is empty"),
        (b"<html>sign in</html>", "bad_answer", "sign in"),
        (b'{"error": {"message": "no such model"}}', "failed", "no such model"),
        (b'{"status": "ok"}', "bad_answer", "no choices"),
        (b'{"id": "c", "choices": [{"message": {"content": ""}}]}', "completed", "empty output"),
    ],
)
def test_answer_of_status_200_has_the_outcome_that_its_end_shows(
    body: bytes, outcome: str, error: str | None
) -> None:
    sample, _ = driven(answered(body))
    assert sample.outcome == outcome
    assert (sample.error is None) if error is None else (error in (sample.error or ""))
    assert (sample.error_kind is ErrorKind.EMPTY_OUTPUT) == (error == "empty output")
    assert sample.perhaps_accepted == (outcome == "bad_answer")
    assert not sample.given_up


def test_error_that_content_quotes_is_no_error() -> None:
    sample, _ = driven(answered(event('{"error": {"message": "x"}}') + stop()))
    assert sample.outcome == Outcome.COMPLETED


def test_stream_that_breaks_off_is_unreachable_and_keeps_what_came() -> None:
    body = event("a") + event("b")
    sample, seen = driven(
        answered(
            body[:-3],
            [len(event("a"))],
            status=0,
            error="connection closed before the response was whole",
            error_kind=ErrorKind.CONNECTION_CLOSED,
        )
    )
    assert sample.outcome == Outcome.UNREACHABLE
    assert sample.error is not None
    assert sample.error.startswith("the stream broke off after")
    assert sample.error_kind == ErrorKind.CONNECTION_CLOSED
    assert sample.first_content_at == seen[0].at == pytest.approx(10.0 + len(event("a")) / 1000)
    assert sample.perhaps_accepted
    assert not sample.given_up


def test_connection_that_breaks_after_the_end_of_the_stream_costs_nothing() -> None:
    body = b"".join(stream())
    sample, _ = driven(answered(body, [len(body)], status=0, error="closed", error_kind=ErrorKind.CONNECTION_CLOSED))
    assert (sample.outcome, sample.error, sample.error_kind) == (Outcome.COMPLETED, None, None)
    assert sample.finished_at == pytest.approx(10.0 + len(body) / 1000)


@pytest.mark.parametrize(("status", "outcome"), [(400, "rejected"), (500, "rejected"), (302, "bad_answer")])
def test_http_error_is_the_outcome_of_the_job(status: int, outcome: str) -> None:
    sample, _ = driven(answered(b'{"error": {"message": "no route"}}', status=status))
    assert (sample.outcome, sample.http_status) == (outcome, status)
    assert sample.perhaps_accepted == (status == 500)


def test_429_is_sent_again_until_it_is_accepted() -> None:
    sample = Sample(0, "openai", 1.0)
    steps = run_openai(job_flow(sample), [], 60.0, ReadingTurns())
    next(steps)
    wait = steps.send(answered(b"", status=429, retry_after_s=2.0))
    assert isinstance(wait, WaitUntil)
    again = steps.send(answered(b""))
    assert isinstance(again, Send)
    assert again.op is Op.OPENAI
    finish(steps, answered(b"".join(stream())))
    assert (sample.outcome, sample.throttled) == (Outcome.COMPLETED, 1)


def test_document_has_its_tokens_and_no_time_of_content() -> None:
    body = json.dumps({"id": "cmpl-1", "choices": [{"text": "a b"}], "usage": USAGE["usage"]}).encode()
    sample, seen = driven(answered(body))
    assert (sample.outcome, sample.input_tokens, sample.output_tokens) == (Outcome.COMPLETED, 9, 3)
    assert (sample.job_id, sample.first_content_at, seen) == ("cmpl-1", None, [])


def test_check_gets_the_document_that_the_stream_would_have_been() -> None:
    got: list[bytes] = []
    sample, _ = driven(answered(b"".join(stream())), check=lambda raw, sample: got.append(raw) or "not so")
    assert json.loads(got[0]) == {
        "id": "chatcmpl-7",
        "usage": USAGE["usage"],
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": "Grüße \u2028!"}, "finish_reason": "stop"}
        ],
    }
    assert (sample.outcome, sample.error) == (Outcome.WRONG, "not so")


@pytest.mark.parametrize(
    ("flow", "path", "body"),
    [
        (
            {"model": "m"},
            "/openai/v1/chat/completions",
            {"model": "m", "n": 1, "stream": True, "stream_options": {"include_usage": True}},
        ),
        ({"stream": False, "route": "completions"}, "/openai/v1/completions", {"n": 1, "stream": False}),
        (
            {"input": {"model": "own", "stream_options": None}, "model": "m"},
            "/openai/v1/chat/completions",
            {"model": "own", "stream": True, "stream_options": None},
        ),
    ],
)
def test_body_is_the_input_with_the_settings_of_the_flow(
    flow: dict[str, Any], path: str, body: dict[str, Any]
) -> None:
    asked = job_flow(Sample(0, "openai", 1.0), flow={"input": {"n": 1}, **flow}).submission
    assert (asked.op, asked.path, json.loads(asked.body)) == (Op.OPENAI, path, body)


def test_job_whose_stream_is_open_at_the_end_of_the_run_may_have_been_accepted_and_is_not_cancelled() -> None:
    sample = Sample(0, "openai", 1.0)
    steps = run_openai(job_flow(sample), [], 60.0, ReadingTurns())
    next(steps)
    sample.sent_at = 1.0
    steps.close()
    assert (sample.outcome, sample.perhaps_accepted, sample.given_up) == (Outcome.CENSORED, True, False)


def test_streams_that_end_at_once_are_read_in_turns() -> None:
    turns, body = ReadingTurns(), event("a") * EVENTS_PER_TURN * 2 + stop()
    waits = []
    for seq in range(2):
        steps = run_openai(job_flow(Sample(seq, "openai", 1.0)), [], 60.0, turns)
        next(steps)
        waits += finish(steps, answered(body))
    assert waits == pytest.approx([ENDED_AT + TURN_S * turn for turn in range(6)])
