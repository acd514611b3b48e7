"""A run's verdict as JUnit XML for CI systems: one suite of gates, one of validity checks."""

from __future__ import annotations

from collections.abc import Iterable
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from loadtest.analyze.summary import GateResult, Summary, Verdict
from loadtest.report.formatting import printable
from loadtest.report.summary_text import cause_texts, limit_text, observed_text


def junit(summary: Summary) -> bytes:
    """Return one test case per gate and check; skipped are inconclusive gates, and passing ones in an invalid run.

    The text of a failure ends with the most frequent causes of jobs that did not complete.
    """
    name, valid = summary.run.scenario, summary.validity.valid
    checks = (
        _case(f"{name}.measurement", each.name, "system-out" if each.ok else "failure", each.detail)
        for each in summary.validity.checks
    )
    suites = [
        _suite(f"{name}: gates", (_gate(f"{name}.gates", each, valid) for each in summary.gates)),
        _suite(f"{name}: measurement", checks),
    ]
    root = Element("testsuites", {"name": printable(f"loadtest {summary.run.id}")})
    _add_counts(root, suites)
    root.set("time", f"{summary.run.duration_s:.3f}")
    root.extend(suites)
    for failure in root.iter("failure"):
        failure.text = "\n".join([failure.text or "", *cause_texts(summary)])
    ElementTree.indent(root)
    content: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return content + b"\n"


def _suite(name: str, cases: Iterable[Element]) -> Element:
    suite = Element("testsuite", {"name": printable(name)})
    suite.extend(cases)
    _add_counts(suite, [suite])
    return suite


def _add_counts(to: Element, suites: Iterable[Element]) -> None:
    cases = [case for suite in suites for case in suite.iter("testcase")]
    to.set("tests", str(len(cases)))
    for kind, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        to.set(kind, str(sum(case.find(tag) is not None for case in cases)))


def _gate(classname: str, result: GateResult, valid: bool) -> Element:
    text = f"observed {observed_text(result)}, limit {limit_text(result)}, n {result.n:,}. {result.detail}"
    if result.verdict is Verdict.FAIL:
        return _case(classname, result.gate, "failure", text)
    if result.verdict is Verdict.INCONCLUSIVE:
        return _case(classname, result.gate, "skipped", f"inconclusive: {text}")
    if not valid:
        return _case(classname, result.gate, "skipped", f"passes, but the measurement is not valid: {text}")
    return _case(classname, result.gate, "system-out", text)


def _case(classname: str, name: str, kind: str, text: str) -> Element:
    case = Element("testcase", {"classname": printable(classname), "name": printable(name), "time": "0"})
    note = ElementTree.SubElement(case, kind)
    if kind != "system-out":
        note.set("message", printable(text))
    note.text = printable(text)
    return case
