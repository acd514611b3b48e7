"""The ceilings of a run, which the master keeps for all generators together, whether they are lost or come late."""

from __future__ import annotations

import math
from collections.abc import Sequence
from math import inf

from loadtest.drive.cluster.messages import StatusReport
from loadtest.protocol.client_messages import Health
from loadtest.scenario.abort import StopKind, StopReason
from loadtest.scenario.model import Scenario
from loadtest.traffic.settings import ClosedLoad


class RunCeilings:
    """The jobs and the money that all generators of a run may use together.

    In the open model each generator ends the schedule at the ceiling on jobs by itself (`Schedule.first`), so that
    nothing is shared. In the closed model a generator may begin as many jobs as it has an allowance for. An allowance
    never falls, and that of a lost generator counts as used.

    Money is `price` times the greater of two times: execution as the endpoint reported it, with jobs in flight at the
    mean of those that ended; and the time that workers were running by `/health`.
    """

    def __init__(self, scenario: Scenario) -> None:
        self._jobs = scenario.ceilings.jobs
        self._cost = scenario.ceilings.cost
        self._price = scenario.price
        self.is_open = not isinstance(scenario.load, ClosedLoad)
        self._cut_at_s = inf
        schedule = scenario.schedule()
        if schedule is not None and self._jobs is not None and len(schedule) > self._jobs:
            self._cut_at_s = float(schedule.at_s[self._jobs])
        self._allowances: dict[str, int] = {}
        self._reports: dict[str, StatusReport] = {}
        self._worker_s = 0.0
        self._workers_running = 0
        self._health_at: float | None = None

    def __repr__(self) -> str:
        return f"<RunCeilings: {self._jobs} jobs, {self._cost} US dollars, allowances {self._allowances}>"

    def report(self, name: str, report: StatusReport) -> None:
        """Take the latest report of a generator."""
        self._reports[name] = report

    def finished(self, name: str, sent: int) -> None:
        """Take back what a generator that has finished did not use."""
        if name in self._allowances:
            self._allowances[name] = sent

    def health(self, at: float, health: Health) -> None:
        """Add the time of the workers that the endpoint reported as running until this answer."""
        self._worker_s = self._worker_seconds(at)
        self._workers_running, self._health_at = health.workers.running, at

    def _worker_seconds(self, now: float) -> float:
        since_s = 0.0 if self._health_at is None else max(0.0, now - self._health_at)
        return self._worker_s + self._workers_running * since_s

    def allowance(self, name: str, running: Sequence[str]) -> int | None:
        """Return how many jobs a generator may have begun in all, after a part of what is left was added to it.

        A part is small compared with what is left, so that little is lost with a generator.
        """
        if self.is_open or self._jobs is None:
            return None
        allowed = self._allowances.get(name, 0)
        left = self._jobs - sum(self._allowances.values())
        part = left if len(running) == 1 else math.ceil(left / (2 * len(running)))
        self._allowances[name] = max(allowed, self._sent(name) + part)
        return self._allowances[name]

    def _sent(self, name: str) -> int:
        return self._reports[name].sent if name in self._reports else 0

    def spent(self, now: float) -> float | None:
        """Return the US dollars spent until now; None without a price."""
        if self._price is None:
            return None
        reports = self._reports.values()
        ended, execution_s = sum(each.ended for each in reports), sum(each.execution_s for each in reports)
        in_flight = sum(each.in_flight for each in reports)
        execution_s += in_flight * execution_s / ended if ended else 0.0
        return max(execution_s, self._worker_seconds(now)) * self._price

    def reached(self, running: Sequence[str], starts_at: float, now: float) -> StopReason | None:
        """Return the ceiling that the run, whose load starts at `starts_at`, has reached; None if there is none."""
        jobs, cost = self._jobs, self._cost
        spent = self.spent(now)
        if cost is not None and spent is not None and spent >= cost:
            return StopReason(StopKind.COST_CEILING, f"ceilings.cost: {spent:.4f} of {cost:g} US dollars are spent")
        if jobs is not None and (now >= starts_at + self._cut_at_s or self._is_used_up(running, jobs)):
            lost = self._reports.keys() - set(running)
            more = ", or may have been by a process that was lost" if lost else ""
            return StopReason(StopKind.JOBS_CEILING, f"ceilings.jobs: {jobs} jobs have been submitted{more}")
        return None

    def _is_used_up(self, running: Sequence[str], jobs: int) -> bool:
        allowances = self._allowances
        if sum(allowances.values()) < jobs:
            return False
        return all(self._sent(name) >= allowances[name] for name in running if name in allowances)
