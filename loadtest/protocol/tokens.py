"""How many tokens an output has, in every form in which workers send them, whole or chunk by chunk.

The forms are in docs/reference/wire-protocol.md: counts for each chunk, lists of tokens with a cumulative `usage`,
server-sent events of the OpenAI API cut anywhere, and OpenAI documents.
"""

from __future__ import annotations

import re
from typing import Any, TypeVar

import msgspec

from loadtest.protocol.client_messages import ABSENT, INVALID, Chunk, number_or_none
from loadtest.protocol.outer_json import outer_elements, outer_members
from loadtest.protocol.server_events import DONE

T = TypeVar("T", bound=msgspec.Struct)
_EVENT_FIELDS = ("data:", "event:", "id:", "retry:")
_ESCAPED_PREFIX = re.compile(r"^(?:\\n|\\r|\\ufeff|\ufeff)+")
_BEFORE_FIELDS = re.compile(r"(?:[\ufeff\r\n]|:[^\r\n]*[\r\n])*")
"""Blank lines and comments."""
_LINE_END = re.compile(r"\r\n|\n|\r")
_BLANK_LINE = re.compile(r"\r\n\r\n|\n\n|\r\r(?!\n)")
_UNDERSCORE, _G, _BACKSLASH = b"_g\\"
_CONTENT_KEYS = ("content", "reasoning_content", "reasoning", "tool_calls", "function_call", "refusal")


class _Document(msgspec.Struct, gc=False):
    """The members of an output, or of a chunk of one, that say something about tokens."""

    input_tokens: msgspec.Raw = ABSENT
    output_tokens: msgspec.Raw = ABSENT
    usage: msgspec.Raw = ABSENT
    choices: msgspec.Raw = ABSENT
    output: msgspec.Raw = ABSENT
    metrics: msgspec.Raw = ABSENT


class _Usage(msgspec.Struct, gc=False):
    """Cumulative token counts of an output, by the names of OpenAI, of its newer API, and of older workers."""

    prompt_tokens: msgspec.Raw = ABSENT
    completion_tokens: msgspec.Raw = ABSENT
    input_tokens: msgspec.Raw = ABSENT
    output_tokens: msgspec.Raw = ABSENT
    input: msgspec.Raw = ABSENT
    output: msgspec.Raw = ABSENT


class TokenReader:
    """Counts the tokens of one job's output while its chunks come.

    `input_tokens` and `output_tokens` are None as long as the worker has not reported them: a chunk is not a token.
    `pieces` counts what came with content: the tokens of a chunk with counts or with a list of tokens, else events or
    chunks. If it equals `output_tokens`, the time of each token is known.
    """

    def __init__(self) -> None:
        self.input_tokens: int | None = None
        self.output_tokens: int | None = None
        self.pieces = 0
        self._text = ""
        self._is_events: bool | None = None

    def __repr__(self) -> str:
        return f"<TokenReader in {self.input_tokens} out {self.output_tokens} pieces {self.pieces}>"

    def add(self, chunk: Chunk) -> int:
        """Count the tokens of a chunk; return how many pieces of content came with it."""
        before = self.pieces
        if not (chunk.metrics and self._add_counts(_read(chunk.metrics, _Document))):
            self._add_output(bytes(chunk.output))
        return self.pieces - before

    def add_event(self, data: bytes) -> int:
        """Count the tokens of the data of a whole server-sent event; return how many pieces of content it has."""
        before = self.pieces
        if data and data != DONE:
            self._add_document(_read(data, _Document))
        return self.pieces - before

    def add_result(self, output: msgspec.Raw) -> None:
        """Count the tokens of a whole output, as `/status` shows it: a document, or a list of all chunks."""
        self._add_output(bytes(output))
        self.end()

    def end(self) -> None:
        """Count what is left of text that was cut: no more of it will come."""
        if self._is_events:
            self._add_events(self._text + "\n\n")
        elif self._is_events is None and self._text:
            self.pieces += 1
        self._text = ""

    def _add_output(self, raw: bytes) -> None:
        elements = outer_elements(raw) if raw.startswith(b"[") else None
        for each in [raw] if elements is None else elements:
            if each.startswith(b'"'):
                self._add_text(each)
            elif each.startswith(b"{"):
                self._add_object(_read(each, _Document))
            elif each not in (b"null", b""):
                self.pieces += 1

    def _add_object(self, frame: _Document) -> None:
        """Count an object of an output: a chunk in the frame of `/stream`, or a document."""
        inner = b"" if frame.choices else bytes(frame.output)
        if frame.metrics and self._add_counts(_read(frame.metrics, _Document)):
            return
        if inner.startswith(b'"'):
            self._add_text(inner)
        else:
            self._add_document(_read(inner, _Document) if inner.startswith(b"{") else frame)

    def _add_document(self, document: _Document) -> None:
        """Count one document: counts of its own, or its choices and the usage until it."""
        if self._add_counts(document):
            return
        if document.usage:
            self._add_usage(_read(document.usage, _Usage))
        if document.choices:
            self.pieces += sum(map(_pieces, _decoded_list(document.choices)))
        elif not document.usage:
            self.pieces += 1

    def _add_counts(self, of: _Document) -> bool:
        """Count the tokens that a chunk says it has of its own; return whether it says so."""
        new, prompt = number_or_none(of.output_tokens), number_or_none(of.input_tokens)
        if new is not None:
            self.output_tokens = (self.output_tokens or 0) + new
            self.pieces += new
        self._add_prompt(prompt)
        return new is not None

    def _add_usage(self, usage: _Usage) -> None:
        """Take over cumulative counts, which are not added up."""
        so_far = _first_number(usage.completion_tokens, usage.output_tokens, usage.output)
        if so_far is not None:
            self.output_tokens = max(self.output_tokens or 0, so_far)
        self._add_prompt(_first_number(usage.prompt_tokens, usage.input_tokens, usage.input))

    def _add_prompt(self, tokens: int | None) -> None:
        if tokens is not None:
            self.input_tokens = max(self.input_tokens or 0, tokens)

    def _add_text(self, raw: bytes) -> None:
        """Count a chunk that is text: server-sent events, which may be cut anywhere, or content of its own."""
        if self._is_events is None and not self._text and not _may_be_events(raw):
            self._is_events = False
        if self._is_events is False:
            self.pieces += raw != b'""'
            return
        try:
            self._text += msgspec.json.decode(raw, type=str)
        except INVALID:
            self.pieces += 1
            return
        if self._is_events is None:
            self._is_events = _is_events(self._text)
            if self._is_events is False:
                self.pieces += 1
        if self._is_events:
            self._add_events(self._text)

    def _add_events(self, text: str) -> None:
        """Count each event that has ended, and keep the rest for the next chunk."""
        *events, self._text = _BLANK_LINE.split(text)
        for event in events:
            lines = [line for line in _LINE_END.split(event) if line.startswith("data:")]
            data = "\n".join(line.removeprefix("data:") for line in lines).strip()
            self.add_event(data.encode())


def may_have_counts(output: bytes) -> bool:
    """Return whether an output may say how many tokens it has; most do not, and need not be read for that."""
    # A look for one byte costs a tenth of one for a word, and most short outputs lack it.
    return (
        (_UNDERSCORE in output and b"_tokens" in output)
        or (_G in output and b"usage" in output)
        or (_BACKSLASH in output and b"\\u" in output)
    )


def _may_be_events(raw: bytes) -> bool:
    """Return whether a JSON string may begin server-sent events, without decoding all of a long one."""
    begin = _ESCAPED_PREFIX.sub("", raw[1:40].decode("utf-8", "replace")).removesuffix('"')
    return any(begin.startswith(name) or name.startswith(begin) for name in (*_EVENT_FIELDS, ":"))


def _is_events(text: str) -> bool | None:
    """Return whether text is server-sent events; None if too little of it has come."""
    begin = _BEFORE_FIELDS.sub("", text, count=1)
    if begin.startswith(_EVENT_FIELDS):
        return True
    return None if begin.startswith(":") or any(name.startswith(begin) for name in _EVENT_FIELDS) else False


def _pieces(choice: Any) -> int:
    """Return how many pieces of content a choice has: its tokens if it lists them, else one if it has any content."""
    if not isinstance(choice, dict):
        return 0
    if isinstance(choice.get("tokens"), list):
        return sum(bool(token) for token in choice["tokens"])
    part = choice.get("delta") or choice.get("message") or {}
    has_content = isinstance(part, dict) and any(part.get(key) for key in _CONTENT_KEYS)
    return int(has_content or bool(choice.get("text")))


def _read(raw: bytes | msgspec.Raw, kind: type[T]) -> T:
    """Return the members of an object that this kind has; none of them of anything else."""
    try:
        return msgspec.json.decode(raw, type=kind)
    except INVALID:
        members = outer_members(bytes(raw)) or {}
    names = kind.__struct_fields__
    return kind(**{name: msgspec.Raw(members[key]) for name in names if (key := name.encode()) in members})


def _first_number(*written: msgspec.Raw) -> int | None:
    return next((n for each in written if (n := number_or_none(each)) is not None), None)


def _decoded_list(raw: msgspec.Raw) -> list[Any]:
    try:
        return msgspec.json.decode(raw, type=list[Any])
    except INVALID:
        return []
