"""The OpenAI route with the official client and with curl: a simulated LLM, and a handler in real SDK workers."""

from __future__ import annotations

import asyncio
import json
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from openai import AsyncOpenAI, OpenAI

from tests.integration.conftest import KEY, Serve, Served, wait_for

HANDLER = Path(__file__).parents[1] / "handlers" / "openai_worker.py"
SIMULATED: dict[str, Any] = {
    "workers": {"active": 1, "max": 1, "concurrency": 8},
    "llm": {"model": "tiny", "prefill": "10ms", "decode": "120ms", "output_tokens": 5},
}
CHAT: dict[str, Any] = {"model": "tiny", "messages": [{"role": "user", "content": "hello"}]}
TEXTS = {"simulated": " 1 2 3 4 5", "handler": "één twee drie "}
USAGE: dict[str, Any] = {"stream_options": {"include_usage": True}}


@pytest.fixture(scope="module")
def servers(serve_module: Serve, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Served]:
    workers = {"active": 1, "max": 1}
    logs = tmp_path_factory.mktemp("logs")
    handler = serve_module({"workers": workers}, handler=str(HANDLER), logs=str(logs))
    simulated = serve_module(SIMULATED)
    wait_for(lambda: "ready: 1 active workers\n" in handler.process.stdout)
    return {"simulated": simulated, "handler": handler}


@pytest.fixture(params=["simulated", "handler"])
def worker(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def options(served: Served, key: str = KEY) -> dict[str, Any]:
    return {"base_url": f"{served.url}/openai/v1", "api_key": key, "max_retries": 0, "timeout": 20}


@pytest.fixture
def client(servers: dict[str, Served], worker: str) -> Iterator[OpenAI]:
    with OpenAI(**options(servers[worker])) as client:
        yield client


@pytest.fixture
def simulated(servers: dict[str, Served]) -> Iterator[OpenAI]:
    with OpenAI(**options(servers["simulated"])) as client:
        yield client


@pytest.fixture
def handler(servers: dict[str, Served]) -> Iterator[OpenAI]:
    with OpenAI(**options(servers["handler"])) as client:
        yield client


def text_of(chunks: list[Any]) -> str:
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


def test_chat_gives_a_document_or_its_parts(client: OpenAI, worker: str) -> None:
    whole = client.chat.completions.create(**CHAT)
    assert (whole.choices[0].message.content or "").strip() == TEXTS[worker].strip()
    assert whole.usage is not None
    chunks = list(client.chat.completions.create(**CHAT, **USAGE, stream=True))
    assert text_of(chunks) == TEXTS[worker]
    assert chunks[-1].usage == whole.usage
    assert whole.usage.completion_tokens == len(TEXTS[worker].split())


def test_the_async_client_gets_the_same_from_several_requests_at_once(
    servers: dict[str, Served], worker: str
) -> None:
    async def both() -> tuple[list[str], list[str | None]]:
        async with AsyncOpenAI(**options(servers[worker])) as client:

            async def streamed() -> str:
                stream = await client.chat.completions.create(**CHAT, stream=True)
                return text_of([chunk async for chunk in stream])

            wholes = [client.chat.completions.create(**CHAT) for _ in range(3)]
            texts, documents = await asyncio.gather(
                asyncio.gather(*(streamed() for _ in range(3))), asyncio.gather(*wholes)
            )
            return texts, [each.choices[0].message.content for each in documents]

    texts, contents = asyncio.run(both())
    assert texts == [TEXTS[worker]] * 3
    assert [(each or "").strip() for each in contents] == [TEXTS[worker].strip()] * 3


def test_the_models_are_listed(client: OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["tiny"]


def test_completions_give_a_document_or_its_parts(simulated: OpenAI) -> None:
    whole = simulated.completions.create(model="any", prompt="a b c", max_tokens=2)
    assert (whole.model, whole.choices[0].text, whole.choices[0].finish_reason) == ("any", " 1 2", "length")
    parts = list(simulated.completions.create(model="any", prompt="a b c", max_tokens=2, stream=True))
    assert [part.choices[0].text for part in parts] == [" 1", " 2"]


def test_tokens_arrive_one_by_one_at_the_times_of_the_journal(servers: dict[str, Served], simulated: OpenAI) -> None:
    arrived, ids = [], set()
    for chunk in simulated.chat.completions.create(**CHAT, stream=True):
        ids.add(chunk.id)
        if chunk.choices[0].delta.content:
            arrived.append(time.time())
    (job_id,) = (each.removeprefix("chatcmpl-") for each in ids)
    wait_for(lambda: any(job["id"] == job_id for job in servers["simulated"].jobs()))
    (job,) = (job for job in servers["simulated"].jobs() if job["id"] == job_id)
    late_s = [at - came_at for at, came_at in zip(arrived, job["chunks_at"], strict=True)]
    assert min(late_s) > -0.001  # a float of epoch seconds, and no less
    assert min(late_s) < 0.03  # the others may wait for a busy machine
    assert arrived[-1] - arrived[0] > 3 * 0.04


def test_documents_that_a_handler_yields_become_events(handler: OpenAI) -> None:
    chunks = list(handler.chat.completions.create(**CHAT, stream=True, user="documents"))
    assert text_of(chunks) == TEXTS["handler"]


def test_a_job_that_fails_is_an_error_before_and_after_its_first_chunk(client: OpenAI, worker: str) -> None:
    with pytest.raises(openai.InternalServerError, match="worker_error") as refused:
        client.post("/chat/completions", cast_to=object, body={"stream": True})
    assert refused.value.code == "FAILED"
    if worker == "handler":
        stream = client.chat.completions.create(**CHAT, stream=True, user="fails")
        with pytest.raises((openai.APIError, json.JSONDecodeError)):
            list(stream)


def test_refusals_are_the_services_own(servers: dict[str, Served], simulated: OpenAI) -> None:
    with pytest.raises(openai.AuthenticationError):
        OpenAI(**options(servers["simulated"], "wrong")).models.list()
    with pytest.raises(openai.BadRequestError) as refused:
        simulated.post("/chat/completions", cast_to=object, body=[1])
    assert refused.value.response.json()["detail"] == "bad request: body: Expected `object`, got `array`"
    with pytest.raises(openai.APIStatusError) as no_method:
        simulated.delete("/models", cast_to=object)
    assert (no_method.value.status_code, no_method.value.response.headers["allow"]) == (405, "GET, POST")
    with httpx.Client(base_url=servers["simulated"].url, headers={"Authorization": f"Bearer {KEY}"}) as plain:
        assert plain.post("/openai/v1/", json={}).status_code == plain.post("/openai", json={}).status_code == 404


def test_the_route_has_a_limit_of_its_own(serve_module: Serve) -> None:
    kept = {"runsync": "0s"}  # an answer is whole although its result is not kept
    slow = {**SIMULATED, "llm": {**SIMULATED["llm"], "decode": "400ms"}}
    served = serve_module({**slow, "limits": {"openai": "2 per 60 s, 1 at once"}, "retention": kept})
    with OpenAI(**options(served)) as client:
        stream = client.chat.completions.create(**CHAT, stream=True)
        next(stream)
        with pytest.raises(openai.RateLimitError):
            client.models.list()  # the answer that is still being sent counts
        assert len(list(stream)) == 5  # the first one had the role
        assert client.models.list().data
        with pytest.raises(openai.RateLimitError) as refused:
            client.models.list()
        assert 1 < int(refused.value.response.headers["retry-after"]) <= 60
    with httpx.Client(base_url=served.url, headers={"Authorization": f"Bearer {KEY}"}) as plain:
        assert plain.post("/run", json={"input": {"prompt": "a"}}).status_code == 200
    served.stop()
    assert [line["status"] for line in served.requests() if line["op"] == "openai"] == [429, 200, 200, 429]
    assert len(served.jobs()) == 3  # none of a refused request


def test_a_client_that_leaves_does_not_end_its_job(servers: dict[str, Served], simulated: OpenAI) -> None:
    stream = simulated.chat.completions.create(**CHAT, stream=True)
    job_id = next(stream).id.removeprefix("chatcmpl-")
    stream.close()
    served = servers["simulated"]
    wait_for(lambda: any(job["id"] == job_id for job in served.jobs()))
    (job,) = (job for job in served.jobs() if job["id"] == job_id)
    assert (job["status"], len(job["chunks_at"])) == ("COMPLETED", 5)
    wait_for(lambda: any(line["op"] == "openai" and line["status"] is None for line in served.requests()))


def test_an_answer_whose_worker_dies_ends_in_an_error(serve_module: Serve) -> None:
    dying = {**SIMULATED, "crash_rate": "100 %", "tries": 3, "cold_start": "100ms"}
    served = serve_module({**dying, "llm": {"prefill": "0s", "decode": "20ms", "output_tokens": 5}})
    with OpenAI(**options(served)) as client:
        with pytest.raises(openai.APIError, match="the worker was lost after it had sent a part of its answer"):
            list(client.chat.completions.create(**CHAT, stream=True))
        with pytest.raises(openai.InternalServerError, match="the worker died, as often as such a job is tried"):
            client.chat.completions.create(**CHAT)


def test_answers_end_when_the_endpoint_shuts_down(serve_module: Serve) -> None:
    served = serve_module({**SIMULATED, "llm": {"prefill": "0s", "decode": "20s", "output_tokens": 5}})
    with OpenAI(**options(served)) as client, ThreadPoolExecutor() as pool:
        whole = pool.submit(client.chat.completions.create, **CHAT)
        stream = client.chat.completions.create(**CHAT, stream=True)
        next(stream)
        health = {"url": f"{served.url}/health", "headers": {"Authorization": KEY}}
        wait_for(lambda: httpx.get(**health).json()["jobs"]["inProgress"] == 2)
        assert served.stop() == 0
        with pytest.raises(openai.APIError, match="the endpoint is shutting down"):
            list(stream)
        with pytest.raises(openai.InternalServerError, match="503"):
            whole.result()


def test_run_and_stream_have_the_same_text(servers: dict[str, Served], worker: str) -> None:
    asked = {"openai_route": "/v1/chat/completions", "openai_input": {**CHAT, "stream": True}}
    with httpx.Client(base_url=servers[worker].url, headers={"Authorization": f"Bearer {KEY}"}, timeout=20) as plain:
        before = plain.get("/health").json()["jobs"]["completed"]
        job_id = plain.post("/run", json={"input": asked}).json()["id"]
        chunks, status = [], ""
        while status != "COMPLETED" or chunks[-1]:
            said = plain.get(f"/stream/{job_id}").json()
            status, chunks = said["status"], [*chunks, "".join(each["output"] for each in said["stream"])]
        whole = plain.get(f"/status/{job_id}").json()["output"]
        assert plain.get("/health").json()["jobs"]["completed"] == before + 1
    assert "".join(whole) == "".join(chunks)
    events = [line.removeprefix("data: ") for line in "".join(whole).splitlines() if line]
    assert events.pop() == "[DONE]"
    content = [json.loads(event)["choices"][0]["delta"].get("content", "") for event in events]
    assert "".join(content) == TEXTS[worker]


def test_curl_gets_events_and_documents(servers: dict[str, Served], worker: str) -> None:
    def curl(route: str, *arguments: str) -> str:
        line = ["curl", "-sSN", f"{servers[worker].url}/openai/v1/{route}", "-H", f"Authorization: Bearer {KEY}"]
        return subprocess.run([*line, *arguments], capture_output=True, text=True, timeout=20, check=True).stdout

    said = curl(
        "chat/completions", "-i", "-H", "Content-Type: application/json", "-d", json.dumps({**CHAT, "stream": True})
    )
    head, _, events = said.partition("\n\n")
    assert "content-type: text/event-stream; charset=utf-8" in head
    assert events.endswith("data: [DONE]\n\n")
    assert json.loads(curl("chat/completions", "-d", json.dumps(CHAT)))["object"] == "chat.completion"
    assert json.loads(curl("models"))["object"] == "list"
