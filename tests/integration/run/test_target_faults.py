"""A target that misbehaves for a while in the middle of a run: the rows show its faults, and nothing else."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow.parquet as pq

from tests.integration.conftest import Serve, wait_for
from tests.integration.run import faulty
from tests.integration.run.conftest import LATE_IS_SOUND, MIXED, Finished, Start, open_load, read_journal, sending
from tests.integration.run.faulty import Faulty, Misbehave

AFTER_S, FOR_S = 1.8, 1.4
EDGE_S = 0.7
"""A job that is sent so long before a fault is over when it begins."""
MOMENT_S = 0.5
"""Between the sending of a request and its handling by the server, on a busy machine."""


@dataclass(frozen=True)
class Case:
    """A way to misbehave, the outcome of a job submitted meanwhile and of one polled, and the summary's words."""

    misbehave: Misbehave
    outcome: str
    error: str
    message: str
    polled: tuple[str, ...] = ()


CASES = [
    Case(faulty.resets, "unreachable", "Connection reset by peer", "unreachable", polled=("unreachable",)),
    Case(faulty.answers_with_a_page, "bad_answer", "not a job", "bad answer", polled=("bad_answer",)),
    Case(faulty.speaks_another_protocol, "unreachable", "not HTTP", "unreachable", polled=("unreachable",)),
    Case(faulty.answers_502, "rejected", "no healthy upstream", "rejected", polled=("rejected",)),
    Case(faulty.hangs, "unreachable", "no whole response in time", "unreachable", polled=("censored",)),
]
"""In the order in which one run meets them; a job that hangs is still there in the next calm, so that comes last."""


def assert_complete(finished: Finished, known: set[str]) -> None:
    """There is a row for each job that was due and sent, and for each that the server knows."""
    rows = finished.samples
    assert [row["seq"] for row in sorted(rows, key=lambda row: row["seq"])] == list(range(len(rows)))
    assert finished.run["audit"] == [{"process": 0, "sent": len(rows), "recorded": len(rows)}]
    assert finished.summary["arrivals"]["started"] == finished.summary["arrivals"]["offered"] == len(rows)
    assert {row["job_id"] for row in rows} - {None} == known
    assert finished.is_complete()
    assert "Traceback" not in finished.stderr


def run_through(start: Start, cases: Sequence[Case]) -> tuple[Finished, Faulty]:
    """Run against a target with these faults, one after another."""
    duration_s = (AFTER_S + FOR_S) * len(cases) + AFTER_S
    with faulty.faulty([case.misbehave for case in cases], AFTER_S, FOR_S) as endpoint:
        scenario = open_load(
            "40/s", f"{duration_s:g}s", flows=MIXED, job_timeout="2.5s", drain={"within": "5s"}, **LATE_IS_SOUND
        )
        return start(scenario, "--target", endpoint.url).finish(), endpoint


def assert_shown_by_its_jobs_alone(finished: Finished, endpoint: Faulty, case: Case) -> None:
    """The jobs that were sent during a fault have its outcome, and those before and after completed."""
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
    assert {row["outcome"] for row in before} <= {"completed", case.outcome, *case.polled}
    assert {row["outcome"] for row in before if row["sent_at"] < spell.bad_from - EDGE_S} == {"completed"}
    assert {row["outcome"] for row in after} == {"completed"}
    assert len(after) > 20
    assert max(pq.read_table(finished.out / "health.parquet")["at"].to_pylist()) > spell.bad_until
    alike = sum(row["outcome"] == case.outcome for row in rows)
    assert f"{alike} {case.message}" in finished.summary["reason"]


def test_faults_of_the_target_cost_no_sample_and_are_shown_by_their_jobs_alone(start: Start) -> None:
    finished, endpoint = run_through(start, CASES)
    assert_complete(finished, set(endpoint.jobs))
    assert finished.status == 0
    for case in CASES:
        assert_shown_by_its_jobs_alone(finished, endpoint, case)
    causes = finished.summary["causes"]
    assert {case.outcome for case in CASES} <= {cause["outcome"] for cause in causes}
    assert f"{causes[0]['jobs']} of {len(finished.samples)} jobs ended as" in finished.stdout


def test_server_that_is_gone_for_a_while_costs_only_the_jobs_of_that_while(
    start: Start, serve: Serve, free_port: int
) -> None:
    settings = {"workers": {"active": 20, "max": 20}, "service": "100ms"}
    first = serve(settings, port=free_port)
    begun = start(open_load("40/s", "7s", flows=MIXED), "--target", first.url)
    sending(begun)
    first.stop()
    gone_at = time.time()
    time.sleep(3.5)
    second = serve(settings, port=free_port)
    finished = begun.finish()
    second.stop()
    journals = [read_journal(server.journal) for server in (first, second)]
    assert_complete(finished, {job for journal in journals for job in journal.jobs})
    # By the server's own record: it answers before this process reads that it listens.
    back_at = min(request["at"] for request in journals[1].requests)
    meanwhile = [row for row in finished.samples if gone_at < row["sent_at"] < back_at - 1]
    assert len(meanwhile) > 60
    assert Counter(row["outcome"] for row in meanwhile) == {"unreachable": len(meanwhile)}
    assert {row["error"] for row in meanwhile} == {"no connection: Connection refused"}
    after = [row for row in finished.samples if row["sent_at"] > back_at]
    assert len(after) > 10
    assert {row["outcome"] for row in after} == {"completed"}
    assert f"{finished.summary['jobs']['unreachable']} unreachable" in finished.summary["reason"]


def test_submissions_that_are_refused_for_a_while_are_repeated_and_each_job_accepted_once(start: Start) -> None:
    with faulty.faulty([faulty.answers_503], 0.5, 1.0) as endpoint:
        scenario = open_load("40/s", "2s", flows=MIXED, drain={"within": "6s"}, **LATE_IS_SOUND)
        finished = start(scenario, "--target", endpoint.url).finish()
    assert_complete(finished, set(endpoint.jobs))
    assert {row["outcome"] for row in finished.samples} == {"completed"}
    faults = sum(row["faults"] for row in finished.samples)
    assert faults >= len([row for row in finished.samples if row["faults"]]) > 20
    assert finished.summary["faults"]["responses"] == faults


def test_jobs_whose_polls_fail_are_cancelled_when_they_are_given_up(start: Start) -> None:
    with faulty.faulty([faulty.answers_502_to_polls], 0.3, 60.0) as endpoint:
        polling = {"every": "100ms", "give_up_after": "500ms"}
        scenario = open_load("20/s", "2s", flows={"run": {"polling": polling}}, **LATE_IS_SOUND)
        begun = start(scenario, "--target", endpoint.url)
        sending(begun)
        wait_for(lambda: endpoint.cancelled)
        finished = begun.finish()
    given_up = {row["job_id"] for row in finished.samples if row["outcome"] == "rejected"}
    assert len(given_up) > 20
    assert endpoint.cancelled == given_up
    assert {row["outcome"] for row in finished.samples} <= {"rejected", "completed"}
    assert finished.run["cancelled"] == finished.summary["jobs"]["given_up"] == len(given_up)
    assert finished.run["left_over"] == 0
    assert finished.summary["left_on_endpoint"] == {"known_ids": 0, "unknown_ids": 0, "cancelled": len(given_up)}
    cancels = pq.read_table(finished.out / "cancels.parquet").to_pylist()
    assert len({(row["process"], row["seq"]) for row in cancels}) == len(given_up)
