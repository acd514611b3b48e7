"""The simulated LLM: its times by the jobs in hand, its answers in each form, and what it refuses."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
from pydantic import ValidationError

from loadtest.endpoint.endpoint import Endpoint
from loadtest.endpoint.job import Job, to_response
from loadtest.endpoint.settings import EndpointSettings
from loadtest.protocol.client_messages import Submission
from loadtest.protocol.operations import JobState, Op
from loadtest.protocol.tokens import TokenReader

# Qwen3-8B on an RTX 4090 with vLLM, 16 output tokens: jobs in hand, latency in s, time to first token in ms.
MEASURED = {
    1: (0.284, 26), 2: (0.306, 49), 4: (0.308, 40), 8: (0.325, 54),
    16: (0.349, 72), 32: (0.376, 79), 64: (0.439, 96), 128: (0.606, 173),
}  # fmt: skip
TTFT_MS, DECODE_MS = 26, 284 - 26
CURVE = {
    "overhead": "20ms",
    "prefill": "100us",
    "decode": f"{DECODE_MS / 15}ms",
    "prefill_slowdown": {jobs: ttft_ms / TTFT_MS for jobs, (_, ttft_ms) in MEASURED.items()},
    "decode_slowdown": {jobs: (s * 1000 - ttft_ms) / DECODE_MS for jobs, (s, ttft_ms) in MEASURED.items()},
    "output_tokens": 16,
}
PROMPT = " ".join(["word"] * 60)


def endpoint(concurrency: int = 1, llm: dict[str, object] | None = None, **settings: object) -> Endpoint:
    workers = {"active": 1, "max": 1, "concurrency": concurrency}
    plain = {"prefill": "10ms", "decode": "100ms", "output_tokens": 5}
    settings = {"workers": workers, "llm": {**plain, **(llm or {})}, **settings}
    return Endpoint(EndpointSettings.model_validate(settings), 1, 0.0)


def submit(model: Endpoint, at_s: float, job_input: object) -> Job:
    return model.submit(Op.RUN, at_s, Submission(msgspec.Raw(msgspec.json.encode(job_input))))


def streamed(**more: object) -> dict[str, object]:
    return {"openai_route": "/v1/completions", "openai_input": {"prompt": "a b", "stream": True, **more}}


def texts(model: Endpoint, job: Job, at_s: float) -> list[str]:
    return [msgspec.json.decode(chunk.output) for chunk in model.read_stream(job.id, at_s) or []]


def output(job: Job) -> list[Any]:
    return list(msgspec.json.decode(to_response(job).output))


def refusal(job_input: object) -> str:
    model = endpoint()
    job = submit(model, 0.0, job_input)
    model.advance(0.0)
    assert job.state is JobState.FAILED
    return str(msgspec.json.decode(job.error))


def closed_loop(model: Endpoint, at_once: int, rounds: int) -> list[Job]:
    """Return the jobs of a load that keeps the same number in hand, without those of its start and its end."""
    job_input = streamed(prompt=PROMPT)
    jobs = [submit(model, 0.0, job_input) for _ in range(at_once)]
    while len(jobs) < at_once * rounds:
        at = model.next_due_at()
        model.advance(at)
        jobs += [submit(model, at, job_input) for _ in model.drain_ended()]
    model.advance(1e4)
    return jobs[at_once:-at_once]


@pytest.mark.parametrize("at_once", MEASURED)
def test_latency_and_first_token_by_jobs_at_once_are_those_of_the_measured_model(at_once: int) -> None:
    jobs = closed_loop(endpoint(128, CURVE), at_once, 4)
    latency_s, ttft_ms = MEASURED[at_once]
    took_s = [job.finished_at - job.submitted_at for job in jobs if job.finished_at is not None]
    first_ms = [(job.chunk_times()[0] - job.submitted_at) * 1000 for job in jobs]
    assert np.mean(took_s) == pytest.approx(latency_s, rel=0.05)
    assert np.mean(first_ms) == pytest.approx(ttft_ms, rel=0.05)


@pytest.mark.parametrize("at_once", [1, 8, 32, 128])
def test_gaps_between_tokens_do_not_depend_on_the_lengths_of_the_answers(at_once: int) -> None:
    jobs = closed_loop(endpoint(128, {**CURVE, "output_tokens": {"median": 16, "sigma": 0.8}}), at_once, 6)
    gaps_ms = np.concatenate([np.diff(job.chunk_times()) * 1000 for job in jobs])
    latency_s, ttft_ms = MEASURED[at_once]
    assert np.median(gaps_ms) == pytest.approx((latency_s * 1000 - ttft_ms) / 15, rel=0.05)
    assert len({len(job.chunk_times()) for job in jobs}) > 1


def test_each_token_comes_at_its_time_and_slower_while_another_job_is_at_once() -> None:
    model = endpoint(2, {"prefill": "500ms", "decode_slowdown": {2: 2}, "prefill_slowdown": {2: 4}})
    first = submit(model, 0.0, streamed())  # its two words take a second
    assert texts(model, first, 0.999) == []
    assert len(texts(model, first, 1.0)) == 1
    second = submit(model, 1.2, streamed(max_tokens=1))  # 4 s in prefill, at most
    model.advance(100.0)
    # Alone: tokens at 1.0, 1.1, 1.2; then half as fast until its end at 1.6. The second has 0.1 s of work done by
    # then, and is alone for the other 0.9 s.
    assert first.chunk_times() == pytest.approx([1.0, 1.1, 1.2, 1.4, 1.6])
    assert second.chunk_times() == pytest.approx([2.5])


def test_tokens_are_read_one_by_one_and_the_next_one_is_known() -> None:
    model = endpoint()
    job = submit(model, 0.0, streamed())
    assert job.next_chunk_at() is None
    assert texts(model, job, 0.02)[0].startswith("data: ")
    assert job.next_chunk_at() == pytest.approx(0.12)
    assert len(texts(model, job, 0.33)) == 3
    assert len(texts(model, job, 0.5)) == 1
    assert job.state is JobState.COMPLETED
    assert job.next_chunk_at() is None


def test_a_cancelled_job_keeps_the_tokens_that_came_and_frees_the_worker() -> None:
    model = endpoint(2, {"decode_slowdown": {2: 3}})
    jobs = [submit(model, 0.0, streamed()) for _ in range(2)]
    model.cancel(jobs[0].id, 0.34)
    model.advance(9.0)
    assert jobs[0].chunk_times() == pytest.approx([0.02, 0.32])
    assert jobs[1].chunk_times() == pytest.approx([0.02, 0.32, 0.34 + 0.28 / 3, 0.34 + 0.58 / 3, 0.34 + 0.88 / 3])
    assert len(texts(model, jobs[0], 9.0)) == 2


def test_a_worker_that_stops_with_a_job_past_its_timeout_leaves_its_tokens() -> None:
    model = endpoint(policy={"execution_timeout": "250ms"})
    job = submit(model, 0.0, streamed())
    model.advance(1.0)
    assert (job.state, job.finished_at) == (JobState.TIMED_OUT, 0.25)
    assert job.chunk_times() == pytest.approx([0.02, 0.12, 0.22])


def test_a_worker_that_dies_gives_the_job_back_and_its_tokens_begin_again() -> None:
    model = endpoint(crash_rate="100 %", tries=2, cold_start="1s")
    job = submit(model, 0.0, streamed())
    model.advance(10.0)
    assert (job.state, job.requeues) == (JobState.FAILED, 2)
    assert all(at > 1.0 for at in job.chunk_times())


def test_streamed_text_is_events_with_the_end_and_the_usage_that_was_asked_for() -> None:
    model = endpoint(llm={"model": "tiny"})
    chat = {"messages": [{"role": "user", "content": "a b c"}], "stream": True, "max_tokens": 3}
    asked = {**chat, "stream_options": {"include_usage": True}}
    route = "/v1/chat/completions"
    jobs = [submit(model, 0.0, {"openai_route": route, "openai_input": each}) for each in (asked, chat)]
    model.advance(9.0)
    *data, done, rest = "".join(output(jobs[0])).split("\n\n")
    assert (done, rest) == ("data: [DONE]", "")
    events = [msgspec.json.decode(text.removeprefix("data: ")) for text in data]
    assert [each["choices"][0]["delta"].get("content") for each in events[:-1]] == ["", " 1", " 2", " 3"]
    assert [each["choices"][0]["finish_reason"] for each in events[:-1]] == [None, None, None, "length"]
    assert events[-1]["choices"] == []
    assert events[-1]["usage"] == {"prompt_tokens": 3, "completion_tokens": 3, "total_tokens": 6}
    assert {(each["id"], each["model"], each["object"]) for each in events} == {
        (f"chatcmpl-{jobs[0].id}", "tiny", "chat.completion.chunk")
    }
    assert "usage" not in "".join(output(jobs[1]))


@pytest.mark.parametrize(
    "job_input",
    [
        {"openai_route": "/v1/completions", "openai_input": {"prompt": "a b", "max_tokens": 2}},
        {"route": "/v1/completions", "body": {"prompt": ["a", "b"], "max_tokens": 2, "n": 1}, "method": "POST"},
        {"prompt": [17, 4], "sampling_params": {"max_tokens": 2}},
        {"messages": [{"content": [{"type": "text", "text": "a b"}]}], "sampling_params": {"max_tokens": 2}},
    ],
)
def test_an_answer_that_is_not_streamed_is_one_document_at_the_end(job_input: dict[str, object]) -> None:
    model = endpoint()
    job = submit(model, 0.0, job_input)
    assert model.read_stream(job.id, 0.11) == []
    assert job.next_chunk_at() is None
    model.advance(0.13)
    (document,) = output(job)
    assert [job.finished_at, *job.chunk_times()] == pytest.approx([0.12, 0.12])
    assert document["usage"] == {"prompt_tokens": 2, "completion_tokens": 2, "total_tokens": 4}
    (choice,) = document["choices"]
    assert choice["finish_reason"] == "length"
    assert choice.get("text", choice.get("message", {}).get("content")) == " 1 2"


def test_every_form_of_output_has_the_tokens_that_a_client_counts() -> None:
    model = endpoint()
    usage = {"stream_options": {"include_usage": True}}
    legacy = {"prompt": "a b", "stream": True, "sampling_params": usage}
    jobs = [submit(model, 0.0, each) for each in (streamed(**usage), {"prompt": "a b"}, legacy)]
    model.advance(100.0)
    for job in jobs:
        reader = TokenReader()
        reader.add_result(to_response(job).output)
        assert (reader.input_tokens, reader.output_tokens) == (2, 5)


def test_the_list_of_models_names_the_model() -> None:
    model = endpoint(llm={"model": "tiny"})
    job = submit(model, 0.0, {"openai_route": "/v1/models", "openai_input": {}})
    model.advance(0.0)
    (models,) = output(job)
    assert [each["id"] for each in models["data"]] == ["tiny"]


def test_lengths_are_cut_at_the_requests_bounds() -> None:
    model = endpoint(64, {"output_tokens": [1, 5, 9]})
    bounds = [{}, {"max_tokens": 4}, {"min_tokens": 7}, {"max_tokens": 20, "ignore_eos": True}]
    jobs = [[submit(model, 0.0, streamed(**bound)) for _ in range(16)] for bound in bounds]
    model.advance(100.0)
    assert [{len(output(job)) for job in each} for each in jobs] == [{1, 5, 9}, {1, 4}, {7, 9}, {20}]


@pytest.mark.parametrize(
    ("job_input", "message"),
    [
        (None, "Job input must contain one of"),
        ("text", "Job input must contain one of"),
        ({"temperature": 1}, "Job input must contain one of"),
        ({"openai_route": "/v1/completions", "openai_input": {"stream": True}}, "HTTP 400: prompt: field required"),
        ({"openai_route": "/v1/embeddings", "openai_input": {"input": "a"}}, "HTTP 404: Not Found"),
        (streamed(n=2), "HTTP 400: n: the simulated LLM gives one choice"),
        (streamed(max_tokens=0), "HTTP 400: max_tokens must be at least 1"),
    ],
)
def test_an_input_that_a_worker_refuses_fails_at_once(job_input: object, message: str) -> None:
    text = refusal(job_input)
    assert message in text
    assert "'type': 'worker_error'" in text


def test_jobs_past_the_failure_rate_fail_after_their_tokens() -> None:
    model = endpoint(failure_rate="100 %")
    job = submit(model, 0.0, streamed())
    model.advance(9.0)
    assert job.state is JobState.FAILED
    assert len(texts(model, job, 9.0)) == 5


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"service": "1s"}, "service and llm both say how long a job takes"),
        ({"slowdown": {4: 2.0}}, "slowdown is of service and chunks; write llm.prefill_slowdown"),
        ({"llm": {"decode_slowdown": {2: 2.0}}}, "llm.decode_slowdown ends at 2 jobs, but a worker takes 4"),
        ({"llm": {"decode": "0s"}}, "greater than 0"),
        ({"llm": {"output_tokens": 0}}, "greater than or equal to 1"),
        ({"llm": {"output_tokens": []}}, "at least 1 item"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        EndpointSettings.model_validate({"workers": {"concurrency": 4}, "llm": {}, **settings})


def test_a_long_busy_worker_forgets_its_changes_of_speed() -> None:
    model = endpoint(8, {"decode_slowdown": {8: 4}, "output_tokens": {"median": 5, "sigma": 1.5}})
    rng = np.random.default_rng(3)
    jobs = [submit(model, at, streamed()) for at in np.cumsum(rng.exponential(0.2, 3000)).tolist()]
    model.advance(1e6)
    for job in jobs:
        times = job.chunk_times()
        assert np.all(np.diff([job.taken_at, *times]) > 0)
        assert times[-1] == pytest.approx(job.finished_at)
        assert np.all(np.diff(times) < 0.1 * 4.001)
