"""The fewest workers for an objective, the highest rate for workers, the cheapest for scalers and idle timeouts.

All compared settings meet the same jobs at the same times (common random numbers), so that they differ by
their settings and not by luck. More workers that always run then never make a job wait longer, and bisection is
exact. With flex workers that is nearly so; a setting that was found is simulated once more before it is reported.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import chain, product

import msgspec
import numpy as np

from loadtest.capacity.estimates import MapFn, estimate, estimate_redrawn, estimate_shifted, min_upper_bound
from loadtest.capacity.planning.objective import (
    EvaluatedSetting,
    ObjectiveStatus,
    billed_workers,
    objective_value,
    standing,
)
from loadtest.capacity.queueing_formulas import offered_load
from loadtest.capacity.simulation.arrivals import peak
from loadtest.capacity.simulation.predict import Join, ReplicationCache, SimulationBudget, predict, replications
from loadtest.capacity.simulation.resampling import pessimistic, resampled
from loadtest.capacity.simulation.simulate import Replication, can_reach_steady_state, jobs_for_steady_state
from loadtest.capacity.simulation.workload import WorkerConfig, Workload, fixed
from loadtest.endpoint.settings import ScalerSettings
from loadtest.scenario.gates import Gate

MAX_WORKERS = 10_000
COARSE, FINE = SimulationBudget(5, 4000), SimulationBudget(10, 10_000)
"""The budget for each setting that a search tries, and for each reported setting."""
_EARLY_ACCEPT_RATIO = 0.5  # two replications that stay under this share of the limit are enough for a search
_EARLY_LEVEL = 0.999  # the confidence of a decision from fewer replications than all
_RATE_FACTOR = 0.9
_MIN_SHARE = 0.05  # the lowest rate that is tried, as a share of the rate at which all workers are always busy
_HALVINGS = 5


class Problem(msgspec.Struct, frozen=True):
    """An objective, the work, a price per worker-second, and the budgets to search with and to confirm with."""

    slo: Gate
    workload: Workload
    price: float | None = None
    look: SimulationBudget = COARSE
    confirm: SimulationBudget = FINE
    cache: ReplicationCache = msgspec.field(default_factory=ReplicationCache)

    def meets(self, setting: WorkerConfig, rate_per_s: float) -> bool:
        """Return whether a setting meets the objective by the search budget; False if its queue never settles.

        The workload is at the worse end of what the calibration allows. Stops early after the replication from which
        the remaining ones can no longer bring the interval under the limit, after two that stay far under it, and
        when the limit is far from all finished replications.
        If the queue is slow to settle, flex workers are first replaced by workers that always run. These let no job
        wait longer, and are simulated ten times as fast.
        """
        if not can_reach_steady_state(pessimistic(self.workload), setting, rate_per_s):
            return False
        jobs = jobs_for_steady_state(pessimistic(self.workload), setting, rate_per_s, self.look.jobs)
        crowded = jobs > self.look.jobs and self.workload.concurrency == 1 and not self.workload.crash_rate
        if crowded and not setting.fixed and not self._meets(fixed(setting.max_workers), rate_per_s, jobs):
            return False
        return self._meets(setting, rate_per_s, jobs)

    def _meets(self, setting: WorkerConfig, rate_per_s: float, jobs: int) -> bool:
        limit, total = self.slo.limit, self.look.replications
        vary = None if self.workload.evidence is None else pessimistic
        figures: list[float] = []
        for number in range(total):
            seed = self.look.seed + number
            run = self.cache.replication(self.workload, setting, rate_per_s, jobs, seed, vary)
            figures.append(objective_value(self.slo, run))
            if figures[-1] == math.inf or min_upper_bound(figures, total) >= limit:
                return False
            if len(figures) > 1 and max(figures) < _EARLY_ACCEPT_RATIO * limit:
                return True
            if len(figures) > 2:
                known = estimate(figures, _EARLY_LEVEL)
                if known.high < limit or known.low >= limit:
                    return known.high < limit
        return True

    def evaluate(self, setting: WorkerConfig, rate_per_s: float) -> EvaluatedSetting:
        """Return a setting's whole prediction by the confirmation budget, and whether it meets the objective."""
        runs, redrawn = (
            replications(self.workload, setting, rate_per_s, self.confirm, self.cache, vary)
            for vary in (None, resampled)
        )
        return self._evaluated(setting, rate_per_s, runs, redrawn, estimate_redrawn)

    def glance(self, setting: WorkerConfig, rate_per_s: float) -> EvaluatedSetting:
        """Return the same by the search budget, and by the worse end of the calibration in place of other ones."""
        runs, worse = (
            replications(self.workload, setting, rate_per_s, self.look, self.cache, vary)
            for vary in (None, pessimistic)
        )
        return self._evaluated(setting, rate_per_s, runs, worse, estimate_shifted)

    def _evaluated(
        self,
        setting: WorkerConfig,
        rate_per_s: float,
        runs: list[Replication],
        others: list[Replication],
        join: Join,
    ) -> EvaluatedSetting:
        predicted = predict(self.workload, setting, rate_per_s, runs, self.price, others, join)
        figures = [objective_value(self.slo, run) for run in runs]
        if not runs or not np.isfinite(figures).all():
            return EvaluatedSetting(predicted, None, ObjectiveStatus.NOT_MET)
        observed = join(figures, [objective_value(self.slo, run) for run in others])
        status = standing(self.slo, observed)
        if status is ObjectiveStatus.MET and not can_reach_steady_state(self.workload, setting, rate_per_s):
            status = ObjectiveStatus.CANNOT_TELL
        return EvaluatedSetting(predicted, observed, status)

    def shared_with(self, map_fn: MapFn) -> Problem:
        """Return the same problem; if `map_fn` sends it to other processes, without the replications known here."""
        return self if map_fn is map else msgspec.structs.replace(self, cache=ReplicationCache())

    def load(self, rate_per_s: float) -> float:
        """Return the offered load in Erlangs, on average over a profile."""
        return offered_load(rate_per_s, self.workload.load_s)

    def min_stable_workers(self, rate_per_s: float) -> int:
        """Return the fewest workers whose queue settles, at the peak of a profile."""
        return math.floor(self.load(rate_per_s * peak(self.workload.arrivals))) + 1

    def limit_per_s(self, setting: WorkerConfig) -> float:
        """Return the rate at which all workers would always be occupied, at the peak of a profile."""
        return setting.max_workers / self.workload.load_s / peak(self.workload.arrivals)


def smallest_true(holds: Callable[[int], bool], low: int, high: int) -> int | None:
    """Return the least n from `low` to `high` for which `holds`, if it holds for all above; else None."""
    if low > high:
        return None
    step, failing, n = 1, low - 1, low
    while not holds(n):
        if n == high:
            return None
        failing, n, step = n, min(high, n + step), step * 2
    while n - failing > 1:
        middle = (n + failing) // 2
        if holds(middle):
            n = middle
        else:
            failing = middle
    return n


def min_active_workers(problem: Problem, rate_per_s: float) -> int | None:
    """Return the fewest workers that meet the objective if all always run; None if MAX_WORKERS do not meet it."""
    stable = problem.min_stable_workers(rate_per_s)
    return smallest_true(lambda workers: problem.meets(fixed(workers), rate_per_s), stable, MAX_WORKERS)


def flex_workers(
    problem: Problem, rate_per_s: float, scaler: ScalerSettings, idle_timeout_s: float, max_workers: int
) -> Iterator[WorkerConfig]:
    """Yield workers that meet the objective: from the fewest active ones up, each with the lowest maximum.

    Yields none if `max_workers` do not meet it.
    """

    def meets(active: int, at_most: int) -> bool:
        return problem.meets(WorkerConfig(active, at_most, scaler, idle_timeout_s), rate_per_s)

    least = smallest_true(lambda active: meets(active, max_workers), 0, max_workers)
    if least is None:
        return
    stable = max(1, problem.min_stable_workers(rate_per_s))
    at_most = smallest_true(lambda most: meets(least, most), max(least, stable), max_workers) or max_workers
    for active in range(least, max_workers + 1):
        at_most = max(at_most, active)
        while at_most > max(active, stable) and meets(active, at_most - 1):
            at_most -= 1
        yield WorkerConfig(active, at_most, scaler, idle_timeout_s)
        if at_most == active:
            return


class Alternatives(msgspec.Struct, frozen=True):
    """Scalers and idle timeouts to try for flex workers, up to a maximum number of workers."""

    scalers: tuple[ScalerSettings, ...] = ()
    idle_timeouts_s: tuple[float, ...] = ()
    max_workers: int = 64

    def pairs(self) -> list[tuple[ScalerSettings, float]]:
        """Return each scaler with each idle timeout, in the order given."""
        return list(product(self.scalers, self.idle_timeouts_s))


def flexible_options(
    problem: Problem, rate_per_s: float, alternatives: Alternatives, map_fn: MapFn = map
) -> Iterable[EvaluatedSetting | None]:
    """Return the cheapest workers for each scaler and idle timeout, by the search budget; None if none meet it."""
    groups = _groups(problem, rate_per_s, alternatives)
    # Start all groups before the first result is awaited: the processes of a pool begin at this call.
    found = map_fn(partial(_options_of, problem.shared_with(map_fn), rate_per_s, alternatives.max_workers), groups)

    def in_order() -> Iterator[EvaluatedSetting | None]:
        known = dict(zip(chain.from_iterable(groups), chain.from_iterable(found), strict=True))
        yield from (known[pair] for pair in alternatives.pairs())

    return in_order()


def _groups(
    problem: Problem, rate_per_s: float, alternatives: Alternatives
) -> list[list[tuple[ScalerSettings, float]]]:
    """Return the pairs in groups that differ in the idle timeout alone and meet the same jobs.

    Such pairs may share replications. The shorter timeout comes first in a group, and the longest group comes first,
    so that it does not run alone at the end.
    """
    groups: dict[tuple[ScalerSettings, int], list[tuple[ScalerSettings, float]]] = {}
    for scaler, idle_timeout_s in sorted(alternatives.pairs(), key=lambda pair: pair[1]):
        setting = WorkerConfig(0, alternatives.max_workers, scaler, idle_timeout_s)
        jobs = jobs_for_steady_state(problem.workload, setting, rate_per_s, problem.look.jobs)
        groups.setdefault((scaler, jobs), []).append((scaler, idle_timeout_s))
    return [group for _, group in sorted(groups.items(), key=lambda item: -item[0][1] * len(item[1]))]


def _options_of(
    problem: Problem, rate_per_s: float, max_workers: int, group: Iterable[tuple[ScalerSettings, float]]
) -> list[EvaluatedSetting | None]:
    return [flexible_option(problem, rate_per_s, max_workers, pair) for pair in group]


def flexible_option(
    problem: Problem, rate_per_s: float, max_workers: int, pair: tuple[ScalerSettings, float]
) -> EvaluatedSetting | None:
    """Return the workers with the lowest bill for a scaler and idle timeout, by the search budget; None if none meet.

    More active workers are tried as long as that lowers the bill, and those that always run.
    """
    always = min_active_workers(problem, rate_per_s)
    cheapest: EvaluatedSetting | None = None
    if always is not None and always <= max_workers:
        cheapest = problem.glance(WorkerConfig(always, always, *pair), rate_per_s)
    previous = math.inf
    for setting in flex_workers(problem, rate_per_s, *pair, max_workers):
        found = problem.glance(setting, rate_per_s)
        if cheapest is None or billed_workers(found) < billed_workers(cheapest):
            cheapest = found
        if billed_workers(found) >= previous:
            break
        previous = billed_workers(found)
    return cheapest


def highest_rate(problem: Problem, setting: WorkerConfig) -> float | None:
    """Return the highest rate per second at which a setting meets the objective; None if it meets it at none.

    Starts at the rate that keeps all workers busy and goes down by a tenth each time until the objective is met, by
    the search budget first, then by the confirmation budget. Then halves the last step, to within 0.4 %. It goes down
    because flex workers may miss the objective at low rates too, when each job meets a cold start.
    """
    confirmed = msgspec.structs.replace(problem, look=problem.confirm)
    rates = [problem.limit_per_s(setting)]
    while rates[-1] > _MIN_SHARE * rates[0]:
        rates.append(rates[-1] * _RATE_FACTOR)
    last = len(rates) - 1
    step = next((step for step in range(1, last) if problem.meets(setting, rates[step])), last)
    while step > 1 and confirmed.meets(setting, rates[step - 1]):
        step -= 1
    while not confirmed.meets(setting, rates[step]):
        if step == last:
            return None
        step += 1
    rate_per_s, above_per_s = rates[step], rates[step - 1]
    for _ in range(_HALVINGS):
        middle = (rate_per_s + above_per_s) / 2
        if confirmed.meets(setting, middle):
            rate_per_s = middle
        else:
            above_per_s = middle
    return rate_per_s
