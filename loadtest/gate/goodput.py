"""The jobs that do not meet every limit of a goodput gate: of all that were due, whatever became of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from loadtest.analyze.gaps import Pooled
from loadtest.arrays import Floats, Mask
from loadtest.gate.inputs import GateInputs
from loadtest.gate.measures import Count, count_of, min_ms, of_flows
from loadtest.record.sample import Outcome
from loadtest.scenario.gates import Gate
from loadtest.scenario.job_limits import JobLimit


@dataclass(frozen=True)
class Missed:
    """The count of jobs that missed a limit, how many of them did not complete, and how many missed which limit.

    A job may have missed several limits; one that did not complete is counted under none.
    """

    count: Count
    not_completed: int
    by_limit: tuple[tuple[JobLimit, int], ...]

    def text(self) -> str:
        """Return why jobs missed the gate, as a sentence after another; empty if none did."""
        parts = [f"{self.not_completed:,} did not complete"] if self.not_completed else []
        parts += [f"{jobs:,} missed {limit}" for limit, jobs in self.by_limit if jobs]
        return f" {', '.join(parts)}." if parts else ""


def missed(gate: Gate, inputs: GateInputs) -> Missed:
    """Return the selected jobs that missed a limit of the gate; a job of a flow that lacks one of its times is none.

    A job that ended otherwise than completed missed them. An unfinished job, or one with a time that is not known, is
    undecided unless it lasted past a limit: it does not count as having met them.
    """
    jobs, relevant = inputs.jobs, of_flows(inputs, gate.flows)
    unfinished = jobs.ended(Outcome.CENSORED)
    failed = ~jobs.completed & ~unfinished
    over, undecided, by_limit = failed.copy(), unfinished.copy(), []
    for limit in gate.where:
        beyond, unknown = _judge(limit, inputs)
        by_limit.append((limit, int(np.count_nonzero(beyond & relevant & ~failed))))
        over |= beyond
        undecided |= unknown
    count = count_of(inputs, relevant, over & relevant, undecided & ~over & relevant)
    return Missed(count, int(np.count_nonzero(failed & relevant)), tuple(by_limit))


def _judge(limit: JobLimit, inputs: GateInputs) -> tuple[Mask, Mask]:
    """Return the jobs that are surely not under a limit, and those of which it is not known."""
    jobs, spec, limit_ms = inputs.jobs, limit.metric.spec, limit.limit * 1000
    if limit.metric.is_pooled:
        values_ms = _of_each_job(limit, inputs.gaps.known)
        # More gaps can lower a mean or a percentile, but not the longest.
        known = inputs.gaps.whole | (limit.statistic == "max")
        beyond = known & (values_ms >= limit_ms)
        return beyond, ~inputs.gaps.whole & ~beyond
    known_ms = jobs.known_times_ms(limit.metric)
    unknown = np.isnan(known_ms)
    if spec.per_token:
        unknown &= ~(jobs.completed & (jobs.output_tokens <= 1))
    beyond = np.where(unknown, np.nan_to_num(min_ms(limit.metric, inputs)), known_ms) >= limit_ms
    return beyond, unknown & ~beyond


def _of_each_job(limit: JobLimit, gaps: Pooled) -> Floats:
    """Return the mean of the gaps of each job, a percentile (nearest rank) or the longest; 0 if it has none."""
    found, some = np.zeros(len(gaps.counts)), gaps.counts > 0
    counts, starts = gaps.counts[some], gaps.starts[some]
    if len(counts) == 0:
        return found
    if not limit.statistic:
        found[some] = gaps.totals(gaps.values_ms) / counts
        return found
    ranks: NDArray[np.int64] = counts if limit.per_mille is None else -(-limit.per_mille * counts // 1000)
    ordered = gaps.values_ms[np.lexsort((gaps.values_ms, np.repeat(np.arange(len(counts)), counts)))]
    found[some] = ordered[starts + ranks - 1]
    return found
