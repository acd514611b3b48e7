"""The body of an OpenAI request, from the input of a job and the settings of its flow."""

from __future__ import annotations

from typing import Any

from msgspec import Raw

from loadtest.errors import ScenarioError
from loadtest.protocol.json_values import decode_json, encode_json
from loadtest.scenario.model import Flow


def openai_body(job_input: Any, flow: Flow) -> bytes:
    """Return the body that a job of the `openai` flow sends.

    A streamed answer ends with its `usage`, unless the input has `stream_options` of its own. Raises ScenarioError if
    the input is not an object.
    """
    body = decode_json(bytes(job_input)) if isinstance(job_input, Raw) else job_input
    if not isinstance(body, dict):
        raise ScenarioError("inputs: the body of an OpenAI request is an object; write {messages: [...]}")
    asked = {**({} if flow.model is None else {"model": flow.model}), **body, "stream": flow.stream}
    if flow.stream:
        asked.setdefault("stream_options", {"include_usage": True})
    return encode_json(asked)
