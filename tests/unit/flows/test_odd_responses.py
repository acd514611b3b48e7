"""Odd responses to the requests of one job, in virtual time: each costs at most its poll."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.json import encode

from loadtest.flows.job_flow import JobFlow, cancel, run_and_poll
from loadtest.flows.responses import MAX_RETRY_S, RETRY_S, UNKNOWN_JOB_GRACE_S
from loadtest.flows.steps import Response, Send
from loadtest.flows.stream import run_and_stream
from loadtest.flows.submissions import run_submission, runsync_submission, shorten_hold
from loadtest.flows.webhook import run_and_wait_for_webhook
from loadtest.protocol.operations import OPERATIONS, RUNSYNC_WAIT, Op, job_path
from loadtest.record.sample import ErrorKind, Outcome, Sample
from loadtest.traffic.polling import PollGroup, PollPacer
from loadtest.traffic.settings import Polling
from tests.unit.flows.test_flows import job, wire
from tests.unit.flows.virtual import VirtualWire

GIVE_UP_AFTER_S = 30.0
ODD_POLLS = {
    "502": Response(502, b"Bad Gateway", 0, 0),
    "500": Response(500, b"", 0, 0),
    "401": Response(401, b"unauthorized", 0, 0),
    "403": Response(403, b"", 0, 0),
    "400": Response(400, b"", 0, 0),
    "closed": Response(0, b"", 0, 0),
    "redirect": Response(301, b"", 0, 0, location="https://there.example/v2/x/status/a"),
    "empty": Response(200, b"", 0, 0),
    "no content": Response(204, b"", 0, 0),
    "null": Response(200, b"null", 0, 0),
    "array": Response(200, b"5", 0, 0),
    "truncated": Response(200, b'{"id": "a", "status": "COMPL', 0, 0),
    "page": Response(200, b"<html>sign in</html>", 0, 0),
    "no status": Response(200, b'{"id": "a"}', 0, 0),
    "no times": Response(200, b'{"id": "a", "status": "COMPLETED"}', 0, 0),
    "negative time": Response(200, b'{"status": "COMPLETED", "delayTime": -1, "executionTime": 1}', 0, 0),
    "huge time": Response(
        200, b'{"status": "COMPLETED", "delayTime": 9223372036854775808, "executionTime": 1}', 0, 0
    ),
    "not UTF-8": Response(200, b'{"status": "\xff"}', 0, 0),
}


def flow_job(flow: str, **polling: object) -> JobFlow:
    return (
        job(flow=flow, **polling)
        if flow != "webhook"
        else JobFlow(
            Sample(0, "webhook", 0.0),
            run_submission({}, "http://127.0.0.1/webhook"),
            PollPacer(Polling.model_validate(polling), 198.0, PollGroup()),
            600.0,
        )
    )


def drive(target: VirtualWire, one: JobFlow) -> Sample:
    flows = {"stream": lambda: run_and_stream(one, []), "webhook": lambda: run_and_wait_for_webhook(one)}
    target.drive(flows.get(one.sample.flow, lambda: run_and_poll(one))(), one.sample)
    target.run()
    return one.sample


def during(begin: float, end: float, odd: Response) -> Callable[[Send, float], Response | None]:
    """Answer every request but submissions oddly for a while."""
    return lambda step, now: odd if step.op not in (Op.RUN, Op.RUNSYNC) and begin <= now < end else None


def chunked() -> VirtualWire:
    return wire(service=None, chunks={"count": 3, "first": "4s", "gap": "1s"})


@pytest.mark.parametrize("odd", ODD_POLLS.values(), ids=ODD_POLLS)
@pytest.mark.parametrize("flow", ["run", "stream", "webhook"])
def test_odd_polls_for_a_while_cost_no_job(flow: str, odd: Response) -> None:
    target = chunked() if flow == "stream" else wire(service="6s")
    target.misbehave = during(0.0, 3.0, odd)
    sample = drive(target, flow_job(flow))
    assert (sample.outcome, sample.error, sample.error_kind) == (Outcome.COMPLETED, None, None)
    assert flow == "webhook" or sample.faults > 2


@pytest.mark.parametrize("odd", ODD_POLLS.values(), ids=ODD_POLLS)
@pytest.mark.parametrize("flow", ["run", "stream", "webhook"])
def test_odd_polls_end_a_job_after_the_span_of_the_scenario(flow: str, odd: Response) -> None:
    target = chunked() if flow == "stream" else wire(service="400s")
    target.misbehave = during(0.0, 1e9, odd)
    target.mute = True
    sample = drive(
        target, flow_job(flow, give_up_after="30s", job_timeout_s=300.0) if flow == "run" else flow_job(flow)
    )
    assert sample.given_up
    assert sample.outcome in (Outcome.UNREACHABLE, Outcome.REJECTED, Outcome.BAD_ANSWER)
    first_poll_at = 30.0 if flow == "webhook" else 0.2
    assert sample.finished_at == pytest.approx(first_poll_at + GIVE_UP_AFTER_S, abs=0.6)
    assert (sample.error or "").startswith("polls failed for 30s: ")


def test_span_begins_again_after_a_poll_of_use() -> None:
    target = wire(service="100s")
    bad = ODD_POLLS["502"]
    target.misbehave = lambda step, now: bad if step.op is Op.STATUS and now % 28 > 1 else None
    assert drive(target, job(job_timeout_s=600.0)).outcome == Outcome.COMPLETED


def test_one_poll_that_hangs_for_longer_than_the_span_ends_no_job() -> None:
    target = wire(service="50s")

    def hangs(step: Send, now: float) -> Response | None:
        if step.op is not Op.STATUS or now > 10:
            return None
        target.clock.sleep(35.0)
        return ODD_POLLS["closed"]

    target.misbehave = hangs
    sample = drive(target, job(job_timeout_s=600.0))
    assert (sample.outcome, sample.faults) == (Outcome.COMPLETED, 1)


def test_job_with_an_unknown_status_has_not_ended() -> None:
    target = wire(service="50s")
    warming = Response(200, b'{"id": "a", "status": "WARMING_UP"}', 0, 0)
    target.misbehave = during(0.0, 45.0, warming)
    sample = drive(target, job(job_timeout_s=600.0))
    assert (sample.outcome, sample.faults) == (Outcome.COMPLETED, 0)
    target = wire(service="50s")
    target.misbehave = during(0.0, 1e9, warming)
    sample = drive(target, job(job_timeout_s=40.0))
    assert (sample.outcome, sample.error) == (Outcome.CENSORED, 'unknown job status "WARMING_UP"')


@pytest.mark.parametrize("status", [404, 410])
@pytest.mark.parametrize("begins", [0.0, 8.0, 20.0])
@pytest.mark.parametrize("flow", ["run", "stream", "webhook"])
def test_job_has_expired_once_it_is_unknown_for_a_while(flow: str, begins: float, status: int) -> None:
    gone = Response(status, b"", 0, 0)
    target = chunked() if flow == "stream" else wire(service="30s")
    target.misbehave = during(begins, begins + UNKNOWN_JOB_GRACE_S - 1.0, gone)
    assert drive(target, flow_job(flow)).outcome == Outcome.COMPLETED
    target = wire(service="600s")
    target.misbehave = during(begins, 1e9, gone)
    sample = drive(target, flow_job(flow))
    assert (sample.outcome, sample.given_up) == (Outcome.EXPIRED, False)


@pytest.mark.parametrize(("retry_after_s", "most"), [(None, 5), (0.0, 20), (0.001, 20), (1.0, 20), (5.0, 5)])
@pytest.mark.parametrize("flow", ["run", "stream"])
def test_poll_after_a_429_waits(flow: str, retry_after_s: float | None, most: int) -> None:
    target = chunked() if flow == "stream" else wire()
    target.misbehave = during(0.0, 19.0, Response(429, b"", 0, 0, retry_after_s))
    sample = drive(target, job(flow=flow, every="100ms"))
    assert sample.outcome == Outcome.COMPLETED
    assert 3 <= sample.throttled <= most
    assert sample.faults == 0


@pytest.mark.parametrize("status", [409, 429, 503])
@pytest.mark.parametrize("retry_after_s", [None, 0.0])
@pytest.mark.parametrize("flow", ["run", "runsync"])
def test_submission_that_is_refused_for_a_while_is_sent_again(
    flow: str, retry_after_s: float | None, status: int
) -> None:
    target = wire()
    refused = Response(status, b"settings are changing", 0, 0, retry_after_s)
    target.misbehave = lambda step, now: refused if now < 19.0 else None
    sample = drive(target, job(flow=flow))
    assert (sample.outcome, sample.error) == (Outcome.COMPLETED, None)
    times = [at for op, at, _ in target.requests if op is not Op.STATUS]
    assert len(times) == (6 if retry_after_s is None else 20)
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert min(gaps) >= RETRY_S
    assert max(gaps) <= MAX_RETRY_S + 0.1
    assert (sample.throttled if status == 429 else sample.faults) == len(times) - 1


@pytest.mark.parametrize(("status", "outcome"), [(409, Outcome.REJECTED), (503, Outcome.REJECTED)])
def test_submission_that_is_refused_for_good_ends_with_the_job_timeout(status: int, outcome: Outcome) -> None:
    target = wire()
    target.misbehave = lambda step, now: Response(status, b"busy", 0, 0)
    sample = drive(target, job(job_timeout_s=20.0))
    assert (sample.outcome, sample.error, sample.perhaps_accepted) == (outcome, "busy", False)
    assert sample.finished_at is not None
    assert sample.finished_at < 20.0


@pytest.mark.parametrize("status", [500, 502, 504, 0])
def test_submission_that_may_have_been_accepted_is_not_sent_again(status: int) -> None:
    target = wire()
    target.misbehave = lambda step, now: Response(status, b"", 0, 0)
    sample = drive(target, job())
    assert len(target.requests) == 1
    assert sample.perhaps_accepted
    assert not sample.given_up


@pytest.mark.parametrize(
    ("location", "advice"),
    [
        ("https://there.example/v2/x/run", "https://there.example/v2/x/run; write https://there.example/v2/x as"),
        ("https://user:secret@there.example/v2/x/run?key=secret", "write https://there.example/v2/x as the target"),
        ("/v3/x/run", "redirected to /v3/x/run; write the URL of the endpoint itself"),
        ("https://login.example/", "redirected to https://login.example/; write the URL of the endpoint itself"),
        (None, "redirected to no location"),
        ("http://[bad", "redirected to no location"),
        ("https://there.example/\x1b[31m/run", "?[31m/run"),
    ],
)
def test_redirect_names_its_location_and_the_remedy(location: str | None, advice: str) -> None:
    target = wire()
    target.misbehave = lambda step, now: Response(301, b"", 0, 0, location=location)
    sample = drive(target, job())
    assert (sample.outcome, sample.http_status) == (Outcome.BAD_ANSWER, 301)
    assert advice in (sample.error or "")
    assert "secret" not in (sample.error or "")
    assert not sample.perhaps_accepted


@pytest.mark.parametrize("flow", ["run", "runsync"])
@pytest.mark.parametrize("state", [{}, {"status": "WARMING_UP"}, {"status": "COMPLETED", "delayTime": -5}])
def test_accepted_job_with_an_odd_state_is_followed(flow: str, state: dict[str, object]) -> None:
    target = wire()
    done = Response(200, encode({"id": "a", "status": "COMPLETED", "delayTime": 1, "executionTime": 2}), 0, 0)
    accepted = Response(200, encode({"id": "a", **state}), 0, 0)
    target.misbehave = lambda step, now: done if step.op is Op.STATUS else accepted
    sample = drive(target, job(flow=flow))
    assert (sample.outcome, sample.job_id, sample.polls) == (Outcome.COMPLETED, "a", 1)


@pytest.mark.parametrize("job_id", ["a b", "a?b", "../health", "a#b", "ä/ö", "%2e%2e", "a&b=c", "sync-1-u1"])
def test_id_goes_into_a_path_as_one_segment(job_id: str) -> None:
    for op in (Op.STATUS, Op.STATUS_SYNC, Op.STREAM, Op.CANCEL):
        path = job_path(op, job_id)
        assert path.startswith(f"/{op}/")
        assert path.count("/") == 2
        assert path.isascii()
        assert not set(path) & set(" ?#\r\n")
    target, paths = wire(), []
    target.misbehave = lambda step, now: (
        paths.append(step.path)
        or (  # type: ignore[func-returns-value]
            Response(200, encode({"id": job_id, "status": "IN_QUEUE"}), 0, 0)
        )
    )
    drive(target, job(job_timeout_s=1.0))
    assert set(paths) == {"/run", job_path(Op.STATUS, job_id)}


@pytest.mark.parametrize("flow", ["run", "stream", "webhook"])
@pytest.mark.parametrize("seed", range(20))
def test_random_faults_of_polls_never_end_a_job_that_is_well(flow: str, seed: int) -> None:
    rng = Random(seed)
    target = chunked() if flow == "stream" else wire(service=f"{rng.uniform(1, 60):.3f}s")
    target.misbehave = lambda step, now: (
        rng.choice([*ODD_POLLS.values(), Response(429, b"", 0, 0)])
        if step.op not in (Op.RUN, Op.RUNSYNC) and rng.random() < 0.5
        else None
    )
    sample = drive(target, flow_job(flow, job_timeout_s=300.0) if flow == "run" else flow_job(flow))
    assert sample.outcome == Outcome.COMPLETED
    assert sample.job_id is not None


@given(asked_s=st.integers(1, 300), left_s=st.floats(-100, 400))
@settings(deadline=None)
def test_hold_ends_before_the_drain_does_if_the_operation_allows_it(asked_s: int, left_s: float) -> None:
    asked = runsync_submission({}, asked_s, 600.0)
    shorter = shorten_hold(asked, left_s)
    assert RUNSYNC_WAIT.min_ms / 1000 <= shorter.long_poll_s <= asked.long_poll_s
    assert shorter.long_poll_s <= max(left_s, RUNSYNC_WAIT.min_ms / 1000)
    assert shorter.body == asked.body
    default = RUNSYNC_WAIT.default_ms / 1000
    wait = "" if shorter.long_poll_s == default else f"?wait={round(shorter.long_poll_s * 1000)}"
    assert shorter.path == OPERATIONS[Op.RUNSYNC].path + wait
    assert shorten_hold(run_submission({}), left_s) == run_submission({})


def cancelled(misbehave: Callable[[Send, float], Response | None]) -> tuple[VirtualWire, list[float]]:
    target, confirmed_at = wire(), list[float]()
    target.misbehave = misbehave
    sample = Sample(0, "run", 0.0, sent_at=0.0)
    target.drive(cancel("a", confirmed_at), sample)
    target.run()
    return target, confirmed_at


@pytest.mark.parametrize("status", ["CANCELLED", "COMPLETED", "FAILED"])
def test_cancel_is_confirmed_by_a_final_state(status: str) -> None:
    target, confirmed_at = cancelled(lambda step, now: Response(200, encode({"id": "a", "status": status}), 0, 0))
    assert (len(target.requests), len(confirmed_at)) == (1, 1)


@pytest.mark.parametrize(
    ("odd", "times"),
    [
        (Response(429, b"", 0, 0), 5),
        (Response(503, b"", 0, 0), 5),
        (Response(0, b"", 0, 0), 5),
        (Response(200, b"<html>", 0, 0), 5),
        (Response(200, b'{"id": "a", "status": "IN_PROGRESS"}', 0, 0), 5),
        (Response(404, b"", 0, 0), 1),
    ],
)
def test_cancel_without_a_confirmation_is_repeated_with_waits(odd: Response, times: int) -> None:
    target, confirmed_at = cancelled(lambda step, now: odd)
    assert (len(target.requests), confirmed_at) == (times, [])
    assert target.now >= (15.0 if times > 1 else 0.0)
    target, confirmed_at = cancelled(
        lambda step, now: odd if now < 1 else Response(200, b'{"id": "a", "status": "CANCELLED"}', 0, 0)
    )
    assert len(confirmed_at) == (times > 1)


def test_error_kind_of_a_job_that_is_given_up_is_that_of_its_last_poll() -> None:
    target = wire(service="400s")
    target.misbehave = during(0.0, 1e9, ODD_POLLS["closed"])
    assert drive(target, job(job_timeout_s=300.0)).error_kind == ErrorKind.CONNECTION_CLOSED


def test_tokens_in_an_event_without_its_blank_line_count_when_the_stream_ends() -> None:
    event = rb"data: {\"usage\": {\"prompt_tokens\": 7, \"completion_tokens\": 5}}"
    unended = [Response(200, b'{"status": "IN_PROGRESS", "stream": [{"output": "' + event + b'"}]}', 0, 0)]
    target = wire(service="2s")
    target.misbehave = lambda step, now: unended.pop() if step.op is Op.STREAM and unended else None
    sample = drive(target, flow_job("stream", every="100ms"))
    assert (sample.outcome, sample.input_tokens, sample.output_tokens) == (Outcome.COMPLETED, 7, 5)
