"""Chunks that become readable at their times."""

from __future__ import annotations

import msgspec

from loadtest.endpoint.endpoint import Endpoint
from loadtest.endpoint.job import Job, to_response
from loadtest.endpoint.settings import EndpointSettings
from loadtest.protocol.operations import JobState, Op


def endpoint(**settings: object) -> Endpoint:
    settings = {
        "workers": {"active": 1, "max": 1},
        "chunks": {"count": 3, "first": "1s", "gap": "250ms", "tokens": 4},
        **settings,
    }
    return Endpoint(EndpointSettings.model_validate(settings), 1, 0.0)


def indexes(model: Endpoint, job: Job, at: float) -> list[int]:
    chunks = model.read_stream(job.id, at)
    assert chunks is not None
    return [msgspec.json.decode(chunk.metrics)["stream_index"] for chunk in chunks]


def test_each_chunk_is_read_once_from_its_time_on() -> None:
    model = endpoint()
    job = model.submit(Op.RUN, 0.0)
    assert indexes(model, job, 0.999) == []
    assert job.next_chunk_at() == 1.0
    assert indexes(model, job, 1.0) == [1]
    assert indexes(model, job, 1.2) == []
    assert indexes(model, job, 1.5) == [2, 3]
    assert job.next_chunk_at() is None
    assert job.state is JobState.COMPLETED
    assert indexes(model, job, 2.0) == []


def test_the_output_is_the_list_of_the_chunks_outputs_and_the_time_is_theirs() -> None:
    model = endpoint()
    job = model.submit(Op.RUN, 0.0)
    model.advance(5.0)
    assert to_response(job).execution_ms == 1500
    assert msgspec.json.decode(to_response(job).output) == [
        {"text": [f" {index}"], "output_tokens": 4, "input_tokens": 0} for index in (1, 2, 3)
    ]


def test_a_chunk_has_the_documented_metrics() -> None:
    model = endpoint()
    job = model.submit(Op.RUN, 0.0)
    chunks = model.read_stream(job.id, 1.0)
    assert chunks is not None
    metrics = msgspec.json.decode(chunks[0].metrics)
    assert set(metrics) == {
        "avg_gen_throughput",
        "avg_prompt_throughput",
        "cpu_kv_cache_usage",
        "gpu_kv_cache_usage",
        "input_tokens",
        "output_tokens",
        "pending",
        "running",
        "scenario",
        "stream_index",
        "swapped",
    }
    assert metrics["output_tokens"] == 4
    assert msgspec.json.decode(chunks[0].output) == {"text": [" 1"], "output_tokens": 4, "input_tokens": 0}


def test_a_job_that_was_cancelled_sends_no_more_chunks() -> None:
    model = endpoint()
    job = model.submit(Op.RUN, 0.0)
    model.cancel(job.id, 1.1)
    assert job.next_chunk_at() == 1.0
    assert indexes(model, job, 9.0) == [1]
    assert job.next_chunk_at() is None


def test_a_waiting_job_has_no_chunk_yet_and_one_without_chunks_never() -> None:
    model = endpoint()
    model.submit(Op.RUN, 0.0)
    waiting = model.submit(Op.RUN, 0.0)
    assert indexes(model, waiting, 1.0) == []
    assert waiting.next_chunk_at() is None
    plain = endpoint(chunks=None, service="1s")
    job = plain.submit(Op.RUN, 0.0)
    assert plain.read_stream(job.id, 5.0) == []
    assert plain.read_stream("no such job", 5.0) is None
