"""The verdict as JUnit XML and as Markdown: well-formed for any text, with the figures of the summary."""

from __future__ import annotations

from xml.etree import ElementTree

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from loadtest.analyze.summarize import summarize
from loadtest.analyze.summary import Cause, Check, GateResult, Summary, Validity, Verdict
from loadtest.report.ci.junit import junit
from loadtest.report.ci.markdown import markdown
from loadtest.report.summary_text import limit_text, observed_text
from loadtest.scenario.metrics import Metric, Unit
from tests.unit.analyze.rows import requests, run, run_data, ten_jobs

SUMMARY = summarize(run_data(run(), ten_jobs(), requests((1000, 0, "run", 200, 10, 10))))
TIME, SHARE, RATE = ((metric, metric.spec.unit) for metric in (Metric.DELAY, Metric.ERRORS, Metric.THROUGHPUT))
GATES = [
    GateResult("delay p95 < 2s", 1500.0, 2000.0, 1000, Verdict.PASS, "Fine.", *TIME),
    GateResult("errors < 1 %", 0.05, 0.01, 1000, Verdict.FAIL, "50 of 1,000 jobs failed.", *SHARE),
    GateResult("throughput > 20/s", None, 20.0, 0, Verdict.INCONCLUSIVE, "There is no job to judge.", *RATE),
]


def summary(gates: list[GateResult] = GATES, valid: bool = True) -> Summary:
    checks = [Check("send lag", valid, 1.0, 2.0, "Jobs were sent late.")]
    return msgspec.structs.replace(SUMMARY, gates=gates, validity=Validity(valid, checks))


def cases(content: bytes) -> dict[str, ElementTree.Element]:
    root = ElementTree.fromstring(content)
    return {case.get("name", ""): case for case in root.iter("testcase")}


def test_each_gate_and_each_check_is_a_test_case() -> None:
    found = cases(junit(summary()))
    assert list(found) == ["delay p95 < 2s", "errors < 1 %", "throughput > 20/s", "send lag"]
    assert [[child.tag for child in case] for case in found.values()] == [
        ["system-out"],
        ["failure"],
        ["skipped"],
        ["system-out"],
    ]
    failure = found["errors < 1 %"].find("failure")
    assert failure is not None
    assert failure.get("message") == "observed 5 %, limit 1 %, n 1,000. 50 of 1,000 jobs failed."
    assert found["delay p95 < 2s"].get("classname") == "made.gates"


def test_counts_are_those_of_the_cases() -> None:
    root = ElementTree.fromstring(junit(summary(valid=False)))
    assert [suite.get("name") for suite in root] == ["made: gates", "made: measurement"]
    whole = {key: root.get(key) for key in ("tests", "failures", "errors", "skipped")}
    assert whole == {"tests": "4", "failures": "2", "errors": "0", "skipped": "2"}
    for key, total in whole.items():
        assert sum(int(suite.get(key, "")) for suite in root) == int(total or "")


def test_gate_that_passes_in_an_invalid_run_is_skipped() -> None:
    skipped = cases(junit(summary(valid=False)))["delay p95 < 2s"].find("skipped")
    assert skipped is not None
    assert "the measurement is not valid" in skipped.get("message", "")


def test_run_without_gates_has_an_empty_suite() -> None:
    assert list(cases(junit(summary(gates=[])))) == ["send lag"]


anything = st.text(st.characters(codec="utf-8") | st.sampled_from("\x00\x0b]]>|<&\"'\ufffe\n"))


@given(anything, anything, anything)
def test_files_are_well_formed_for_any_text(name: str, detail: str, error: str) -> None:
    assume(name != "send lag")  # the name of the other test case
    reported = summary([GateResult(name, None, 1.0, 3, Verdict.FAIL, detail, *TIME)])
    reported = msgspec.structs.replace(reported, causes=[Cause("failed", 200, 3, error, 0, None)])
    assert len(cases(junit(reported))) == 2
    rows = [line for line in markdown(reported).splitlines() if line.startswith("| fail |")]
    assert len(rows) == 1
    assert rows[0].replace("\\|", "").count("|") == 6


def test_every_failure_and_the_markdown_name_the_most_frequent_causes() -> None:
    causes = [Cause("rejected", 403, 1200, "no <key>\nfor it", 0, None)]
    causes += [Cause("bad_answer", 301, 5 - n, "moved", n, None) for n in range(4)]
    reported = msgspec.structs.replace(summary(valid=False), causes=causes, jobs={"rejected": 1200, "bad_answer": 14})
    lines = [
        "1,200 of 1,214 jobs ended as rejected (HTTP 403): no <key> for it",
        "5 of 1,214 jobs ended as bad answer (HTTP 301): moved",
        "4 of 1,214 jobs ended as bad answer (HTTP 301): moved",
        "2 more causes in the report",
    ]
    found = [note for case in cases(junit(reported)).values() for note in case if note.tag == "failure"]
    assert len(found) == 2
    assert all((note.text or "").splitlines()[1:] == lines for note in found)
    assert next(line for line in markdown(reported).splitlines() if line.startswith("- ")) == (
        "- 1,200 of 1,214 jobs ended as rejected (HTTP 403): no &lt;key&gt; for it"
    )


def test_markdown_has_verdict_gates_failed_checks_and_times() -> None:
    text = markdown(summary(valid=False))
    assert text.startswith("## Load test made: pass\n")
    assert "| fail | errors &lt; 1 % | 5 % | 1,000 | 50 of 1,000 jobs failed. |" in text
    assert "| send lag | Jobs were sent late. |" in text
    assert "| run | 10 | 10 |" in text
    assert "<" not in text


@pytest.mark.parametrize(
    ("gate", "unit", "observed", "limit", "texts"),
    [
        ("delay p95 < 2s", Unit.MILLISECONDS, 1500.0, 2000.0, ("1.50 s", "2.00 s")),
        ("errors < 1 %", Unit.SHARE, 0.0004, 0.01, ("< 0.1 %", "1 %")),
        ("throughput > 20/s", Unit.PER_SECOND, 25.0, 20.0, ("25.0/s", "20.0/s")),
        ("run delay p95 against the baseline", Unit.RATIO, 1.1, 1.05, ("1.100×", "1.050×")),
        ("delay p95 < 2s", Unit.MILLISECONDS, None, 2000.0, ("–", "2.00 s")),
    ],
)
def test_figures_have_the_unit_of_their_gate(
    gate: str, unit: Unit, observed: float | None, limit: float, texts: tuple[str, str]
) -> None:
    result = GateResult(gate, observed, limit, 10, Verdict.PASS, "", Metric.DELAY, unit)
    assert (observed_text(result), limit_text(result)) == texts
