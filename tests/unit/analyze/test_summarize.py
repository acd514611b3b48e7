from __future__ import annotations

import msgspec
import pyarrow as pa
import pytest

from loadtest.analyze.summarize import summarize
from loadtest.analyze.summary import Summary, Verdict
from loadtest.record.run import Ending
from loadtest.record.sample import CHUNKS, REQUESTS, SAMPLES
from tests.unit.analyze.rows import START_AT, job, requests, run, run_data, samples, scenario, ten_jobs

NO_REQUESTS = REQUESTS.empty_table()
ms = pytest.approx


def test_every_time_of_a_completed_job() -> None:
    flow = summarize(run_data(run(), ten_jobs())).flows["run"]
    assert flow.end_to_end_ms.p50 == ms(360)
    assert flow.response_ms.p50 == ms(350)
    assert flow.submit_ms.p50 == ms(5, rel=1e-4)
    assert (flow.delay_ms.p50, flow.execution_ms.p50) == (100, 200)
    assert flow.overhead_ms.p50 == ms(50, rel=1e-4)
    assert (flow.jobs, flow.completed, flow.polls_per_job) == (10, 10, 2)
    assert flow.first_chunk_ms.n == flow.chunk_gap_ms.n == 0


def test_rates_are_over_the_load_and_the_drain_counts_nowhere() -> None:
    late = job(9, 9.0, finished_at=START_AT + 14)
    table = samples(*(job(seq, float(seq)) for seq in range(9)), late)
    summary = summarize(run_data(run(), table))
    assert summary.run.duration_s == 10
    assert summary.flows["run"].throughput_per_s == 0.9
    assert summary.flows["run"].completed == 10
    assert (summary.arrivals.offered_per_s, summary.arrivals.achieved_per_s) == (1.0, 1.0)


def test_an_interrupted_run_is_measured_to_its_end() -> None:
    cut = run(ending=Ending.INTERRUPTED, ended_at=START_AT + 4.5, load_ended_at=None)
    table = samples(*(job(seq, float(seq)) for seq in range(5)))
    summary = summarize(run_data(cut, table))
    assert summary.run.duration_s == 4.5
    assert summary.arrivals.offered == 4  # four whole seconds and half of one: 4.5, to even
    assert summary.verdict is Verdict.ABORTED
    assert not summary.run.complete


def test_a_run_whose_process_died_is_measured_by_its_samples() -> None:
    died = run(ending=None, ended_at=None, load_ended_at=None)
    table = samples(job(0, 0.0), job(1, 3.0))
    summary = summarize(run_data(died, table))
    assert summary.run.duration_s == ms(3.36)
    assert summary.verdict is Verdict.ABORTED
    assert "died" in summary.reason


def test_a_closed_load_offers_what_it_starts() -> None:
    closed = scenario(load={"model": "closed", "stages": [{"users": 2, "for": "10s"}]})
    arrivals = summarize(run_data(run(closed, offered={}), ten_jobs())).arrivals
    assert (arrivals.offered, arrivals.started) == (10, 10)


def test_jobs_are_counted_by_how_they_ended_and_unfinished_ones_are_not_forgotten() -> None:
    table = samples(
        job(0, 0.0),
        job(1, 1.0, outcome="failed", error="boom"),
        job(2, 2.0, outcome="unreachable", job_id=None, accepted_at=None, delay_ms=None, execution_ms=None),
        job(3, 3.0, outcome="censored", finished_at=None, delay_ms=None, execution_ms=None),
        job(4, 4.0, outcome="censored", sent_at=None, accepted_at=None, finished_at=None, job_id=None),
    )
    summary = summarize(run_data(run(), table))
    assert summary.jobs["submitted"] == 4
    assert summary.jobs["accepted"] == 3
    counts = {word: summary.jobs[word] for word in ("completed", "failed", "unreachable", "censored", "expired")}
    assert counts == {"completed": 1, "failed": 1, "unreachable": 1, "censored": 2, "expired": 0}
    assert summary.flows["run"].delay_ms.n == 1


def test_runsync_has_no_submission_time() -> None:
    table = samples(job(0, 0.0, flow="runsync"), job(1, 1.0))
    flows = summarize(run_data(run(), table)).flows
    assert (flows["runsync"].submit_ms.n, flows["run"].submit_ms.n) == (0, 1)


def test_chunk_gaps_are_within_a_job_and_of_completed_jobs() -> None:
    rows = [job(seq, float(seq), flow="stream", first_chunk_at=START_AT + seq + 0.2) for seq in range(2)]
    table = samples(*rows, job(2, 2.0, flow="stream", outcome="failed"))
    seen = [(0, 0.2), (1, 1.2), (0, 0.3), (1, 1.7), (0, 0.5), (2, 2.0), (2, 9.0)]
    chunks = pa.Table.from_pylist([{"seq": seq, "process": 0, "at": START_AT + at} for seq, at in seen], CHUNKS)
    flow = summarize(run_data(run(), table, chunks=chunks)).flows["stream"]
    assert flow.first_chunk_ms.max == ms(200)
    assert (flow.chunk_gap_ms.n, flow.chunk_gap_ms.min, flow.chunk_gap_ms.max) == (3, ms(100), ms(500))


def test_operations_are_listed_with_their_limit_in_10_s() -> None:
    table = requests(
        (1000, 0, "run", 200, 5, 5), (1001, 0, "run", 200, 7, 12), (1001, 0, "run", 429, 2, 14),
        (1001, 1, "run", 200, 3, 3), (1002, 0, "status", 200, 40, 40), (1002, 0, "health", 0, 1, 1),
    )  # fmt: skip
    asked = scenario(limits={"status": "5 per 1 s"})
    operations = summarize(run_data(run(asked), ten_jobs(), table)).operations
    submit = operations["run"]
    assert (submit.requests, submit.most_in_10_s, submit.limit, submit.throttled) == (17, 17, 1000, 2)
    assert (operations["status"].limit, operations["health"].limit) == (50, None)
    assert operations["status"].per_completed_job == 40 / 10


def test_requests_per_completed_job_are_unknown_if_none_completed() -> None:
    table = requests((1000, 0, "run", 200, 5, 5))
    assert summarize(run_data(run(), samples(), table)).operations["run"].per_completed_job is None


def test_the_fullest_10_s_of_many_processes_is_that_of_all_their_requests() -> None:
    table = requests((1000, 0, "run", 200, 9, 9), (1000, 1, "run", 200, 8, 8))
    known = msgspec.structs.replace(run(), peak_requests={"run": 11})
    assert summarize(run_data(known, ten_jobs(), table)).operations["run"].most_in_10_s == 11


def test_workers_that_completed_nothing_come_first_and_then_the_busiest() -> None:
    table = samples(
        job(0, 0.0, worker_id="b", execution_ms=10),
        job(1, 1.0, worker_id="a", execution_ms=20),
        job(2, 2.0, worker_id="b", execution_ms=30),
        job(3, 3.0, worker_id=None),
        job(4, 4.0, worker_id="c", outcome="failed"),
    )
    workers = summarize(run_data(run(), table)).workers
    found = [(worker.worker_id, worker.jobs, worker.execution_ms.mean) for worker in workers]
    assert found == [("c", 0, None), ("b", 2, 20.0), ("a", 1, 20.0)]


@pytest.mark.parametrize("outcome", ["failed", "timed_out", "cancelled"])
def test_all_execution_is_billed_but_only_completed_jobs_are_worth_it(outcome: str) -> None:
    table = samples(job(0, 0.0, execution_ms=1500), job(1, 1.0, execution_ms=500, outcome=outcome))
    cost = summarize(run_data(run(scenario(price=0.001)), table)).cost
    assert cost is not None
    assert (cost.billed_s, cost.per_1000_jobs) == (2.0, ms(2.0))
    assert summarize(run_data(run(), table)).cost is None


def test_no_rows_at_all_give_a_summary_that_can_be_written_and_does_not_pass() -> None:
    asked = scenario(price=0.001, flows={"run": {}, "stream": {}})
    summary = summarize(run_data(run(asked), SAMPLES.empty_table()))
    assert summary.verdict is Verdict.INVALID
    assert summary.flows.keys() == {"run", "stream"}
    assert summary.cost is not None
    assert summary.cost.per_1000_jobs is None
    assert msgspec.json.decode(msgspec.json.encode(summary), type=Summary) == summary


def test_load_that_never_started_lasted_no_time() -> None:
    never = run(ending=Ending.ABORTED, reason="no answer", load_started_at=None, load_ended_at=None, offered={})
    summary = summarize(run_data(never, SAMPLES.empty_table()))
    assert (summary.run.duration_s, summary.arrivals.offered_per_s) == (0, 0)
    assert (summary.verdict, summary.reason) == (Verdict.ABORTED, "The run was aborted: no answer.")
