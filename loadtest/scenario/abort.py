"""The rules that stop a run early: a share of errors, and gates over the jobs that ended recently."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from enum import StrEnum
from math import inf, log
from typing import Any

import msgspec

from loadtest.scenario.gates import Gate, limit_text
from loadtest.scenario.live_times import gaps_s, judged_gaps_s, missed_limit, time_s
from loadtest.scenario.metrics import Metric
from loadtest.scenario.model import AbortRule, Scenario
from loadtest.scenario.target import is_remote
from loadtest.traffic.limit_shares import Share

MIN_SURPRISE_NATS = log(1000)
"""A run ends if chance alone explains the figure in at most one of a thousand looks; it is looked at repeatedly."""
BUCKETS = 20
"""The window is kept in this many parts, the oldest of which is dropped as a whole."""


class StopKind(StrEnum):
    """The rule that stopped a run, by its key in the scenario."""

    ABORT_ERRORS = "abort.errors"
    ABORT_GATES = "abort.gates"
    JOBS_CEILING = "ceilings.jobs"
    COST_CEILING = "ceilings.cost"
    INPUTS = "inputs"


class StopReason(msgspec.Struct, frozen=True):
    """Why a run is stopped: the rule, and the sentence that reports show."""

    kind: StopKind
    detail: str


class GateMonitor:
    """The gates of an abort rule, over the jobs that ended recently; its memory does not grow with their number."""

    def __init__(self, gates: tuple[Gate, ...], over_s: float, min_jobs: int) -> None:
        self._over_s = over_s
        self._min_jobs = min_jobs
        self._counted = [(gate, _Recent(over_s)) for gate in gates]
        metrics = {metric for gate in gates for metric in (gate.metric, *(each.metric for each in gate.where))}
        self._reads_gaps = any(metric.is_pooled for metric in metrics)
        self._first_evaluated_at: float | None = None
        self._processes = 1

    def set_share(self, share: Share) -> None:
        """Take the number of processes that reach a throughput together."""
        self._processes = max(1, share.of)

    def ended(self, job: Any, at: float, chunks: Sequence[Any] = ()) -> None:
        """Count a job, a `record.sample.Sample`, that ended or was given up at this time, with its chunks."""
        completed = job.outcome == "completed"
        gaps = gaps_s(chunks) if self._reads_gaps and chunks else []
        for gate, recent in self._counted:
            if gate.flow is not None and gate.flow != job.flow:
                continue
            if gate.metric is Metric.ERRORS:
                recent.add(at, not completed, 0.0)
            elif gate.metric is Metric.GOODPUT:
                if (missed := missed_limit(gate, job, at, completed, gaps)) is not None:
                    recent.add(at, missed, 0.0)
            elif gate.metric.is_rate:
                if completed:
                    amount = getattr(job, gate.metric.spec.summed) if gate.metric.spec.summed else 1
                    recent.add(at, amount is None, amount or 0)
            elif gate.metric.is_pooled:
                if judged := judged_gaps_s(gate, job, at, completed, gaps):
                    recent.add(at, sum(each >= gate.limit for each in judged), sum(judged), len(judged))
            elif (value_s := time_s(gate, job, at, completed)) is not None:
                recent.add(at, value_s >= gate.limit, value_s)

    def failing(self, now: float) -> str | None:
        """Return the first gate that fails, with its figure; None while none is known to fail."""
        if self._first_evaluated_at is None:
            self._first_evaluated_at = now
        for gate, recent in self._counted:
            recent.forget(now)
            figure = self._figure(gate, recent, now - self._first_evaluated_at)
            if figure is not None:
                return f'"{gate}" does not hold: {figure}'
        return None

    def _figure(self, gate: Gate, recent: _Recent, watched_s: float) -> str | None:
        """Return the figure by which a gate fails; None if it does not."""
        n, over, last = recent.n, recent.over, f"in the last {self._over_s:g} s"
        those = f"the {n} {'gaps of ' if gate.metric.is_pooled else ''}jobs that ended {last}"
        if gate.metric.is_rate:
            return self._slow_rate(gate, recent, watched_s)
        if gate.statistic == "max":
            return f"{over} of {those} took {limit_text(gate)} or more" if over else None
        if recent.jobs < self._min_jobs:
            return None
        if gate.statistic == "mean":
            mean_s = recent.total / n
            mean = limit_text(gate, float(f"{max(mean_s, 0.0):.3g}"))
            return f"the mean of {those} is {mean}" if mean_s >= gate.limit else None
        share = gate.share_over
        if share is None or recent.surprise_nats(share) < MIN_SURPRISE_NATS:
            return None
        return f"{over} of {those} {gate.metric.spec.clause or f'took {limit_text(gate)} or more'}"

    def _slow_rate(self, gate: Gate, recent: _Recent, watched_s: float) -> str | None:
        """Return the figure by which a rate is too low; None if it is not, or not known."""
        rate = recent.total * self._processes / self._over_s
        # Of a job that does not report its tokens they are not known, and such a rate decides nothing.
        if watched_s < self._over_s or rate > gate.limit or recent.over:
            return None
        what = f" {gate.metric}" if gate.metric.spec.summed else ""
        text = f"{recent.n} jobs completed in the last {self._over_s:g} s, {rate:.3g}{what}/s"
        return text if self._processes == 1 else f"{text} if each of {self._processes} processes does as this one"


class _Recent:
    """The jobs of the last `over_s`, in buckets, and their values: one each, or the gaps between their tokens.

    Of the values, their number `n`, the number `over` the limit, and their sum; of a job, the `most` that it has.
    """

    def __init__(self, over_s: float) -> None:
        self._width_s = over_s / BUCKETS
        self._buckets: deque[list[float]] = deque()
        self.n = 0
        self.over = 0
        self.total = 0.0
        self.jobs = 0

    def add(self, at: float, over: int, value: float, n: int = 1) -> None:
        """Count a job with n values; a report that arrives a little late falls into the newest bucket."""
        slot = at // self._width_s
        if not self._buckets or self._buckets[-1][0] < slot:
            self._buckets.append([slot, 0, 0, 0.0, 0, 0])
        newest = self._buckets[-1]
        newest[1] += n
        newest[2] += over
        newest[3] += value
        newest[4] += 1
        newest[5] = max(newest[5], n)
        self.n += n
        self.over += over
        self.total += value
        self.jobs += 1

    def forget(self, now: float) -> None:
        """Drop the buckets that have left the window."""
        oldest = now // self._width_s - BUCKETS
        while self._buckets and self._buckets[0][0] < oldest:
            _, n, over, total, jobs, _ = self._buckets.popleft()
            self.n -= int(n)
            self.over -= int(over)
            self.total -= total
            self.jobs -= int(jobs)

    def surprise_nats(self, share: float) -> float:
        """Return at least how surprising this is, as −ln of its probability, if only this share of values is over.

        The jobs are independent, not the values of one. With x of a job's n over, and no job with more than M, the
        figure share + (x − share n) / M of a job is from 0 to 1, and has a mean of the share: then Chernoff's bound
        holds as for a count (Hoeffding 1963, Journal of the American Statistical Association 58, p. 15).
        """
        if self.jobs == 0:
            return 0.0
        most = max(bucket[5] for bucket in self._buckets)
        return chernoff_bound(self.jobs * share + (self.over - share * self.n) / most, self.jobs, share)


def chernoff_bound(over: float, n: int, share: float) -> float:
    """Return at least −ln P(B ≥ over) for B ~ Binomial(n, share): n times the Kullback–Leibler divergence.

    Chernoff (1952). Returns 0 if no more than the share are over.
    """
    observed = min(1.0, over / n)
    if observed <= share:
        return 0.0
    rest = 0.0 if over >= n else (1 - observed) * log((1 - observed) / (1 - share))
    return n * (observed * (log(observed / share) if share else inf) + rest)


def abort_rule(scenario: Scenario) -> AbortRule | None:
    """Return the rule of the scenario, the default rule for a target on another machine, or None."""
    return scenario.abort or (AbortRule() if is_remote(scenario.target) else None)


class StopRules:
    """The rules that stop one process's part of a run; `reason` is set once one of them applies, and stays.

    If it is not `enabled`, the scenario has no such rule, and no job needs to be counted. A target on another machine
    has the default abort rule, unless the scenario sets one.
    """

    def __init__(self, scenario: Scenario) -> None:
        rule = self._rule = abort_rule(scenario)
        self.enabled = rule is not None
        self._recent: deque[tuple[float, bool]] = deque()
        self._errors = 0
        self.watch = GateMonitor(rule.gates, rule.over, rule.jobs) if rule is not None and rule.gates else None
        self.reason: StopReason | None = None

    def set_share(self, share: Share) -> None:
        """Take another share of the load; a process without a share sends nothing, and keeps the one it had."""
        if share.of and self.watch is not None:
            self.watch.set_share(share)

    def ended(self, job: Any, at: float, chunks: Sequence[Any] = ()) -> None:
        """Count a job, a `record.sample.Sample`, that ended or was given up at this time, with its chunks."""
        if self._rule is not None:
            self._judge(at, job.outcome == "completed")
        if self.watch is not None:
            self.watch.ended(job, at, chunks)

    def evaluate(self, now: float) -> None:
        """Judge the abort rule's gates; to be called once or twice a second for as long as load is offered."""
        if self.watch is not None and self.reason is None and (failing := self.watch.failing(now)) is not None:
            self.stop(StopKind.ABORT_GATES, f"abort.gates: {failing}")

    def stop(self, kind: StopKind, detail: str) -> None:
        """Set the reason, unless there is one already."""
        self.reason = self.reason or StopReason(kind, detail)

    def _judge(self, at: float, completed: bool) -> None:
        rule, recent = self._rule, self._recent
        assert rule is not None
        recent.append((at, completed))
        self._errors += not completed
        while recent[0][0] < at - rule.over:
            self._errors -= not recent.popleft()[1]
        if len(recent) >= rule.jobs and self._errors > rule.errors * len(recent):
            share = f"{self._errors} of the {len(recent)} jobs that ended in the last {rule.over:g} s failed"
            self.stop(StopKind.ABORT_ERRORS, f"abort.errors: {share}")
