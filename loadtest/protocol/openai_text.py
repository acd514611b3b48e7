"""The text of an output, in the forms in which workers send it, and the document of a streamed OpenAI answer."""

from __future__ import annotations

from typing import Any

import msgspec

from loadtest.protocol.client_messages import INVALID
from loadtest.protocol.server_events import DONE, events


def output_text(output: Any) -> str:
    """Return the text of an output: of a string or a list of them, of OpenAI documents and events, else its JSON."""
    match output:
        case str():
            return _events_text(output) if output.lstrip().startswith("data:") else output
        case list() if output and all(isinstance(each, str) for each in output):
            return output_text("".join(output))
        case list():
            return "".join(map(output_text, output))
        case {"choices": list(choices)}:
            return "".join(map(_choice_text, choices))
        case {"output": inner}:
            return output_text(inner)
        case {"text": str() | list() as inner}:
            return output_text(inner)
        case _:
            return msgspec.json.encode(output).decode()


def _choice_text(choice: Any) -> str:
    match choice:
        case {"text": str(text)} | {"message": {"content": str(text)}} | {"delta": {"content": str(text)}}:
            return text
        case {"tokens": list(tokens)}:
            return "".join(map(str, tokens))
        case _:
            return ""


def _events_text(text: str) -> str:
    """Return the text of server-sent events."""
    documents = (_decoded(data) for data, _ in events(text.encode()) if data != DONE)
    return "".join(output_text(each) for each in documents if isinstance(each, dict) and "choices" in each)


def joined_document(events: list[bytes]) -> bytes:
    """Return the document that a streamed OpenAI answer would have been if it had not been streamed.

    It has the members of the first event, the text and the finish reason of each choice, and the last usage.
    """
    whole: dict[str, Any] = {}
    choices: dict[int, dict[str, Any]] = {}
    for event in filter(lambda each: isinstance(each, dict), map(_decoded, events)):
        usage = event.pop("usage", None)
        for part in event.pop("choices", None) or []:
            if isinstance(part, dict):
                _join(choices.setdefault(part.get("index") or 0, {"index": part.get("index") or 0}), part)
        whole = {**event, **whole} if usage is None else {**event, **whole, "usage": usage}
    return msgspec.json.encode({**whole, "choices": [choices[index] for index in sorted(choices)]})


def _join(choice: dict[str, Any], part: dict[str, Any]) -> None:
    if part.get("finish_reason") is not None:
        choice["finish_reason"] = part["finish_reason"]
    if isinstance(part.get("text"), str):
        choice["text"] = choice.get("text", "") + part["text"]
    delta = part.get("delta")
    if isinstance(delta, dict):
        message = choice.setdefault("message", {"role": "assistant", "content": ""})
        for key, value in delta.items():
            is_more = isinstance(value, str) and key != "role"
            message[key] = (message.get(key) or "") + value if is_more else value or message.get(key)


def _decoded(raw: bytes) -> Any:
    try:
        return msgspec.json.decode(raw)
    except INVALID:
        return None
