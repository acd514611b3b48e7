"""The page of a measured search: one HTML file that links to the report of each probe."""

from __future__ import annotations

from loadtest.analyze.summary import Verdict
from loadtest.capacity.breakpoint.bisection import ProbeOutcome
from loadtest.capacity.breakpoint.result import BreakpointResult, ProbeResult
from loadtest.report.charts.base import unchecked
from loadtest.report.charts.capacity import gate_chart
from loadtest.report.pages.glossary import Glossary
from loadtest.report.pages.page import page_html

_GATE_VERDICTS = {
    ProbeOutcome.PASSES: Verdict.PASS,
    ProbeOutcome.FAILS: Verdict.FAIL,
    ProbeOutcome.INCONCLUSIVE: Verdict.INCONCLUSIVE,
}


@unchecked
def search_html(found: BreakpointResult) -> str:
    """Return the whole page; every figure is one of `search.json`."""
    charts = [chart for n, gate in enumerate(found.slo) if (chart := gate_chart(found, f"gate-{n}", gate))]
    return page_html(
        "search.html",
        Glossary(),
        charts,
        found=found,
        unexplained=[each for each in found.probes if not _explained_by_gates(each)],
    )


def _explained_by_gates(probe: ProbeResult) -> bool:
    """Return whether the gates' verdicts explain the outcome of a probe, so that it needs no reason."""
    return _GATE_VERDICTS.get(probe.outcome) in {gate.verdict for gate in probe.gates}
