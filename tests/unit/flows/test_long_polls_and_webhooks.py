"""Long polls and webhooks in place of polls, in virtual time."""

from __future__ import annotations

from collections import Counter

import pytest

from loadtest.endpoint.endpoint import Endpoint
from loadtest.endpoint.settings import EndpointSettings
from loadtest.flows.job_flow import JobFlow, run_and_poll
from loadtest.flows.steps import Response
from loadtest.flows.submissions import run_submission
from loadtest.flows.webhook import FALLBACK_POLL_INTERVAL_S, run_and_wait_for_webhook
from loadtest.protocol.client_messages import Policy
from loadtest.protocol.operations import Op
from loadtest.record.sample import Outcome, Sample
from loadtest.traffic.polling import LongPolls, PollGroup, PollPacer
from loadtest.traffic.settings import Polling
from tests.unit.flows.virtual import TRANSPORT_S, VirtualWire


def wire(**settings: object) -> VirtualWire:
    whole = {"service": "1s", "workers": {"active": 1, "max": 1}, **settings}
    return VirtualWire(Endpoint(EndpointSettings.model_validate(whole), seed=1, start_at=0.0))


def long_job(long: LongPolls | None = None, at: float = 0.0, job_timeout_s: float = 600.0) -> JobFlow:
    pacer = PollPacer(Polling(policy="long"), 198.0, PollGroup(), long or LongPolls())
    return JobFlow(Sample(0, "run", at), run_submission({}), pacer, job_timeout_s)


def webhook_job(job_timeout_s: float = 600.0, policy: Policy | None = None) -> JobFlow:
    pacer = PollPacer(Polling(), 198.0, PollGroup())
    submission = run_submission({}, "http://127.0.0.1/webhook", policy)
    return JobFlow(Sample(0, "webhook", 0.0), submission, pacer, job_timeout_s)


def asked(target: VirtualWire) -> Counter[Op]:
    return Counter(op for op, _, _ in target.requests)


def test_long_poll_sees_the_end_with_one_request() -> None:
    target, one = wire(service="70s"), long_job()
    target.drive(run_and_poll(one), one.sample)
    target.run()
    assert (one.sample.outcome, one.sample.polls) == (Outcome.COMPLETED, 1)
    assert one.sample.finished_at == pytest.approx(TRANSPORT_S + 70 + TRANSPORT_S)
    assert asked(target) == {Op.RUN: 1, Op.STATUS_SYNC: 1}


def test_long_poll_whose_wait_ends_is_repeated_at_once() -> None:
    target, one = wire(service="200s"), long_job()
    target.drive(run_and_poll(one), one.sample)
    target.run()
    assert (one.sample.outcome, one.sample.polls) == (Outcome.COMPLETED, 3)
    assert one.sample.finished_at == pytest.approx(200 + 2 * TRANSPORT_S)


@pytest.mark.parametrize("status", [404, 405])
def test_missing_status_sync_is_asked_for_once_and_replaced_by_polls(status: int) -> None:
    target, long = wire(workers={"active": 5, "max": 5}), LongPolls()
    target.misbehave = lambda step, now: Response(status, b"", 0, 0) if step.op is Op.STATUS_SYNC else None
    jobs = [long_job(long, at) for at in (0.0, 0.5, 0.6)]
    for one in jobs:
        target.drive(run_and_poll(one), one.sample)
    target.run()
    assert [one.sample.outcome for one in jobs] == [Outcome.COMPLETED] * 3
    assert asked(target)[Op.STATUS_SYNC] == 1
    assert long.unsupported


def test_expired_job_is_not_mistaken_for_a_missing_operation() -> None:
    target, one = wire(service="30s", policy={"ttl": "10s"}), long_job()
    target.drive(run_and_poll(one), one.sample)
    target.run()
    assert one.sample.outcome == Outcome.EXPIRED
    assert one.pacer.long is not None
    assert not one.pacer.long.unsupported


def test_long_polls_stay_within_the_concurrent_limit() -> None:
    target, long = wire(workers={"active": 9, "max": 9}, service="5s"), LongPolls(max_held=2)
    jobs = [long_job(long, 0.1 * number) for number in range(5)]
    for one in jobs:
        target.drive(run_and_poll(one), one.sample)
    target.run(until=4.0)
    assert long.held == 2
    target.run()
    assert [one.sample.outcome for one in jobs] == [Outcome.COMPLETED] * 5
    assert [one.sample.polls for one in jobs[:2]] == [1, 1]
    assert long.held == 0


def test_failed_long_poll_is_paced_like_any_poll() -> None:
    target, one = wire(service="10s"), long_job()
    target.misbehave = lambda step, now: Response(503, b"", 0, 0) if step.op is Op.STATUS_SYNC and now < 0.5 else None
    target.drive(run_and_poll(one), one.sample)
    target.run()
    assert one.sample.outcome == Outcome.COMPLETED
    assert one.sample.faults == 2
    assert one.sample.polls == 5, "200 ms apart until the error is over, every other one a plain poll"


def test_webhook_notification_ends_the_job_without_a_request() -> None:
    target, one = wire(service="70s"), webhook_job()
    target.drive(run_and_wait_for_webhook(one), one.sample)
    target.run(until=20)
    target.run()
    sample = one.sample
    assert (sample.outcome, sample.delay_ms, sample.execution_ms) == (Outcome.COMPLETED, 0, 70_000)
    assert sample.finished_at == pytest.approx(70 + 2 * TRANSPORT_S, abs=0.01)
    assert asked(target) == {Op.RUN: 1, Op.STATUS: 2}, "two polls in 70 s, in case a notification got lost"


def test_lost_notification_costs_one_poll() -> None:
    target, one = wire(service="1s"), webhook_job()
    target.mute = True
    target.drive(run_and_wait_for_webhook(one), one.sample)
    target.run()
    assert (one.sample.outcome, one.sample.polls) == (Outcome.COMPLETED, 1)
    assert one.sample.finished_at == pytest.approx(FALLBACK_POLL_INTERVAL_S, abs=0.02)


def test_webhook_job_is_given_up_after_the_job_timeout() -> None:
    target, one = wire(service="1h"), webhook_job(job_timeout_s=3.0)
    target.drive(run_and_wait_for_webhook(one), one.sample)
    target.run()
    assert (one.sample.outcome, one.sample.polls) == (Outcome.CENSORED, 0)


def test_policy_reaches_the_endpoint() -> None:
    target, one = wire(service="20s"), webhook_job(policy=Policy(execution_timeout_ms=5000))
    target.drive(run_and_wait_for_webhook(one), one.sample)
    target.run()
    assert (one.sample.outcome, one.sample.execution_ms) == (Outcome.TIMED_OUT, 5000)
