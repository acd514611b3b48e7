"""The OpenAI route: the job that a request becomes, and the answer that the worker's output becomes.

A worker sends its answer as server-sent events in text, cut anywhere, or as documents; facts are in
docs/reference/wire-protocol.md.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from loadtest.errors import InvalidResponse
from loadtest.protocol.client_messages import ABSENT, INVALID, Submission
from loadtest.protocol.error_text import error_text
from loadtest.protocol.outer_json import BOM, outer_elements, outer_members

OPENAI_PREFIX = "openai/v1/"
"""The beginning of the paths of the route, after the endpoint's id."""
_DONE = b"data: [DONE]\n\n"
_DONE_LINES = (b"data: [DONE]", b"data:[DONE]")
_TAIL_BYTES = 32
_NULLS = (b"", b"null", b"false", b'""')


class OpenAiInput(msgspec.Struct, frozen=True):
    """The input of a job of the OpenAI route; a request without a body has an empty one."""

    openai_route: str
    openai_input: msgspec.Raw


class _Request(msgspec.Struct):
    """The member of a request that decides how it is answered."""

    stream: msgspec.Raw = ABSENT


class OpenAiError(msgspec.Struct, frozen=True):
    """An error as clients of the OpenAI API read it."""

    message: str
    type: str
    code: str
    param: str | None = None


def openai_submission(route: str, body: bytes) -> tuple[Submission, bool]:
    """Return the job of a request, and whether its answer is streamed; raises InvalidResponse if it is not an object.

    `route` is the path after the prefix, and `body` is empty if the request has none.
    """
    body = body.removeprefix(BOM).strip() or b"{}"
    try:
        request = msgspec.json.decode(body, type=_Request)
        job_input = msgspec.json.encode(OpenAiInput(f"/v1/{route}", msgspec.Raw(body)))
    except INVALID as error:
        raise InvalidResponse(str(error)) from None
    return Submission(msgspec.Raw(job_input)), bytes(request.stream) == b"true"


def error_document(error: msgspec.Raw, state: str) -> bytes:
    """Return the error document of a job that ended in another state than COMPLETED."""
    message = error_text(bytes(error)) if error else f"the job ended {state}"
    return msgspec.json.encode({"error": OpenAiError(message, "server_error", state)})


def is_error(output: bytes | msgspec.Raw) -> bool:
    """Return whether a worker's output is an error document."""
    members = outer_members(bytes(output)) or {}
    return members.get(b"error", b"") not in _NULLS


def whole_answer(outputs: Sequence[msgspec.Raw], result: msgspec.Raw) -> bytes | None:
    """Return the answer to a request that is not streamed: one document as the worker gave it, as text or as JSON.

    It is in the only one of the chunks, or in the job's result, which may be a list of all chunks; None if the worker
    gave none.
    """
    parts = [bytes(each) for each in outputs]
    if not parts:
        elements = outer_elements(bytes(result))
        parts = [bytes(result)] if elements is None else elements
    parts = [part for part in parts if part not in (b"", b"null")]
    if all(part.startswith(b'"') for part in parts):
        return b"".join(_text(part) for part in parts) or None
    return parts[0] if len(parts) == 1 else b"[" + b",".join(parts) + b"]"


class EventText:
    """The events of a streamed answer, as text, made of the worker's chunks as they come.

    Text is handed on as it is, wherever it was cut; of a document, or each document of a list, an event is made.
    """

    def __init__(self) -> None:
        self._tail = b""

    def __repr__(self) -> str:
        return f"<EventText …{self._tail!r}>"

    def add(self, output: msgspec.Raw) -> bytes:
        """Return the text of a chunk."""
        raw = bytes(output)
        if raw.startswith(b'"'):
            text = _text(raw)
        else:
            elements = outer_elements(raw) if raw.startswith(b"[") else None
            text = b"".join(map(_event, [raw] if elements is None else elements))
        self._tail = (self._tail + text)[-_TAIL_BYTES:]
        return text

    def end(self) -> bytes:
        """Return what is left to send after the last chunk: the mark of the end, unless the worker sent it."""
        return self._blank_line() + (b"" if self._tail.rstrip().endswith(_DONE_LINES) else _DONE)

    def fail(self, document: bytes) -> bytes:
        """Return what is left to send if the answer ends in an error."""
        return self._blank_line() + b"data: " + document + b"\n\n" + _DONE

    def _blank_line(self) -> bytes:
        """Return what ends an event that the worker's text left open."""
        normal = self._tail.replace(b"\r\n", b"\n")
        return b"" if not normal or normal.endswith(b"\n\n") else b"\n" if normal.endswith(b"\n") else b"\n\n"


def _event(raw: bytes) -> bytes:
    """Return an event of a document; text is events already."""
    return _text(raw) if raw.startswith(b'"') else b"data: " + raw.replace(b"\n", b" ") + b"\n\n"


def _text(raw: bytes) -> bytes:
    """Return the text of a JSON string; as it is written if it has no text, as half of a surrogate pair has none."""
    try:
        return msgspec.json.decode(raw, type=str).encode()
    except INVALID:
        return raw
