"""A handler like that of a worker of vLLM: an OpenAI API in jobs, streamed as events in text that is cut anywhere."""

import asyncio
import json

import runpod

CUT = 37
FRAME = {"id": "chatcmpl-1", "created": 1, "model": "tiny"}


def document(text, body):
    prompt, words = len(body["messages"]), len(text.split())
    usage = {"prompt_tokens": prompt, "completion_tokens": words, "total_tokens": prompt + words}
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    return {**FRAME, "object": "chat.completion", "choices": [choice], "usage": usage}


def events(text, body):
    for word in text.split(" "):
        choice = {"index": 0, "delta": {"content": f"{word} "}, "finish_reason": None}
        yield {**FRAME, "object": "chat.completion.chunk", "choices": [choice]}
    if (body.get("stream_options") or {}).get("include_usage"):
        yield {**FRAME, "object": "chat.completion.chunk", "choices": [], "usage": document(text, body)["usage"]}


async def handler(job):
    body = job["input"]["openai_input"]
    if job["input"]["openai_route"] == "/v1/models":
        yield {"object": "list", "data": [{"id": "tiny", "object": "model", "created": 1, "owned_by": "me"}]}
        return
    if "messages" not in body:
        yield {"error": {"message": "no messages", "type": "worker_error", "code": None}}
        return
    text = "één twee drie"
    if not body.get("stream"):
        yield document(text, body)
        return
    chunks = list(events(text, body))
    if body.get("user") == "documents":
        for chunk in chunks:
            yield chunk
        return
    raw = "".join(f"data: {json.dumps(chunk, ensure_ascii=False)}\n\n" for chunk in chunks) + "data: [DONE]\n\n"
    for first in range(0, len(raw), CUT):
        yield raw[first : first + CUT]
        await asyncio.sleep(0.01)
        if body.get("user") == "fails":
            raise RuntimeError("out of memory")


options = {"concurrency_modifier": lambda _: 8, "return_aggregate_stream": True}
runpod.serverless.start({"handler": handler, **options})
