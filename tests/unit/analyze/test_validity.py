from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from loadtest.analyze.summarize import summarize
from loadtest.analyze.summary import Check, GateResult, Validity, Verdict
from loadtest.analyze.verdict import verdict
from loadtest.record.run import Ending, Run
from tests.unit.analyze.rows import START_AT, job, requests, run, samples, ten_jobs

FEW_REQUESTS = requests((1000, 0, "run", 200, 10, 10))


def failing(of: Run, table: pa.Table, asked: pa.Table = FEW_REQUESTS) -> list[str]:
    checked = summarize(of, table, asked, None).validity
    names = [check.name for check in checked.checks if not check.ok]
    assert checked.valid == (not names)
    return names


def test_a_sound_run_passes_every_check() -> None:
    assert failing(run(), ten_jobs()) == []
    assert summarize(run(), ten_jobs(), FEW_REQUESTS, None).verdict is Verdict.PASS


def test_no_data_never_passes() -> None:
    nothing = samples(*(job(seq, float(seq), outcome="failed") for seq in range(10)))
    assert failing(run(), nothing) == ["jobs completed"]


def test_a_load_that_was_not_delivered_is_invalid() -> None:
    assert failing(run(offered={"run": [2] * 10}), ten_jobs()) == ["load delivered"]


@pytest.mark.parametrize(("late_s", "sound"), [(0.024, True), (0.030, False)])
def test_send_lag_has_a_floor_for_short_jobs(late_s: float, sound: bool) -> None:
    rows = [job(seq, float(seq), sent_at=START_AT + seq + late_s) for seq in range(10)]
    assert failing(run(), samples(*rows)) == ([] if sound else ["send lag"])


def test_send_lag_may_be_longer_where_jobs_are() -> None:
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
    summary = summarize(run(ending=ending, reason="stopped."), ten_jobs(), FEW_REQUESTS, None)
    assert summary.verdict is Verdict.ABORTED
    assert "run complete" in [check.name for check in summary.validity.checks if not check.ok]
    assert summary.reason.count(".") == 1


def test_every_check_says_in_one_sentence_what_it_saw() -> None:
    for table in (ten_jobs(), samples()):
        for check in summarize(run(), table, requests(), None).validity.checks:
            assert check.detail.endswith(".")
            assert "\n" not in check.detail


SOUND = Validity(valid=True, checks=[Check("c", True, None, None, "Well.")])
DOUBTFUL = Validity(valid=False, checks=[Check("c", False, 1, 0, "Bad."), Check("d", False, 1, 0, "Worse.")])
JOBS = {"completed": 9, "submitted": 10}


def gate(word: Verdict) -> GateResult:
    return GateResult("delay p95 < 2s", 2100.0, 2000.0, 100, word, "2.1 s.")


@pytest.mark.parametrize(
    ("checked", "gates", "word"),
    [
        (SOUND, [], Verdict.PASS),
        (SOUND, [gate(Verdict.PASS)], Verdict.PASS),
        (SOUND, [gate(Verdict.PASS), gate(Verdict.INCONCLUSIVE)], Verdict.INCONCLUSIVE),
        (SOUND, [gate(Verdict.INCONCLUSIVE), gate(Verdict.FAIL)], Verdict.FAIL),
        (DOUBTFUL, [gate(Verdict.FAIL)], Verdict.INVALID),
    ],
)
def test_soundness_comes_before_gates_and_failing_before_doubt(
    checked: Validity, gates: list[GateResult], word: Verdict
) -> None:
    assert verdict(run(), checked, gates, JOBS)[0] is word


def test_the_reason_names_the_first_doubt_and_counts_the_rest() -> None:
    assert verdict(run(), DOUBTFUL, [], JOBS)[1] == "The measurement is not sound. Bad. 1 more check failed."


def test_jobs_that_did_not_complete_are_told_by_what_became_of_them() -> None:
    told = verdict(run(), SOUND, [], {**JOBS, "submitted": 14, "unreachable": 4, "bad_answer": 1})[1]
    assert told.startswith("9 of 14 jobs completed (4 unreachable, 1 bad answer) and the measurement is sound")
    assert verdict(run(), SOUND, [], JOBS)[1].startswith("9 of 10 jobs completed and the measurement is sound")
