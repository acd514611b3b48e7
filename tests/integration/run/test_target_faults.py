"""A target that misbehaves for a while in the middle of a run: what it did is in the rows, and nothing else is."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.integration.run import faulty
from tests.integration.run.conftest import Finished, Started, read_journal, sending, open_load
from tests.integration.run.faulty import Faulty, Misbehave

MIXED = {"run": {"polling": {"every": "100ms"}}, "runsync": {}}
AFTER_S, FOR_S = 1.8, 1.2
EDGE_S = 0.5
"""A job that is sent so long before a fault is over when it begins."""
MOMENT_S = 0.1
"""Between the sending of a request and what the server makes of it."""


@dataclass(frozen=True)
class Case:
    """A way to misbehave, what becomes of a job submitted meanwhile and of one polled, and what the summary says."""

    misbehave: Misbehave
    outcome: str
    error: str
    message: str
    polled: tuple[str, ...] = ()


CASES = [
    Case(faulty.resets, "unreachable", "Connection reset by peer", "unreachable", polled=("unreachable",)),
    Case(faulty.answers_with_a_page, "bad_answer", "not a job", "bad answer", polled=("bad_answer",)),
    Case(faulty.speaks_another_protocol, "unreachable", "not HTTP", "unreachable", polled=("unreachable",)),
    Case(faulty.answers_503, "rejected", "no healthy upstream", "rejected", polled=("rejected",)),
    Case(faulty.hangs, "unreachable", "no whole answer in time", "unreachable", polled=("censored",)),
]
"""In the order in which one run meets them; a job that hangs is still there in the next calm, so that comes last."""
SLOW_DOWN = Case(faulty.answers_429, "completed", "", "answered 429")


def nothing_is_lost(finished: Finished, known: set[str]) -> None:
    """A row for each job that was due and sent, and for each that the server knows."""
    rows = finished.samples
    assert [row["seq"] for row in sorted(rows, key=lambda row: row["seq"])] == list(range(len(rows)))
    assert finished.run["audit"] == [{"process": 0, "sent": len(rows), "recorded": len(rows)}]
    assert finished.summary["arrivals"]["started"] == finished.summary["arrivals"]["offered"] == len(rows)
    assert {row["job_id"] for row in rows} - {None} == known
    assert finished.is_complete()
    assert "Traceback" not in finished.stderr


def met(start: Callable[..., Started], cases: Sequence[Case]) -> tuple[Finished, Faulty]:
    """A run that meets these faults one after another."""
    duration_s = (AFTER_S + FOR_S) * len(cases) + AFTER_S
    with faulty.faulty([case.misbehave for case in cases], AFTER_S, FOR_S) as endpoint:
        scenario = open_load("40/s", f"{duration_s:g}s", flows=MIXED, job_timeout="2.5s", drain={"within": "5s"})
        return start(scenario, "--target", endpoint.url).finish(), endpoint


def shown_by_its_jobs_alone(finished: Finished, endpoint: Faulty, case: Case) -> None:
    """The jobs that were sent while the endpoint misbehaved so say it, and those before and after do not."""
    number = [spell.misbehave for spell in endpoint.spells].index(case.misbehave)
    spell, last = endpoint.spells[number], number + 1 == len(endpoint.spells)
    calm_from = endpoint.spells[number - 1].bad_until if number else 0.0
    calm_until = float("inf") if last else endpoint.spells[number + 1].bad_from - EDGE_S
    rows = finished.samples
    met = [row for row in rows if spell.bad_from < row["sent_at"] < spell.bad_until - MOMENT_S]
    assert len(met) > 20
    assert {row["outcome"] for row in met} == {case.outcome}
    assert all(case.error in (row["error"] or "") for row in met)
    before = [row for row in rows if calm_from < row["sent_at"] < spell.bad_from]
    after = [row for row in rows if spell.bad_until < row["sent_at"] < calm_until]
    assert {row["outcome"] for row in before} <= {"completed", *case.polled}
    assert {row["outcome"] for row in before if row["sent_at"] < spell.bad_from - EDGE_S} == {"completed"}
    assert {row["outcome"] for row in after} == {"completed"}
    assert len(after) > 30
    assert max(pq.read_table(finished.out / "health.parquet")["at"].to_pylist()) > spell.bad_until
    if case.outcome == "completed":
        assert case.message in finished.summary["reason"]
        assert sum(row["throttled"] for row in met) >= len(met)
    else:
        alike = sum(row["outcome"] == case.outcome for row in rows)
        assert f"{alike} {case.message}" in finished.summary["reason"]


@pytest.fixture(scope="module")
def all_met(start_module: Callable[..., Started]) -> tuple[Finished, Faulty]:
    return met(start_module, CASES)


@pytest.mark.alone
def test_faults_of_the_target_cost_no_sample(all_met: tuple[Finished, Faulty]) -> None:
    finished, endpoint = all_met
    nothing_is_lost(finished, set(endpoint.jobs))
    assert finished.status == 0


@pytest.mark.alone
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.misbehave.__name__)
def test_a_fault_of_the_target_is_what_its_jobs_say_and_no_others(
    all_met: tuple[Finished, Faulty], case: Case
) -> None:
    shown_by_its_jobs_alone(*all_met, case)


@pytest.mark.alone
def test_a_target_that_asks_to_slow_down_has_its_wait_and_is_named(start: Callable[..., Started]) -> None:
    finished, endpoint = met(start, [SLOW_DOWN])
    nothing_is_lost(finished, set(endpoint.jobs))
    shown_by_its_jobs_alone(finished, endpoint, SLOW_DOWN)
    assert finished.status == 3


def test_a_server_that_is_gone_for_five_seconds_costs_the_jobs_of_these_seconds(
    start: Callable[..., Started], serve: Callable[..., Any], free_port: int
) -> None:
    settings = {"workers": {"active": 20, "max": 20}, "service": "100ms"}
    first = serve(settings, port=free_port)
    begun = start(open_load("30/s", "9s", flows=MIXED), "--target", first.url)
    sending(begun)
    first.stop()
    gone_at = time.time()
    time.sleep(4.5)
    second = serve(settings, port=free_port)
    back_at = time.time()
    finished = begun.finish()
    second.stop()
    known = {job for server in (first, second) for job in read_journal(server.journal).jobs}
    nothing_is_lost(finished, known)
    meanwhile = [row for row in finished.samples if gone_at < row["sent_at"] < back_at - 1]
    assert len(meanwhile) > 80
    assert Counter(row["outcome"] for row in meanwhile) == {"unreachable": len(meanwhile)}
    assert {row["error"] for row in meanwhile} == {"no connection: Connection refused"}
    after = [row for row in finished.samples if row["sent_at"] > back_at]
    assert len(after) > 10
    assert {row["outcome"] for row in after} == {"completed"}
    assert f"{finished.summary['jobs']['unreachable']} unreachable" in finished.summary["reason"]
