"""When a run must not go on: too many errors of late, a gate that does not hold, too many jobs, too much money."""

from __future__ import annotations

from collections import deque

from loadtest.scenario.abort_gates import GateMonitor
from loadtest.scenario.model import AbortRule, Ceilings, Scenario
from loadtest.scenario.target import is_remote
from loadtest.traffic.shares import Share, share_of


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
