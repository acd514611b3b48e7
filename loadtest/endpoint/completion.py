"""What a simulated LLM is asked in a job's input, and the answer, in the forms of a worker of vLLM.

The forms of the input, and what the worker makes of them, are those of worker-vllm since July 2026.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from loadtest.endpoint.llm_settings import MAX_TOKENS, Llm
from loadtest.protocol.client_messages import INVALID, Chunk

CHAT, COMPLETIONS, MODELS = "/v1/chat/completions", "/v1/completions", "/v1/models"
_REQUIRED = {CHAT: "messages", COMPLETIONS: "prompt"}
_MISSING = "Job input must contain one of: openai_input (+openai_route), route (+body), or prompt/messages."


class Completion(msgspec.Struct, gc=False):
    """A request to a simulated LLM, and the length of its answer once it is drawn.

    `error` is set if the LLM refuses the request. Tokens of the text are numbered words.
    """

    route: str
    model: str
    stream: bool = False
    include_usage: bool = False
    input_tokens: int = 0
    min_tokens: int = 1
    max_tokens: int = MAX_TOKENS
    ignore_eos: bool = False
    error: str | None = None
    prefill_s: float = 0.0
    token_s: float = 0.0
    output_tokens: int = 0

    @property
    def service_s(self) -> float:
        """Return the time of the job alone, in seconds."""
        return self.prefill_s + max(0, self.output_tokens - 1) * self.token_s

    def draw(self, output_tokens: int) -> None:
        """Take over a drawn length, within the bounds of the request."""
        if self.error is None and self.route != MODELS:
            wanted = self.max_tokens if self.ignore_eos and self.max_tokens < MAX_TOKENS else output_tokens
            self.output_tokens = min(max(wanted, self.min_tokens), self.max_tokens)

    def chunks(self, job_id: str, created: int, first: int, end: int) -> list[Chunk]:
        """Return the chunks from index `first` up to but without `end`: one for each token, or the only document."""
        if self.stream:
            head = self._head(job_id, created)
            events = (self._events(head, index) for index in range(first, end))
            return [Chunk(msgspec.Raw(msgspec.json.encode(each))) for each in events]
        return [Chunk(msgspec.Raw(self._document(job_id, created)))] if first < end else []

    def output(self, job_id: str, created: int) -> msgspec.Raw:
        """Return the output of the completed job, the list of its chunks."""
        count = self.output_tokens if self.stream else 1
        return msgspec.Raw(msgspec.json.encode([each.output for each in self.chunks(job_id, created, 0, count)]))

    @property
    def _is_chat(self) -> bool:
        return self.route == CHAT

    def _id(self, job_id: str) -> str:
        return f"{'chatcmpl' if self._is_chat else 'cmpl'}-{job_id}"

    def _head(self, job_id: str, created: int) -> str:
        """Return the beginning of every event."""
        kind = "chat.completion.chunk" if self._is_chat else "text_completion"
        model = msgspec.json.encode(self.model).decode()
        return f'data: {{"id":"{self._id(job_id)}","object":"{kind}","created":{created},"model":{model},"choices":['

    def _events(self, head: str, index: int) -> str:
        """Return the events of a token, counted from 0: the role comes with the first, the end with the last."""
        last = index + 1 == self.output_tokens
        finish = f'"{self._finish_reason}"' if last else "null"
        text = f'"delta":{{"content":" {index + 1}"}}' if self._is_chat else f'"text":" {index + 1}"'
        events = f'{head}{{"index":0,{text},"logprobs":null,"finish_reason":{finish}}}]}}\n\n'
        if index == 0 and self._is_chat:
            role = '"delta":{"role":"assistant","content":""}'
            events = f'{head}{{"index":0,{role},"logprobs":null,"finish_reason":null}}]}}\n\n{events}'
        if last and self.include_usage:
            events += f'{head}],"usage":{msgspec.json.encode(self._usage).decode()}}}\n\n'
        return events + "data: [DONE]\n\n" if last else events

    def _document(self, job_id: str, created: int) -> bytes:
        if self.route == MODELS:
            model = {"id": self.model, "object": "model", "created": created, "owned_by": "loadtest"}
            return msgspec.json.encode({"object": "list", "data": [model]})
        text = "".join(f" {index + 1}" for index in range(self.output_tokens))
        content = {"message": {"role": "assistant", "content": text}} if self._is_chat else {"text": text}
        choice = {"index": 0, **content, "logprobs": None, "finish_reason": self._finish_reason}
        kind = "chat.completion" if self._is_chat else "text_completion"
        frame = {"id": self._id(job_id), "object": kind, "created": created, "model": self.model}
        return msgspec.json.encode({**frame, "choices": [choice], "usage": self._usage})

    @property
    def _finish_reason(self) -> str:
        return "length" if self.output_tokens == self.max_tokens else "stop"

    @property
    def _usage(self) -> dict[str, int]:
        return {
            "prompt_tokens": self.input_tokens,
            "total_tokens": self.input_tokens + self.output_tokens,
            "completion_tokens": self.output_tokens,
        }


def read_completion(job_input: msgspec.Raw, llm: Llm) -> Completion:
    """Return what a job's input asks of the LLM; it refuses an input that a worker of vLLM refuses."""
    try:
        asked = msgspec.json.decode(job_input)
    except INVALID:
        asked = None
    try:
        route, body = _request(asked if isinstance(asked, dict) else {})
        completion = _completion(route, body, llm.model)
    except ValueError as error:
        refusal = {"message": str(error), "type": "worker_error", "code": None}
        return Completion("", llm.model, error=str(refusal))  # as the vendor's SDK reports a dictionary
    completion.prefill_s = llm.overhead + llm.prefill * completion.input_tokens
    completion.token_s = llm.decode
    return completion


def _request(asked: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the route and the body of a request in any of its forms. Raises ValueError if it has none of them."""
    for name, parameter in (("openai_route", "openai_input"), ("route", "body")):
        body = asked.get(parameter)
        if asked.get(name) or (body and name == "openai_route"):
            return str(asked.get(name) or CHAT), body if isinstance(body, dict) else {}
    for route, parameter in _REQUIRED.items():
        if asked.get(parameter) is not None:
            sampling = asked.get("sampling_params")
            plain = {"stream": bool(asked.get("stream", False)), parameter: asked[parameter]}
            return route, {**(sampling if isinstance(sampling, dict) else {}), **plain}
    raise ValueError(_MISSING)


def _completion(route: str, body: dict[str, Any], model: str) -> Completion:
    """Return what a request asks for. Raises ValueError if the server behind a worker of vLLM refuses it."""
    if route == MODELS:
        return Completion(route, model)
    if route not in _REQUIRED:
        raise ValueError("vLLM returned HTTP 404: Not Found")
    required = body.get(_REQUIRED[route])
    if required is None:
        raise ValueError(f"vLLM returned HTTP 400: {_REQUIRED[route]}: field required")
    if body.get("n") not in (None, 1):
        raise ValueError("vLLM returned HTTP 400: n: the simulated LLM gives one choice")
    options = body.get("stream_options")
    return Completion(
        route,
        str(body.get("model") or model),
        stream=body.get("stream") is True,
        include_usage=isinstance(options, dict) and options.get("include_usage") is True,
        input_tokens=_words(required),
        min_tokens=_count(body, ("min_tokens",), 1),
        max_tokens=_count(body, ("max_completion_tokens", "max_tokens"), MAX_TOKENS),
        ignore_eos=body.get("ignore_eos") is True,
    )


def _words(value: object) -> int:
    """Return the words in a prompt or in messages; a number in a list is a token."""
    match value:
        case str():
            return len(value.split())
        case list():
            return sum(map(_words, value))
        case dict():
            return _words(value.get("content", value.get("text")))
        case int():
            return 1
    return 0


def _count(body: dict[str, Any], names: Sequence[str], default: int) -> int:
    """Return the first of these parameters that is given. Raises ValueError unless it is a number of tokens."""
    for name in names:
        value = body.get(name)
        if value is not None:
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ValueError(f"vLLM returned HTTP 400: {name} must be at least 1")
            return min(value, MAX_TOKENS)
    return default
