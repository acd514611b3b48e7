"""The workers compared with each other, as a sentence and as a chart."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt

from loadtest.analyze.series import Series
from loadtest.analyze.summary import Summary, WorkerSummary
from loadtest.report.charts.base import ACCENT, INK, Chart, LegendEntry, rows_chart, styled_spec
from loadtest.report.formatting import milliseconds

MAX_DRAWN = 30
_ROW_PX = 17
_MAX_NAMED = 5


def workers_text(workers: Sequence[WorkerSummary]) -> str:
    """Return which workers differ from the others in a sentence, the largest difference first."""
    compared = [each for each in workers if each.compared]
    if not compared:
        return "No worker had enough jobs to be compared with the others."
    found = sorted((each for each in compared if _differs(each)), key=_difference, reverse=True)
    if not found:
        return f"None of {len(compared)} workers differs from the others in its median execution time."
    named = "; ".join(_named(each) for each in found[:_MAX_NAMED])
    more = f"; and {len(found) - _MAX_NAMED} more" if len(found) > _MAX_NAMED else ""
    verb = "differs" if len(found) == 1 else "differ"
    return f"{len(found)} of {len(compared)} workers {verb} in median execution time: {named}{more}."


def _differs(worker: WorkerSummary) -> bool:
    return worker.compared is not None and worker.compared.differs


def _difference(worker: WorkerSummary) -> float:
    ratio = worker.compared.ratio if worker.compared else 1.0
    return max(ratio, 1 / ratio)


def _named(worker: WorkerSummary) -> str:
    compared = worker.compared
    assert compared is not None
    low, high = compared.interval
    return f"{worker.worker_id} takes {compared.ratio:.2f} times that of the others ({low:.2f} to {high:.2f})"


def execution_by_worker_chart(summary: Summary, _: Series) -> Chart | None:
    """Return each worker's median execution time with its interval; None if fewer than two workers have one."""
    workers = summary.workers
    drawn = [each for each in workers if each.execution_ms.p50 is not None][:MAX_DRAWN]
    if len(drawn) < 2:
        return None
    rows = [_row(each) for each in drawn]
    y = alt.Y("worker:N", title=None, sort=None, axis=alt.Axis(domain=False, minExtent=120, maxExtent=120))
    label = "datum.value >= 1000 ? datum.value / 1000 + ' s' : datum.value + ' ms'"
    x_axis = alt.Axis(grid=True, tickCount=6, labelExpr=label)
    x = alt.X("p50:Q", title=None, scale=alt.Scale(zero=False, padding=8), axis=x_axis)
    tips = [alt.Tooltip("worker:N"), *(alt.Tooltip(f"{name}:Q", format=",.0f") for name in ("low", "p50", "high"))]
    colour = alt.Color("differs:N", scale=alt.Scale(domain=["no", "yes"], range=[INK, ACCENT]), legend=None)
    intervals = rows_chart(rows).mark_rule(strokeWidth=1.4).encode(y=y, x="low:Q", x2="high:Q", color=colour)
    dots = rows_chart(rows).mark_circle(size=42, opacity=1).encode(y=y, x=x, color=colour, tooltip=tips)
    medians = [each.execution_ms.p50 for each in drawn if each.execution_ms.p50 is not None]
    who = f"the busiest {len(drawn)} of {len(workers)}" if len(drawn) < len(workers) else f"{len(drawn)}"
    keys = [LegendEntry("as the others", INK, "dot")]
    if any(map(_differs, drawn)):
        keys.append(LegendEntry("differs", ACCENT, "dot"))
    return Chart(
        name="by-worker",
        title="Execution p50 by worker",
        unit="with its 95 % interval; the figures are in the table below",
        alt_text=f"Median execution times of {who} workers, from {milliseconds(min(medians))} "
        f"to {milliseconds(max(medians))}.",
        keys=keys,
        spec=styled_spec([intervals, dots], _ROW_PX * len(rows)),
        term="worker",
    )


def _row(worker: WorkerSummary) -> dict[str, str | float | None]:
    q = worker.execution_ms
    low, high = q.ci95.get("p50", (q.p50, q.p50))
    differs = "yes" if _differs(worker) else "no"
    return {"worker": worker.worker_id, "p50": q.p50, "low": low, "high": high, "differs": differs}
