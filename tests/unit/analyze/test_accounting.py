"""The account of a run's jobs: what the endpoint may still have, what met faults, and which share an id."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from loadtest.analyze.accounting import left_text
from loadtest.analyze.leftovers import LeftOnEndpoint
from loadtest.analyze.summarize import summarize
from loadtest.analyze.summary import CheckId, Verdict
from loadtest.record.sample import CANCELS, ErrorKind, Outcome, certainly_refused
from tests.unit.analyze.rows import job, run, run_data, samples

UNKNOWN = {"job_id": None, "accepted_at": None}


def refused(**changes: Any) -> dict[str, Any]:
    return {**UNKNOWN, "outcome": "rejected", "http_status": None, **changes}


@pytest.mark.parametrize(
    ("changes", "perhaps"),
    [
        (refused(outcome="unreachable", error_kind="connection_closed"), True),
        (refused(outcome="unreachable", error_kind="read_timeout"), True),
        (refused(outcome="unreachable", error_kind="remote_protocol_error"), True),
        (refused(outcome="unreachable"), True),
        (refused(outcome="censored"), True),
        (refused(outcome="bad_answer", http_status=200, error_kind="invalid_response"), True),
        (refused(http_status=500), True),
        (refused(http_status=502), True),
        (refused(http_status=503), False),
        (refused(http_status=409), False),
        (refused(http_status=400), False),
        (refused(http_status=302, outcome="bad_answer", error_kind="invalid_response"), False),
        (refused(http_status=429, outcome="rate_limited"), False),
        *((refused(outcome="unreachable", error_kind=f"{kind}_error"), False) for kind in ("connect", "dns", "tls")),
        (refused(outcome="unreachable", error_kind="connect_timeout"), False),
        (refused(outcome="censored", sent_at=None), False),
    ],
)
def test_job_without_an_id_may_have_been_accepted_unless_it_was_certainly_refused(
    changes: dict[str, Any], perhaps: bool
) -> None:
    summary = summarize(run_data(run(), samples(job(0, 0.0), job(1, 1.0, **changes))))
    assert summary.jobs["perhaps_accepted"] == perhaps
    assert summary.left_on_endpoint == LeftOnEndpoint(0, int(perhaps), 0)
    assert ("up to 1 job without one" in summary.reason) == perhaps


def test_every_kind_of_error_is_decided() -> None:
    never_sent = {kind for kind in ErrorKind if certainly_refused(kind, None)}
    assert {kind.value for kind in never_sent} == {
        "connect_error", "connect_timeout", "dns_error", "local_resources", "proxy_error", "tls_error",
    }  # fmt: skip


@pytest.mark.parametrize("outcome", list(Outcome))
def test_accepted_job_is_left_unless_it_was_seen_final_or_cancelled(outcome: Outcome) -> None:
    rows = samples(*(job(seq, float(seq), outcome=outcome) for seq in range(3)))
    cancels = pa.Table.from_pylist([{"seq": 1, "process": 0, "at": 5.0}], CANCELS)
    given_up = outcome in (Outcome.CENSORED, Outcome.REJECTED, Outcome.UNREACHABLE, Outcome.BAD_ANSWER)
    given_up = given_up or outcome is Outcome.RATE_LIMITED
    summary = summarize(run_data(run(), rows, cancels=cancels))
    assert summary.jobs["given_up"] == (3 if given_up else 0)
    assert summary.left_on_endpoint == LeftOnEndpoint(2 if given_up else 0, 0, 1)


def test_faults_are_counted_and_null_in_older_runs() -> None:
    summary = summarize(
        run_data(run(), samples(job(0, 0.0, faults=3), job(1, 1.0, faults=0), job(2, 2.0, faults=None)))
    )
    assert (summary.faults.responses, summary.faults.jobs) == (3, 1)


def test_jobs_with_the_id_of_another_make_the_run_invalid() -> None:
    ids = ("a", "b", "a", "a", None)
    summary = summarize(
        run_data(run(), samples(*(job(seq, float(seq), job_id=each) for seq, each in enumerate(ids))))
    )
    assert summary.verdict is Verdict.INVALID
    check = next(check for check in summary.validity.checks if check.name is CheckId.SAMPLES_RECORDED)
    assert (check.ok, check.value) == (False, 2)
    assert "2 jobs got the id of another" in summary.reason


@pytest.mark.parametrize(
    ("left", "text"),
    [
        (LeftOnEndpoint(), ""),
        (LeftOnEndpoint(1, 0, 9), "Left on the endpoint: 1 job with a known id."),
        (LeftOnEndpoint(0, 2000), "Left on the endpoint: up to 2,000 jobs without one."),
        (LeftOnEndpoint(105, 117), "Left on the endpoint: 105 jobs with a known id and up to 117 jobs without one."),
    ],
)
def test_jobs_left_are_one_sentence(left: LeftOnEndpoint, text: str) -> None:
    assert left_text(left) == text


def test_ids_of_openai_answers_may_repeat_and_one_that_ended_without_an_id_is_not_left() -> None:
    rows = [job(seq, float(seq), flow="openai", job_id="chatcmpl-1" if seq else None) for seq in range(3)]
    summary = summarize(run_data(run(), samples(*rows)))
    assert summary.left_on_endpoint == LeftOnEndpoint(0, 0, 0)
    assert all("id of another" not in check.detail for check in summary.validity.checks)
