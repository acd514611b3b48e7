"""The reference and the dashboard name the metrics that there are."""

from __future__ import annotations

import json
import re
from pathlib import Path

from loadtest.drive.metrics.counts import JobCounts, RunCounts
from loadtest.drive.metrics.families import Kind, Snapshot, families

DOCS = Path(__file__).parents[4] / "docs"
FAMILIES = families(Snapshot(RunCounts([JobCounts("run", "completed", 1)], {"run": {200: 1}}), 1, {"run": 0.1}))
LABELS = {
    "loadtest.jobs.in_flight": "",
    "loadtest.requests": "`operation`, `status`",
    "loadtest.limit.used": "`operation`",
}


def test_the_reference_lists_every_metric_with_its_names_kind_unit_and_text() -> None:
    rows = [line for line in (DOCS / "reference" / "metrics.md").read_text().splitlines() if "| `loadtest." in line]
    expected = []
    for family in FAMILIES:
        name = family.prometheus_name + ("_total" if family.kind is Kind.COUNTER else "")
        labels = LABELS.get(family.name, "`flow`, `outcome`")
        cells = [f"`{family.name}`", f"`{name}`", family.kind.name.lower(), f"`{family.unit}`", labels, family.text]
        expected.append("| " + " | ".join(cells).replace("|  |", "| |") + " |")
    assert rows == expected


def test_the_dashboard_asks_for_metrics_that_there_are_and_shows_all_of_them() -> None:
    dashboard = json.loads((DOCS / "grafana" / "loadtest.json").read_text())
    asked = {name for panel in dashboard["panels"] for each in panel["targets"] for name in names_in(each["expr"])}
    assert asked == {
        family.prometheus_name + {Kind.COUNTER: "_total", Kind.HISTOGRAM: "_bucket"}.get(family.kind, "")
        for family in FAMILIES
    }
    places = [tuple(panel["gridPos"].values()) for panel in dashboard["panels"]]
    assert len(set(places)) == len(places)


def names_in(expression: str) -> list[str]:
    return re.findall(r"loadtest_\w+", expression)
