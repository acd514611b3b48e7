"""A gate on each worker by itself: one slow host must not hide among many."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from loadtest.analyze.stats.multiple_testing import rejected
from loadtest.analyze.stats.quantiles import TAIL
from loadtest.analyze.summary import GateResult, Verdict
from loadtest.gate.early_stopping import holds, refutation
from loadtest.gate.explanations import explain
from loadtest.gate.inputs import NO_WORKER
from loadtest.gate.measures import Count, Times
from loadtest.scenario.gates import Gate


@dataclass(frozen=True)
class _Worker:
    worker_id: str
    count: Count
    observed_ms: float | None
    p_value: float


def judged_by_worker(gate: Gate, measured: Times, worker_ids: Sequence[str]) -> GateResult:
    """Return one result for all workers, which names the worst.

    It passes if every worker passes: that is one claim, whose error is at most that of a single test. It fails
    if one worker fails after Holm's correction, since one of many workers is always unlucky.
    """
    assert gate.per_mille is not None
    share = (1000 - gate.per_mille) / 1000
    workers = _workers(gate, measured, worker_ids, gate.per_mille, share)
    failing = rejected([each.p_value for each in workers], TAIL)
    open_ = [each for each in workers if not holds(each.count.over + each.count.undecided, each.count.n, share)]
    if not workers:
        word, worst, detail = Verdict.INCONCLUSIVE, None, "No job names its worker."
    elif failing:
        word, worst = Verdict.FAIL, min(workers, key=lambda each: each.p_value)
        detail = f"{len(failing)} of {len(workers)} workers {'fails' if len(failing) == 1 else 'fail'} it."
    elif open_:
        word, worst = Verdict.INCONCLUSIVE, max(open_, key=lambda each: (_worst_share(each), -each.count.n))
        detail = f"{len(open_)} of {len(workers)} workers {'is' if len(open_) == 1 else 'are'} inconclusive."
    else:
        word, worst = Verdict.PASS, max(workers, key=lambda each: each.observed_ms or 0.0)
        detail = f"Each of {len(workers)} workers passes it."
    if worst is not None:
        text = explain(gate, worst.count, share, word, of=f" on {worst.worker_id}")
        detail = f"{detail} {text}"
    return GateResult(
        gate=str(gate),
        observed=None if worst is None else worst.observed_ms,
        limit=gate.limit * 1000,
        n=len(measured),
        verdict=word,
        detail=detail,
        metric=gate.metric,
        unit=gate.metric.spec.unit,
    )


def _workers(gate: Gate, measured: Times, worker_ids: Sequence[str], per_mille: int, share: float) -> list[_Worker]:
    found = []
    for index, own in measured.by_worker(NO_WORKER):
        count = own.count(gate.limit * 1000)
        found.append(
            _Worker(
                worker_ids[index],
                count,
                own.percentile_ms(per_mille)[0],
                refutation(_surely_over(own, index, gate.limit * 1000), count.n, share),
            )
        )
    return found


def _surely_over(own: Times, worker: int, limit_ms: float) -> int:
    """Return the number of jobs over the limit that are known to be this worker's."""
    mine = own.worker == worker
    return own.take(np.flatnonzero(mine)).count(limit_ms).over


def _worst_share(worker: _Worker) -> float:
    return (worker.count.over + worker.count.undecided) / worker.count.n
