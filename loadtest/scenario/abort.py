"""Gates that end a run while it goes on, judged over what ended of late."""

from __future__ import annotations

from collections import deque
from math import inf, log
from typing import Any

from loadtest.scenario.gates import Gate, limit_text
from loadtest.scenario.metrics import Metric
from loadtest.scenario.model import Scenario
from loadtest.scenario.settings import AbortRule, Ceilings
from loadtest.scenario.target import is_remote
from loadtest.traffic.limit_shares import Share, share_of

MIN_SURPRISE_NATS = log(1000)
"""A run ends where chance explains what is seen at most once in a thousand looks; one looks again and again."""
BUCKETS = 20
"""The time that is looked back over is kept in so many parts, of which the oldest falls out as a whole."""
_COMPLETED = "completed"


class GateMonitor:
    """Counts jobs as they end, in memory that does not grow with them, and says which gate does not hold."""

    def __init__(self, gates: tuple[Gate, ...], over_s: float, min_jobs: int) -> None:
        self._over_s = over_s
        self._min_jobs = min_jobs
        self._counted = [(gate, _Recent(over_s)) for gate in gates]
        self._looked_first_at: float | None = None
        self._of = 1

    def share(self, share: Share) -> None:
        """From now on so many processes together reach a throughput."""
        self._of = max(1, share.of)

    def ended(self, job: Any) -> None:
        """Count a job that ended, a `record.sample.Sample`."""
        assert job.finished_at is not None
        completed = job.outcome == _COMPLETED
        for gate, recent in self._counted:
            if gate.flow is not None and gate.flow != job.flow:
                continue
            if gate.metric is Metric.ERRORS:
                recent.add(job.finished_at, not completed, 0.0)
            elif completed:
                value_s = 0.0 if gate.metric is Metric.THROUGHPUT else gate.metric.spec.time_s(job)
                if value_s is not None:
                    recent.add(job.finished_at, value_s >= gate.limit, value_s)

    def failing(self, now: float) -> str | None:
        """The first gate that does not hold, and the figure; None while none is known to fail."""
        if self._looked_first_at is None:
            self._looked_first_at = now
        for gate, recent in self._counted:
            recent.forget(now)
            figure = self._figure(gate, recent, now - self._looked_first_at)
            if figure is not None:
                return f'"{gate}" does not hold: {figure}'
        return None

    def _figure(self, gate: Gate, recent: _Recent, watched_s: float) -> str | None:
        """What is wrong, where something is."""
        n, over, last = recent.n, recent.over, f"in the last {self._over_s:g} s"
        if gate.metric is Metric.THROUGHPUT:
            rate = n * self._of / self._over_s
            slow = watched_s >= self._over_s and rate <= gate.limit
            text = f"{n} jobs completed {last}, {rate:.3g}/s"
            text = text if self._of == 1 else f"{text} if each of {self._of} processes does as this one"
            return text if slow else None
        if gate.statistic == "max":
            return f"{over} of the {n} jobs that completed {last} took {limit_text(gate)} or more" if over else None
        if n < self._min_jobs:
            return None
        if gate.statistic == "mean":
            mean_s = recent.total_s / n
            mean = limit_text(gate, float(f"{max(mean_s, 0.0):.3g}"))
            return f"the mean of the {n} jobs that completed {last} is {mean}" if mean_s >= gate.limit else None
        per_mille = gate.per_mille
        share = gate.limit if per_mille is None else (1000 - per_mille) / 1000
        if chernoff_bound(over, n, share) < MIN_SURPRISE_NATS:
            return None
        if per_mille is None:
            return f"{over} of the {n} jobs that ended {last} failed"
        return f"{over} of the {n} jobs that completed {last} took {limit_text(gate)} or more"


class _Recent:
    """Jobs of the last `over_s`, in buckets: how many, how many over the limit, and the sum of their times."""

    def __init__(self, over_s: float) -> None:
        self._width_s = over_s / BUCKETS
        self._buckets: deque[list[float]] = deque()
        self.n = 0
        self.over = 0
        self.total_s = 0.0

    def add(self, at: float, over: bool, value_s: float) -> None:
        """Count one; a job that comes a little late falls into the newest bucket."""
        slot = at // self._width_s
        if not self._buckets or self._buckets[-1][0] < slot:
            self._buckets.append([slot, 0, 0, 0.0])
        newest = self._buckets[-1]
        newest[1] += 1
        newest[2] += over
        newest[3] += value_s
        self.n += 1
        self.over += over
        self.total_s += value_s

    def forget(self, now: float) -> None:
        """Drop the buckets that have passed out of the time looked back over, as a whole."""
        oldest = now // self._width_s - BUCKETS
        while self._buckets and self._buckets[0][0] < oldest:
            _, n, over, total_s = self._buckets.popleft()
            self.n -= int(n)
            self.over -= int(over)
            self.total_s -= total_s


def chernoff_bound(over: int, n: int, share: float) -> float:
    """At least −ln P(B ≥ over) for B ~ Binomial(n, share): n times the Kullback–Leibler divergence (Chernoff 1952).

    0 where no more than the share are over.
    """
    seen = over / n
    if seen <= share:
        return 0.0
    rest = 0.0 if over == n else (1 - seen) * log((1 - seen) / (1 - share))
    return n * (seen * (log(seen / share) if share else inf) + rest)


def abort_rule(scenario: Scenario) -> AbortRule | None:
    """The rule that a run keeps to: as set, else the default one where the target is not on this machine."""
    return scenario.abort or (AbortRule() if is_remote(scenario.target) else None)


class StopRules:
    """Watches jobs as they are sent and end; `reason` says why to stop, once there is one.

    Unless it is `watching`, there is nothing to watch for, and it need not be told or asked.
    """

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario
        self._rule = abort_rule(scenario)
        self._max_jobs = scenario.ceilings.jobs
        self._max_cost = scenario.ceilings.cost
        self._price = scenario.price or 0.0
        self.enabled = self._rule is not None or scenario.ceilings != Ceilings()
        self._recent: deque[tuple[float, bool]] = deque()
        self._errors = 0
        self._spent = 0.0
        self._submitted = 0
        rule = self._rule
        self.watch = GateMonitor(rule.gates, rule.over, rule.jobs) if rule is not None and rule.gates else None
        self.reason: str | None = None

    def set_share(self, share: Share) -> None:
        """From now on this process may use this part of what the ceilings allow; without a place it sends nothing."""
        if share.of == 0:
            return
        if self.watch is not None:
            self.watch.share(share)
        ceilings = self._scenario.ceilings
        if ceilings.jobs is not None:
            self._max_jobs = share_of(ceilings.jobs, share)
        if ceilings.cost is not None:
            self._max_cost = ceilings.cost / share.of

    def may_submit(self) -> bool:
        """Whether one more job stays under the ceilings; the job is counted."""
        most = self._max_jobs
        if most is not None and self._submitted >= most:
            self.reason = f"ceilings.jobs: {most} jobs have been submitted"
        if self.reason is None:
            self._submitted += 1
        return self.reason is None

    def ended(self, at: float, completed: bool, execution_ms: int | None) -> None:
        """Count a job that ended at this time."""
        self._spent += (execution_ms or 0) / 1000 * self._price
        most = self._max_cost
        if most is not None and self._spent >= most:
            self.reason = self.reason or f"ceilings.cost: {self._spent:.4f} of {most:g} US dollars are spent"
        if self._rule is not None:
            self._judge(at, completed)

    def evaluate(self, now: float) -> None:
        """Judge the abort rule's gates; to be called once or twice a second for as long as load is offered."""
        if self.watch is not None and self.reason is None:
            failing = self.watch.failing(now)
            self.reason = None if failing is None else f"abort.gates: {failing}"

    def _judge(self, at: float, completed: bool) -> None:
        rule, recent = self._rule, self._recent
        assert rule is not None
        recent.append((at, completed))
        self._errors += not completed
        while recent[0][0] < at - rule.over:
            self._errors -= not recent.popleft()[1]
        if len(recent) >= rule.jobs and self._errors > rule.errors * len(recent):
            share = f"{self._errors} of the {len(recent)} jobs that ended in the last {rule.over:g} s failed"
            self.reason = self.reason or f"abort.errors: {share}"
