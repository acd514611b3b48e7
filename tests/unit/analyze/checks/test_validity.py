from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pytest

from loadtest.analyze.summarize import summarize, verdict
from loadtest.analyze.summary import Check, CheckId, GateResult, Validity, Verdict
from loadtest.record.run import Ending, ProcessInfo, RunRecord, StageSpan
from loadtest.scenario.metrics import Metric, Unit
from loadtest.scenario.preview import preview
from loadtest.scenario.warnings import warnings
from tests.unit.analyze.rows import START_AT, job, requests, run, run_data, samples, scenario, ten_jobs

FEW_REQUESTS = requests((1000, 0, "run", 200, 10, 10))


def failing(of: RunRecord, table: pa.Table, sent: pa.Table = FEW_REQUESTS, **more: Any) -> list[str]:
    checked = summarize(run_data(of, table, sent, **more)).validity
    names = [check.name for check in checked.checks if not check.ok]
    assert checked.valid == (not names)
    return names


def test_a_valid_run_passes_every_check() -> None:
    assert failing(run(), ten_jobs()) == []
    assert summarize(run_data(run(), ten_jobs(), FEW_REQUESTS)).verdict is Verdict.PASS


@pytest.mark.parametrize(
    ("target", "flow", "warned"),
    [
        ("https://endpoint.example/v2/id", {"input": {"prompt": "hello"}}, [True]),
        ("https://endpoint.example/v2/id", {"inputs": {"template": {"prompt": "${uuid}"}}}, []),
        ("https://endpoint.example/v2/id", {"inputs": {"template": {"prompt": "hello", "costs": "$${5}"}}}, [True]),
        ("https://endpoint.example/v2/id", {"inputs": {"lines": [{"prompt": "a"}, {"prompt": "a"}]}}, [True]),
        ("https://endpoint.example/v2/id", {"inputs": {"lines": [{"prompt": "a"}, {"prompt": "b"}]}}, []),
        ("http://127.0.0.1:8000/v2/local", {"input": {"prompt": "hello"}}, []),
        ("embedded", {"input": {"prompt": "hello"}}, []),
    ],
)
def test_a_fixed_input_to_a_remote_target_is_warned_of(target: str, flow: dict[str, Any], warned: list[bool]) -> None:
    remote = {"price": 0.001, "ceilings": {"jobs": 100, "cost": 1}} if "example" in target else {}
    asked = scenario(target=target, flows={"run": flow}, **remote)
    summary = summarize(run_data(run(asked), ten_jobs(), FEW_REQUESTS))
    assert [check.warning for check in summary.validity.checks if check.name == "inputs vary"] == warned
    assert any("flows.run sends the same input" in each for each in warnings(preview(asked))) == bool(warned)


def test_no_data_never_passes() -> None:
    nothing = samples(*(job(seq, float(seq), outcome="failed") for seq in range(10)))
    assert failing(run(), nothing) == ["jobs completed"]


def test_a_load_that_was_not_delivered_is_invalid() -> None:
    assert failing(run(offered={"run": [2] * 10}), ten_jobs()) == ["load delivered"]


def at_rate(
    per_s: int, length_s: int, sent_per_s: float, stages: list[StageSpan] | None = None
) -> tuple[RunRecord, pa.Table]:
    """Return a run with jobs due at `per_s` of which only `sent_per_s` are sent, the rest as soon as possible."""
    asked = scenario(load={"stages": [{"rate": f"{per_s}/s", "for": f"{length_s}s"}]})
    of = run(
        asked, offered={"run": [per_s] * length_s}, load_ended_at=START_AT + length_s,
        ended_at=START_AT + 10 * length_s, stages=stages or [StageSpan("stage 1", length_s)],
    )  # fmt: skip
    rows = []
    for seq in range(per_s * length_s):
        at, sent = seq / per_s, max(seq / per_s, seq / sent_per_s)
        rows.append(
            job(seq, at, sent_at=START_AT + sent, accepted_at=START_AT + sent, finished_at=START_AT + sent + 0.4)
        )
    return of, samples(*rows)


def test_jobs_sent_during_the_drain_are_not_delivered_load() -> None:
    of, table = at_rate(20, 10, 12)
    summary = summarize(run_data(of, table, FEW_REQUESTS))
    assert summary.arrivals.started == 200
    assert summary.verdict is Verdict.INVALID
    assert "20/s was offered and 12.1/s achieved: 124 of 200 due jobs were sent;" in summary.reason
    assert failing(of, table) == ["load delivered", "rate achieved", "send lag"]


def test_a_stage_whose_jobs_were_sent_after_it_did_not_achieve_its_rate() -> None:
    of, table = at_rate(20, 20, 20, [StageSpan("first", 10), StageSpan("second", 10)])
    late = [row | {"sent_at": START_AT + 12} if 180 <= row["seq"] < 200 else row for row in table.to_pylist()]
    assert failing(of, table) == []
    summary = summarize(run_data(of, samples(*late), FEW_REQUESTS))
    [check] = [check for check in summary.validity.checks if check.name == "rate achieved"]
    assert (check.ok, check.value) == (False, 0.9)
    assert check.detail.startswith("In stage 1 (first), 180 of 200 due jobs")


def test_a_ramp_that_was_cut_before_its_end_is_invalid() -> None:
    asked = scenario(load={"stages": [{"rate": "0/s to 1250/s", "for": "60s"}]})
    cut = run(asked, stages=[StageSpan("stage 1", 60)])
    assert failing(cut, ten_jobs()) == ["stages reached"]
    assert "10 s of the 60 s that the stages last" in summarize(run_data(cut, ten_jobs(), FEW_REQUESTS)).reason


def ramped(sent_per_s: float) -> tuple[RunRecord, pa.Table]:
    """Return a run with a ramp to 100/s whose jobs are never sent faster than this."""
    load = {"arrivals": "constant", "stages": [{"name": "up", "rate": "0/s to 100/s", "for": "10s"}]}
    asked = scenario(load=load)
    at_s = np.sqrt(0.2 * np.arange(500))
    sent_s = at_s.copy()
    for later in range(1, len(sent_s)):
        sent_s[later] = max(at_s[later], sent_s[later - 1] + 1 / sent_per_s)
    rows = [
        job(seq, at, sent_at=START_AT + sent, accepted_at=START_AT + sent, finished_at=START_AT + sent + 0.4)
        for seq, (at, sent) in enumerate(zip(at_s, sent_s, strict=True))
    ]
    offered = {"run": np.bincount(at_s.astype(int)).tolist()}
    of = run(
        asked, offered=offered, load_ended_at=START_AT + 10, ended_at=START_AT + 30, stages=[StageSpan("up", 10)]
    )
    return of, samples(*rows)


def test_a_ramp_that_did_not_reach_its_rate_is_reported_before_its_consequences() -> None:
    assert failing(*ramped(200)) == []
    of, table = ramped(50)
    assert failing(of, table)[:2] == ["stages reached", "load delivered"]
    reason = summarize(run_data(of, table, FEW_REQUESTS)).reason
    assert "Stage 1 (up), a ramp to 100/s, did not reach it: at its end 95/s was offered and 50/s achieved." in reason


@pytest.mark.parametrize(
    ("bound", "named"),
    [
        ({"load": {"max_in_flight": 4}}, ", with no more than 4 at once (load.max_in_flight): "),
        ({"limits": {"runsync": "100 per 1 s, 4 at once"}}, ", with no more than 4 at once (limits.runsync): "),
        ({"load": {"max_in_flight": 5}, "limits": {"runsync": "100 per 1 s, 5 at once"}}, "/s achieved: "),
    ],
)
def test_a_bound_on_unfinished_jobs_that_was_reached_is_named(bound: dict[str, Any], named: str) -> None:
    load = {"stages": [{"rate": "20/s", "for": "10s"}], **bound.get("load", {})}
    of, table = at_rate(20, 10, 9.9)
    asked = scenario(**{**bound, "load": load}, flows={"runsync": {}})
    of = msgspec.structs.replace(of, scenario=asked.resolved(), offered={"runsync": [20] * 10})
    table = samples(*(row | {"flow": "runsync"} for row in table.to_pylist()))
    assert named in summarize(run_data(of, table, FEW_REQUESTS)).reason


def test_the_reason_is_the_cause_and_not_its_consequences() -> None:
    of, table = at_rate(20, 10, 12)
    busy = msgspec.structs.replace(of, processes=[ProcessInfo(0, 1, "here", cpu_share=1.0)])
    assert "used, or waited for, 100 % of a core" in summarize(run_data(busy, table, FEW_REQUESTS)).reason
    lost = msgspec.structs.replace(busy, lost=[0])
    assert "Process 0 fell silent" in summarize(run_data(lost, table, FEW_REQUESTS)).reason
    refused = requests((1000, 0, "run", 200, 90, 90), (1000, 0, "run", 429, 10, 100))
    assert "10 of 100 requests were answered 429" in summarize(run_data(of, table, refused)).reason


@pytest.mark.parametrize(("share", "valid"), [(0.9, True), (0.91, False), (None, True)])
def test_a_process_that_used_its_whole_core_makes_a_run_invalid(share: float | None, valid: bool) -> None:
    processes = [ProcessInfo(0, 1, "here", cpu_share=0.2), ProcessInfo(1, 2, "there", cpu_share=share)]
    assert failing(run(processes=processes), ten_jobs()) == ([] if valid else ["cpu"])


@pytest.mark.parametrize(("error_s", "valid"), [(0.004, True), (0.030, False), (None, True)])
def test_clock_errors_must_be_small_compared_with_the_measured_times(error_s: float | None, valid: bool) -> None:
    processes = [ProcessInfo(0, 1, "here", clock_error_s=0.0), ProcessInfo(1, 2, "there", clock_error_s=error_s)]
    assert failing(run(processes=processes), ten_jobs()) == ([] if valid else ["clocks"])


@pytest.mark.parametrize(("drift_s", "valid"), [(0.001, True), (0.3, False), (-0.3, False)])
def test_a_clock_that_moves_during_the_run_is_past_the_same_limit(drift_s: float, valid: bool) -> None:
    processes = [ProcessInfo(0, 1, "here", clock_error_s=0.0), ProcessInfo(1, 2, "there", 0.0, 0.0, drift_s)]
    assert failing(run(processes=processes), ten_jobs()) == ([] if valid else ["clocks"])


def test_the_limits_of_validity_can_be_set() -> None:
    strict = scenario(validity={"send_lag": "5ms", "completed": 72})
    rows = [job(seq, float(seq), finished_at=START_AT + seq + 0.1) for seq in range(10)]
    assert failing(run(strict), samples(*rows)) == ["jobs completed", "send lag"]
    loose = scenario(validity={"started": "40 %"})
    assert failing(run(loose, offered={"run": [2] * 10}), ten_jobs()) == []


def test_too_few_jobs_for_p95_are_reported_but_valid() -> None:
    checks = summarize(run_data(run(), ten_jobs(), FEW_REQUESTS)).validity.checks
    check = next(each for each in checks if each.name == "jobs completed")
    assert (check.ok, check.detail) == (True, "10 of 10 submitted jobs completed; p95 needs 72.")


def test_a_wave_of_starts_in_the_steady_window_is_invalid_and_even_starts_are_not() -> None:
    def table(starting: range) -> pa.Table:
        rows = []
        for seq in range(400):
            waited = {"delay_ms": 900, "worker_id": f"new-{seq}"} if seq in starting else {"delay_ms": 5}
            rows.append(job(seq, seq / 10, execution_ms=20, finished_at=START_AT + seq / 10 + 1.0, **waited))
        return samples(*rows)

    asked = scenario(load={"stages": [{"rate": "10/s", "for": "40s"}]})
    of = run(asked, offered={"run": [10] * 40}, load_ended_at=START_AT + 40, ended_at=START_AT + 45,
             stages=[StageSpan("stage 1", 40)])  # fmt: skip
    assert failing(of, table(range(200, 240))) == ["cold starts"]
    assert failing(of, table(range(3, 400, 4))) == []
    assert failing(of, table(range(200, 204))) == []


@pytest.mark.parametrize(("late_s", "valid"), [(0.024, True), (0.030, False)])
def test_send_lag_has_a_minimum_tolerance_for_short_jobs(late_s: float, valid: bool) -> None:
    rows = [job(seq, float(seq), sent_at=START_AT + seq + late_s) for seq in range(10)]
    assert failing(run(), samples(*rows)) == ([] if valid else ["send lag"])


def test_send_lag_may_be_longer_if_jobs_are_longer() -> None:
    rows = [job(seq, float(seq), sent_at=START_AT + seq + 0.2, finished_at=START_AT + seq + 5) for seq in range(10)]
    assert failing(run(), samples(*rows)) == []


def test_an_overfull_10_s_of_any_operation_is_invalid() -> None:
    asked = requests(
        (1000, 0, "run", 200, 10, 10), (1000, 0, "status", 200, 2100, 1500), (1000, 1, "status", 200, 9, 501)
    )
    assert failing(run(), ten_jobs(), asked) == ["request budgets"]


def test_too_many_unfinished_jobs_are_invalid() -> None:
    def table(unfinished: int) -> pa.Table:
        lost: dict[str, Any] = {"outcome": "censored", "finished_at": None}
        return samples(*(job(i, i / 10, **(lost if i < unfinished else {})) for i in range(100)))

    offered = run(offered={"run": [10] * 10})
    assert failing(offered, table(5)) == []
    assert failing(offered, table(6)) == ["censored jobs"]


def test_too_many_429s_are_invalid() -> None:
    asked = requests((1000, 0, "run", 200, 98, 98), (1000, 0, "run", 429, 2, 100))
    assert failing(run(), ten_jobs(), asked) == ["rate limited"]


@pytest.mark.parametrize("ending", [Ending.INTERRUPTED, Ending.TERMINATED, Ending.ABORTED, None])
def test_a_run_that_was_cut_short_is_aborted_whatever_its_figures(ending: Ending | None) -> None:
    summary = summarize(run_data(run(ending=ending, reason="stopped."), ten_jobs(), FEW_REQUESTS))
    assert summary.verdict is Verdict.ABORTED
    assert "run complete" in [check.name for check in summary.validity.checks if not check.ok]
    assert summary.reason.count(".") == 1


def test_every_check_explains_itself_in_whole_sentences() -> None:
    for table in (ten_jobs(), samples()):
        for check in summarize(run_data(run(), table, requests())).validity.checks:
            assert check.detail.endswith(".")
            assert "\n" not in check.detail


VALID = Validity(valid=True, checks=[Check(CheckId.CPU, True, None, None, "Well.")])
INVALID = Validity(
    valid=False, checks=[Check(CheckId.CPU, False, 1, 0, "Bad."), Check(CheckId.CLOCKS, False, 1, 0, "Worse.")]
)
JOBS = {"completed": 9, "submitted": 10}


def gate(word: Verdict) -> GateResult:
    return GateResult("delay p95 < 2s", 2100.0, 2000.0, 100, word, "2.1 s.", Metric.DELAY, Unit.MILLISECONDS)


@pytest.mark.parametrize(
    ("checked", "gates", "word"),
    [
        (VALID, [], Verdict.PASS),
        (VALID, [gate(Verdict.PASS)], Verdict.PASS),
        (VALID, [gate(Verdict.PASS), gate(Verdict.INCONCLUSIVE)], Verdict.INCONCLUSIVE),
        (VALID, [gate(Verdict.INCONCLUSIVE), gate(Verdict.FAIL)], Verdict.FAIL),
        (INVALID, [gate(Verdict.FAIL)], Verdict.INVALID),
    ],
)
def test_validity_comes_before_gates_and_failed_before_inconclusive_ones(
    checked: Validity, gates: list[GateResult], word: Verdict
) -> None:
    assert verdict(run(), checked, gates, JOBS)[0] is word


def test_the_reason_names_the_first_failed_check_and_counts_the_rest() -> None:
    assert verdict(run(), INVALID, [], JOBS)[1] == "The measurement is not valid: Bad. 1 more check failed."


def test_jobs_that_did_not_complete_are_counted_by_outcome() -> None:
    reported = verdict(run(), VALID, [], {**JOBS, "submitted": 14, "unreachable": 4, "bad_answer": 1})[1]
    assert reported.startswith("5 of 14 jobs (35.7 %) did not complete: 4 unreachable, 1 bad answer. The measurement")
    assert verdict(run(), VALID, [], JOBS)[1].startswith("9 of 10 jobs completed and the measurement is valid; ")


def test_a_pass_says_that_a_gate_on_errors_applied_by_default() -> None:
    default = msgspec.structs.replace(gate(Verdict.PASS), gate="errors < 1 %", default=True)
    reason = verdict(run(), VALID, [gate(Verdict.PASS), default], JOBS)[1]
    assert reason.endswith("every gate passed; no gate on errors was set, so errors < 1 % applied.")


@pytest.mark.parametrize("checked", [VALID, INVALID])
@pytest.mark.parametrize("ending", [Ending.COMPLETE, Ending.ABORTED])
def test_every_verdict_begins_with_the_share_of_jobs_that_did_not_complete(checked: Validity, ending: Ending) -> None:
    for gates in ([], [gate(Verdict.FAIL)], [gate(Verdict.INCONCLUSIVE)]):
        reason = verdict(run(ending=ending), checked, gates, {**JOBS, "completed": 935, "failed": 267})[1]
        assert reason.startswith("267 of 1202 jobs (22.2 %) did not complete: 267 failed. ")
