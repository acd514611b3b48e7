"""A run's verdict as Markdown, for the summary of a CI job or a comment on a change."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence

from loadtest.analyze.summary import FlowSummary, Summary
from loadtest.report import formatting
from loadtest.report.summary_text import cause_texts, observed_text

_SPECIAL = re.compile(r"([\\`*_\[\]|~#])")


def markdown(summary: Summary) -> str:
    """Return verdict and reason, then gates, failed validity checks, and the times of each flow."""
    return "\n".join(_lines(summary)) + "\n"


def _lines(summary: Summary) -> Iterator[str]:
    yield f"## Load test {_plain(summary.run.scenario)}: {summary.verdict.value}"
    yield ""
    yield _plain(summary.reason)
    if summary.gates:
        rows = [
            (each.verdict.value, each.gate, observed_text(each), formatting.count(each.n), each.detail)
            for each in summary.gates
        ]
        yield from _table(("verdict", "gate", "observed", "n", "why"), rows)
    checks = summary.validity.checks
    if invalid := [(check.name, check.detail) for check in checks if not check.ok]:
        yield from _table(("not valid", "why"), invalid)
    if warned := [(check.name, check.detail) for check in checks if check.warning]:
        yield from _table(("warning", "why"), warned)
    if summary.causes:
        yield ""
        yield from (f"- {_plain(text)}" for text in cause_texts(summary))
    if summary.flows:
        head = ("flow", "jobs", "completed", "per s", "delay p50", "delay p95", "execution p50", "execution p95")
        yield from _table(
            (*head, "end-to-end p50", "end-to-end p95"),
            [_flow(name, flow) for name, flow in summary.flows.items()],
        )
    run = summary.run
    yield ""
    yield f"Run {_plain(run.id)}, target {_plain(run.target)}, seed {run.seed}, scenario {run.scenario_hash}"


def _flow(name: str, flow: FlowSummary) -> tuple[str, ...]:
    times = (flow.delay_ms, flow.execution_ms, flow.end_to_end_ms)
    return (
        name,
        formatting.count(flow.jobs),
        formatting.count(flow.completed),
        formatting.significant(flow.throughput_per_s),
        *(formatting.milliseconds(value) for each in times for value in (each.p50, each.p95)),
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield ""
    for row in (head, ["---"] * len(head), *rows):
        cells = row if row and row[0] == "---" else [_plain(cell) for cell in row]
        yield f"| {' | '.join(cells)} |"


def _plain(text: str) -> str:
    """Return a text on one line, escaped so that nothing in it is Markdown or HTML."""
    return html.escape(_SPECIAL.sub(r"\\\1", " ".join(formatting.printable(text).split())), quote=False)
