"""Token counts in every form in which workers send them; the forms are in docs/reference/wire-protocol.md."""

from __future__ import annotations

import itertools
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.protocol.client_messages import ABSENT, Chunk
from loadtest.protocol.tokens import TokenReader


def raw(value: Any) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(value))


def read(outputs: list[Any], metrics: list[Any] | None = None) -> TokenReader:
    reader = TokenReader()
    for index, output in enumerate(outputs):
        reader.add(Chunk(raw(output), ABSENT if metrics is None else raw(metrics[index])))
    reader.end()
    return reader


def counts(reader: TokenReader) -> tuple[int | None, int | None, int]:
    return reader.input_tokens, reader.output_tokens, reader.pieces


def event(document: Any, end: str = "\n\n") -> str:
    return f"data: {msgspec.json.encode(document).decode()}{end}"


def delta(content: str | None, **more: Any) -> dict[str, Any]:
    return {"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": content}}], **more}


def completion(words: list[str], end: str = "\n\n", usage: bool = True) -> str:
    """A chat completion as vLLM streams it: a role, one event for each token, an end, the usage."""
    begun = {"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]}
    ended = {"choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": "stop"}]}
    events = [begun, *map(delta, words), ended]
    if usage:
        events.append({"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": len(words)}})
    return "".join(event(each, end) for each in events) + f"data: [DONE]{end}"


WORDS = [" one", "two\n\n", "\u2028three", "data: four", '"five"']


def test_counts_of_each_chunk_are_added_up() -> None:
    outputs = [{"text": [" a"], "input_tokens": 22 if n == 0 else 0, "output_tokens": 2} for n in range(3)]
    assert counts(read(outputs)) == (22, 6, 6)
    metrics = [{"input_tokens": 0, "output_tokens": 3, "stream_index": n} for n in range(3)]
    assert counts(read(outputs, metrics)) == (0, 9, 9)


def test_cumulative_usage_is_not_added_up_and_a_chunk_is_not_a_token() -> None:
    batches = [["a"], ["b", "c"], ["d", "e", "", "f"]]
    outputs, total = [], 0
    for batch in batches:
        total += sum(map(bool, batch))
        outputs.append({"choices": [{"tokens": batch}], "usage": {"input": 9, "output": total}})
    assert counts(read(outputs)) == (9, 6, 6)


@pytest.mark.parametrize("end", ["\n\n", "\r\n\r\n", "\r\r"])
def test_events_are_counted_wherever_they_are_cut(end: str) -> None:
    text = completion(WORDS, end)
    for first in range(len(text)):
        assert counts(read([text[:first], text[first:]])) == (7, 5, 5), text[:first]


@given(st.lists(st.integers(0, 2000), max_size=12), st.booleans())
def test_events_are_counted_in_any_pieces(cuts: list[int], usage: bool) -> None:
    text = completion(WORDS, usage=usage)
    edges = [0, *sorted(cut % len(text) for cut in cuts), len(text)]
    parts = [text[a:b] for a, b in itertools.pairwise(edges)]
    assert counts(read(parts)) == (7 if usage else None, 5 if usage else None, 5)


def test_each_event_counts_when_it_is_whole() -> None:
    reader, text = TokenReader(), event(delta("a")) + event(delta("b"))
    assert [reader.add(Chunk(raw(each))) for each in text].count(1) == 2
    assert reader.add(Chunk(raw(event(delta("c")) * 3))) == 3


def test_usage_in_every_event_is_cumulative_too() -> None:
    text = "".join(
        event(delta("x", usage={"prompt_tokens": 4, "completion_tokens": n, "total_tokens": 4 + n}))
        for n in (1, 2, 3)
    )
    assert counts(read([text])) == (4, 3, 3)


@pytest.mark.parametrize(
    "choice",
    [
        {"delta": {"reasoning_content": "hm"}},
        {"delta": {"tool_calls": [{"function": {"arguments": "{"}}]}},
        {"text": "hm"},
        {"message": {"content": "hm"}},
    ],
)
def test_whatever_a_model_says_is_content(choice: dict[str, Any]) -> None:
    assert read([event({"choices": [choice]})]).pieces == 1


@pytest.mark.parametrize("before", [": ping\n\n", "\n", "event: message\n", "\ufeff", "id: 1\n", ": a\r\n: b\r\n"])
def test_comments_and_other_fields_of_events_are_no_content(before: str) -> None:
    text = before + completion(["a", "b"])
    assert counts(read([text])) == (7, 2, 2)
    assert counts(read(list(text))) == (7, 2, 2)


def test_an_event_without_its_blank_line_counts_at_the_end() -> None:
    assert counts(read([completion(["a"]) + event(delta("b"), "")])) == (7, 1, 2)


@pytest.mark.parametrize("outputs", [["Once", " upon"], ["d", "ata"], ["data", " ends"], [1, 2], [":)", "\nx"]])
def test_a_form_without_counts_has_pieces_and_no_tokens(outputs: list[Any]) -> None:
    reader = read(outputs)
    assert (reader.input_tokens, reader.output_tokens) == (None, None)
    assert 1 <= reader.pieces <= 2


def whole(output: Any) -> tuple[int | None, int | None]:
    reader = TokenReader()
    reader.add_result(raw(output))
    return reader.input_tokens, reader.output_tokens


@pytest.mark.parametrize(
    "output",
    [
        {"input_tokens": 7, "output_tokens": 5, "text": ["…"]},
        {
            "id": "chatcmpl-1",
            "choices": [{"message": {"content": "…"}}],
            "usage": {"prompt_tokens": 7, "completion_tokens": 5},
        },
        {"choices": [{"tokens": ["…"]}], "usage": {"input": 7, "output": 5}},
        {"object": "response", "usage": {"input_tokens": 7, "output_tokens": 5}},
        [{"choices": [{"tokens": ["a"]}], "usage": {"input": 7, "output": n}} for n in (1, 3, 5)],
        [{"text": ["a"], "input_tokens": 7 * (n == 0), "output_tokens": 1} for n in range(5)],
        [{"output": {"text": ["a"], "output_tokens": 9}, "metrics": {"input_tokens": 7, "output_tokens": 1}}] * 5,
        [{"output": {"input_tokens": 7, "output_tokens": 1}}] * 5,
        [completion(WORDS)[:100], completion(WORDS)[100:]],
        completion(WORDS),
        [{"usage": {"prompt_tokens": 7.0, "completion_tokens": "5"}, "choices": []}],
    ],
)
def test_a_whole_output_has_the_same_counts(output: Any) -> None:
    assert whole(output) == (7, 5)


@pytest.mark.parametrize(
    "output",
    [
        None,
        {},
        [],
        "data",
        "x" * 100,
        "data: nothing\n\n",
        {"output": {"output": {"output_tokens": 1}}},
        {"output_tokens": -1, "input_tokens": 10**20},
        {"usage": None, "choices": None},
        {"usage": [1], "choices": {"a": 1}},
        [[{"output_tokens": 1}]],
        {"choices": [None, 1, {"delta": [], "message": "x"}], "usage": {"completion_tokens": "many"}},
    ],
)
def test_what_reports_no_tokens_has_none(output: Any) -> None:
    assert whole(output) == (None, None)


@given(st.binary(max_size=60))
def test_any_bytes_are_read_without_an_error(body: bytes) -> None:
    reader = TokenReader()
    reader.add(Chunk(msgspec.Raw(body), msgspec.Raw(body)))
    reader.add_result(msgspec.Raw(b'"data: ' + body))
    assert reader.output_tokens is None or reader.output_tokens >= 0


def test_a_deep_output_is_read() -> None:
    deep = b'{"output":' * 5000 + b"1" + b"}" * 5000
    reader = TokenReader()
    reader.add_result(msgspec.Raw(deep))
    reader.add_result(msgspec.Raw(b"[" * 5000 + b"]" * 5000))
    assert reader.output_tokens is None
