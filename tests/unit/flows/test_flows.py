from __future__ import annotations

import numpy as np
import pytest

from loadtest.endpoint.endpoint import Endpoint
from loadtest.endpoint.settings import EndpointSettings
from loadtest.flows.job_flow import JobFlow, run_and_poll
from loadtest.flows.steps import Response, Send
from loadtest.flows.stream import run_and_stream
from loadtest.flows.submissions import run_submission, runsync_submission
from loadtest.protocol.operations import Limit, Op
from loadtest.record.sample import ChunkSeen, ErrorKind, Outcome, Sample
from loadtest.traffic.arrivals import max_in_window
from loadtest.traffic.polling import PollGroup, PollPacer
from loadtest.traffic.rate_limit import SlidingWindowLimiter
from loadtest.traffic.settings import Polling
from tests.unit.flows.virtual import TRANSPORT_S, VirtualWire


def wire(**settings: object) -> VirtualWire:
    whole = {"service": "1s", "workers": {"active": 1, "max": 1}, **settings}
    form = str(whole.get("stream", {}).get("form", "status"))  # type: ignore[attr-defined]
    return VirtualWire(Endpoint(EndpointSettings.model_validate(whole), seed=1, start_at=0.0), stream_form=form)


def job(
    at: float = 0.0,
    flow: str = "run",
    every: str = "200ms",
    job_timeout_s: float = 60.0,
    wait_s: float = 90.0,
    **polling: object,
) -> JobFlow:
    submission = runsync_submission({}, wait_s, job_timeout_s) if flow == "runsync" else run_submission({})
    paced = PollPacer(Polling.model_validate({"every": every, **polling}), 198.0, PollGroup())
    sample = Sample(0, flow, at)  # type: ignore[arg-type]
    return JobFlow(sample, submission, paced, job_timeout_s)


def driven(target: VirtualWire, one: JobFlow) -> Sample:
    chunks_seen: list[ChunkSeen] = []
    steps = run_and_stream(one, chunks_seen) if one.sample.flow == "stream" else run_and_poll(one)
    target.drive(steps, one.sample)
    target.run()
    return one.sample


def test_run_is_seen_at_the_first_poll_after_its_end() -> None:
    sample = driven(wire(), job())
    assert sample.outcome == Outcome.COMPLETED
    assert (sample.delay_ms, sample.execution_ms) == (0, 1000)
    accepted_at = 2 * TRANSPORT_S
    assert sample.accepted_at == pytest.approx(accepted_at)
    # polls at 0.2 s after acceptance and 0.2 s after each answer: the fifth begins at 1.020, after the end at 1.002
    assert sample.polls == 5
    assert sample.finished_at == pytest.approx(accepted_at + 5 * (0.2 + 2 * TRANSPORT_S))
    assert sample.worker_id is not None


def test_runsync_is_seen_when_it_ends() -> None:
    sample = driven(wire(), job(flow="runsync"))
    assert sample.finished_at == pytest.approx(1 + 2 * TRANSPORT_S)
    assert sample.polls == 0
    assert sample.job_id is not None
    assert sample.job_id.startswith("sync-")


def test_runsync_is_not_held_beyond_the_job_timeout() -> None:
    one = job(flow="runsync", job_timeout_s=2.0)
    sample = driven(wire(service="10s"), one)
    assert sample.outcome == Outcome.CENSORED
    assert sample.accepted_at == pytest.approx(2.0 + 2 * TRANSPORT_S)


def test_chunks_are_seen_when_they_come_even_if_polls_are_rare() -> None:
    target = wire(service=None, chunks={"count": 5, "first": "300ms", "gap": "30ms"})
    one = job(flow="stream", every="200ms")
    seen: list[ChunkSeen] = []
    target.drive(run_and_stream(one, seen), one.sample)
    target.run()
    assert np.diff([chunk.at for chunk in seen]) == pytest.approx(np.full(4, 0.03), abs=0.006)


def test_runsync_whose_wait_ends_is_polled() -> None:
    sample = driven(wire(service="3s"), job(flow="runsync", wait_s=1.0))
    assert sample.outcome == Outcome.COMPLETED
    assert sample.accepted_at == pytest.approx(1.0 + 2 * TRANSPORT_S)
    assert sample.polls > 0


@pytest.mark.parametrize("form", ["status", "array"])
def test_stream_sees_each_chunk_when_it_comes(form: str) -> None:
    chunks = {"count": 4, "first": "500ms", "gap": "100ms", "tokens": 3}
    target = wire(service=None, chunks=chunks, stream={"form": form})
    one = job(flow="stream", every="10ms")
    seen: list[ChunkSeen] = []
    target.drive(run_and_stream(one, seen), one.sample)
    target.run()
    begun, seen_at = TRANSPORT_S, [chunk.at for chunk in seen]
    assert [chunk.pieces for chunk in seen] == [3] * 4
    assert seen_at == pytest.approx([begun + 0.5 + 0.1 * i + TRANSPORT_S for i in range(4)])
    sample = one.sample
    assert sample.outcome == Outcome.COMPLETED
    assert (sample.chunks, sample.output_tokens) == (4, 12)
    assert sample.first_chunk_at == sample.first_content_at == seen_at[0]
    assert sample.last_content_at == seen_at[-1]
    assert sample.execution_ms == 800
    assert sample.finished_at is not None
    assert sample.finished_at - seen_at[-1] < 0.05


def test_wait_after_a_429_is_part_of_the_end_to_end_time() -> None:
    target = wire()
    target.misbehave = lambda step, now: Response(429, b"", 0, 0, 3.0) if now < 1 else None
    sample = driven(target, job())
    assert sample.outcome == Outcome.COMPLETED
    assert sample.throttled == 1
    assert sample.request_bytes == 2 * len(run_submission({}).body)
    assert sample.finished_at is not None
    assert sample.finished_at > 4.0


def test_job_that_only_gets_429_is_rate_limited() -> None:
    target = wire()
    target.misbehave = lambda step, now: Response(429, b"", 0, 0, 1.0)
    sample = driven(target, job(job_timeout_s=5))
    assert sample.outcome == Outcome.RATE_LIMITED
    assert sample.throttled == 5
    assert sample.http_status == 429


@pytest.mark.parametrize(
    ("status", "body", "outcome", "kind"),
    [
        (400, b'{"detail":"bad request"}', Outcome.REJECTED, None),
        (500, b"oops", Outcome.REJECTED, None),
        (0, b"", Outcome.UNREACHABLE, ErrorKind.CONNECTION_CLOSED),
        (200, b"<html>", Outcome.BAD_ANSWER, ErrorKind.INVALID_RESPONSE),
        (200, b'{"error":"model not loaded"}', Outcome.BAD_ANSWER, ErrorKind.INVALID_RESPONSE),
        (200, b'{"id":"","status":"IN_QUEUE"}', Outcome.BAD_ANSWER, ErrorKind.INVALID_RESPONSE),
        (302, b"", Outcome.BAD_ANSWER, ErrorKind.INVALID_RESPONSE),
    ],
)
@pytest.mark.parametrize("flow", ["run", "runsync", "stream"])
def test_failed_submission_is_sent_once(
    flow: str, status: int, body: bytes, outcome: Outcome, kind: ErrorKind | None
) -> None:
    target = wire()
    target.misbehave = lambda step, now: Response(status, body, 0, 0)
    sample = driven(target, job(flow=flow))
    assert (sample.outcome, sample.error_kind) == (outcome, kind)
    assert len(target.requests) == 1
    assert sample.finished_at is not None
    assert sample.error


def test_failed_job_has_its_error_and_times() -> None:
    sample = driven(wire(failure_rate="100 %"), job())
    assert sample.outcome == Outcome.FAILED
    assert sample.error
    assert sample.execution_ms == 1000


def test_job_timeout_leaves_a_job_censored() -> None:
    sample = driven(wire(service="1h"), job(job_timeout_s=3))
    assert sample.outcome == Outcome.CENSORED
    assert sample.finished_at is None
    assert sample.accepted_at is not None


def test_cancelled_job_ends_its_stream() -> None:
    target = wire(service=None, chunks={"count": 100, "first": "100ms", "gap": "1s"})
    one = job(flow="stream")
    target.drive(run_and_stream(one, []), one.sample)
    target.run(until=2.0)
    assert one.sample.job_id is not None
    target.endpoint.cancel(one.sample.job_id, target.now)
    target.run()
    assert one.sample.outcome == Outcome.CANCELLED


def test_shared_polling_of_a_thousand_jobs_stays_within_the_status_limit() -> None:
    limit = Limit(2000, 10)
    settings = {"service": "20s", "workers": {"active": 1000, "max": 1000}, "limits": {"run": "1000 per 10 s"}}
    endpoint = Endpoint(EndpointSettings.model_validate(settings), seed=1, start_at=0.0)
    target, crowd = VirtualWire(endpoint, limits={Op.STATUS: limit}), PollGroup()
    pacer = PollPacer(Polling(), SlidingWindowLimiter(limit).per_second, crowd)
    samples = [Sample(i, "run", i * 0.01) for i in range(1000)]
    for sample in samples:
        target.drive(run_and_poll(JobFlow(sample, run_submission({}), pacer, 600)), sample)
    target.run()
    polls = [at for op, at, _ in target.requests if op is Op.STATUS]
    assert max_in_window(np.sort(polls), 10.0) <= limit.requests
    assert not [status for _, _, status in target.requests if status == 429]
    assert all(sample.outcome == Outcome.COMPLETED for sample in samples)
    assert crowd.jobs == 0
    # n jobs share the limit, so one is asked for every n / (0.9 * 198) s, about 5.6 s, and is seen at most that late
    late = [sample.finished_at - sample.intended_at - 20 for sample in samples if sample.finished_at is not None]
    assert max(late) < 6.5


@pytest.mark.parametrize("flow", ["run", "runsync", "stream"])
def test_deadline_of_each_request_is_the_job_timeout(flow: str) -> None:
    target, asked = wire(service="20s"), []
    target.misbehave = lambda step, now: asked.append((step, now))  # type: ignore[func-returns-value]
    driven(target, job(at=3.0, flow=flow, job_timeout_s=8.0))
    assert {step.op for step, _ in asked} >= {Op.RUNSYNC if flow == "runsync" else Op.RUN}
    assert {step.deadline for step, _ in asked} == {11.0}
    held_until = [now + step.long_poll_s for step, now in asked if step.long_poll_s]
    assert max(held_until, default=0.0) <= 11.0 + 2 * TRANSPORT_S
    assert bool(held_until) == (flow != "run")


def test_chunks_of_a_response_in_parts_are_seen_when_their_part_comes() -> None:
    body = b'[{"output":"a"},{"output":"b"},{"output":"a"},{"output":"c"}]'
    first_end, third_end = body.index(b"}"), body.rindex(b"},") + 1
    target = wire()

    def in_parts(step: Send, now: float) -> Response | None:
        if step.op is not Op.STREAM:
            return None
        came = [(first_end - 1, now - 0.9), (first_end, now - 0.8), (third_end, now - 0.4)]
        return Response(200, body, 0, 0, body_progress=came)

    target.misbehave = in_parts
    seen: list[ChunkSeen] = []
    one = job(flow="stream")
    target.drive(run_and_stream(one, seen), one.sample)
    target.run(until=0.5)
    seen_at = [chunk.at for chunk in seen]
    assert np.subtract(seen_at[3], seen_at[:4]) == pytest.approx([0.8, 0.4, 0.4, 0.0], abs=0.01)
    assert one.sample.first_chunk_at == seen_at[0]
