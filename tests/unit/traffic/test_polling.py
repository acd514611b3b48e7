from __future__ import annotations

from typing import get_args

import pytest

from loadtest.traffic.polling import LIMIT_HEADROOM, POLICIES, PollGroup, PollPacer
from loadtest.traffic.settings import Polling


def gaps(jobs: int = 1, **settings: object) -> list[float]:
    pacer = PollPacer(Polling.model_validate({"every": "1s", **settings}), 200.0, PollGroup(jobs))
    return [pacer.interval_s(polls) for polls in range(4)]


def test_fixed_polls_are_evenly_spaced_for_any_number_of_jobs() -> None:
    assert gaps(jobs=10_000, policy="fixed") == [1, 1, 1, 1]


def test_backoff_grows_to_its_maximum() -> None:
    assert gaps(policy="backoff", factor=2, max_interval="3s") == [1, 2, 3, 3]


def test_shared_polls_slow_down_when_the_limit_would_not_hold() -> None:
    assert gaps(jobs=100, policy="shared") == [1, 1, 1, 1]
    assert gaps(jobs=1800, policy="shared") == pytest.approx([1800 / (200 * LIMIT_HEADROOM)] * 4)


@pytest.mark.parametrize("policy", POLICIES)
def test_the_expected_polls_are_those_that_the_policy_sends(policy: str) -> None:
    polling = Polling.model_validate({"policy": policy, "every": "1s"})
    for job_s in (0.5, 7.5, 95.0):
        pacer, at_s, polls = PollPacer(polling, 200.0, PollGroup()), 0.0, 0
        while at_s < job_s:
            held_s = pacer.long_poll_s(600.0)
            at_s += held_s or pacer.interval_s(polls)
            polls += 1
        assert POLICIES[policy].expected_polls(polling, job_s) == polls


def test_the_reference_knows_the_policies_that_there_are() -> None:
    assert set(get_args(Polling.model_fields["policy"].annotation)) == set(POLICIES)
