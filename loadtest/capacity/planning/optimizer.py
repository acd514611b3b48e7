"""The least workers for an objective, the highest rate for workers, the cheapest of scalers and idle timeouts.

All settings that are compared meet the same jobs at the same times (common random numbers), so that they differ by
what was set and not by luck. Then more workers that always run never make a job wait longer, and bisection is right;
with flex workers that is nearly so, and what was found is simulated once more before it is told.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import chain, product

import msgspec

from loadtest.capacity.estimates import MapFn
from loadtest.capacity.planning.objective import EvaluatedSetting, evaluate, meets
from loadtest.capacity.queueing_formulas import offered_load
from loadtest.capacity.simulation.arrivals import peak
from loadtest.capacity.simulation.cache import ReplicationCache
from loadtest.capacity.simulation.predict import SimulationBudget
from loadtest.capacity.simulation.simulate import jobs_for_steady_state
from loadtest.capacity.simulation.workload import ScalerConfig, WorkerConfig, Workload, fixed, mean_s
from loadtest.scenario.gates import Gate

MAX_WORKERS = 10_000
COARSE, FINE = SimulationBudget(5, 4000), SimulationBudget(10, 10_000)
"""How much is simulated for each setting that is looked at, and for those that are told."""
_FINER = 0.9
_MIN_SHARE = 0.05
"""A rate is looked for down to this share of what the workers can do at all."""
_HALVINGS = 5


class Problem(msgspec.Struct, frozen=True):
    """What is searched under: the objective, the work, how much is simulated to look and how much to confirm."""

    slo: Gate
    workload: Workload
    price: float | None = None
    look: SimulationBudget = COARSE
    confirm: SimulationBudget = FINE
    memory: ReplicationCache = msgspec.field(default_factory=ReplicationCache)

    def meets(self, setting: WorkerConfig, rate_per_s: float) -> bool:
        """Whether a setting meets the objective, at a glance."""
        return meets(self.slo, self.workload, setting, rate_per_s, self.look, self.memory.replication)

    def judged(self, setting: WorkerConfig, rate_per_s: float) -> EvaluatedSetting:
        """A setting's whole prediction."""
        return evaluate(
            self.slo, self.workload, setting, rate_per_s, self.confirm, self.price, self.memory.replication
        )

    def load(self, rate_per_s: float) -> float:
        """The offered load in Erlangs, on average over a profile."""
        return offered_load(rate_per_s, mean_s(self.workload.occupancy))

    def min_stable_workers(self, rate_per_s: float) -> int:
        """The least workers whose queue settles, at the peak of a profile."""
        return math.floor(self.load(rate_per_s * peak(self.workload.arrivals))) + 1

    def limit_per_s(self, setting: WorkerConfig) -> float:
        """The rate at which all workers would always be occupied, at the peak of a profile."""
        return setting.max_workers / mean_s(self.workload.occupancy) / peak(self.workload.arrivals)


def smallest_true(holds: Callable[[int], bool], low: int, high: int) -> int | None:
    """The least n from `low` to `high` for which it holds, where it holds from there on; None where it never does.

    Steps double until it holds, then the last step is halved.
    """
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


def min_active_workers(question: Problem, rate_per_s: float) -> int | None:
    """The least workers that meet the objective if all of them always run; None where MOST_WORKERS do not."""
    settling = question.min_stable_workers(rate_per_s)
    return smallest_true(lambda workers: question.meets(fixed(workers), rate_per_s), settling, MAX_WORKERS)


def min_flex_workers(
    question: Problem, rate_per_s: float, scaling: ScalerConfig, idle_timeout_s: float, max_workers: int
) -> WorkerConfig | None:
    """The least active workers where up to `most` may come on demand, and then the least that these may be.

    None where even as many active workers as `most` do not meet the objective.
    """

    def setting(active: int, at_most: int) -> WorkerConfig:
        return WorkerConfig(active, at_most, scaling, idle_timeout_s)

    active = smallest_true(lambda each: question.meets(setting(each, max_workers), rate_per_s), 0, max_workers)
    if active is None:
        return None
    settling = max(active, 1, question.min_stable_workers(rate_per_s))
    at_most = smallest_true(lambda each: question.meets(setting(active, each), rate_per_s), settling, max_workers)
    return setting(active, max_workers if at_most is None else at_most)


class Alternatives(msgspec.Struct, frozen=True):
    """Scalers and idle timeouts to look for flex workers in, up to so many workers."""

    scalings: tuple[ScalerConfig, ...] = ()
    idle_timeouts_s: tuple[float, ...] = ()
    max_workers: int = 64

    def pairs(self) -> list[tuple[ScalerConfig, float]]:
        """Each scaler with each idle timeout, in the order given."""
        return list(product(self.scalings, self.idle_timeouts_s))


def flexible_options(
    question: Problem, rate_per_s: float, alternatives: Alternatives, each: MapFn = map
) -> Iterable[EvaluatedSetting | None]:
    """For each scaler and idle timeout the least workers that meet the objective, at a glance; None where none do."""
    groups = _groups(question, rate_per_s, alternatives)
    # Asked for before the first is waited for, since other processes, where `each` has them, begin then.
    found = each(partial(_options_of, question, rate_per_s, alternatives.max_workers), groups)
    return _in_order(alternatives.pairs(), groups, found)


def _groups(
    question: Problem, rate_per_s: float, alternatives: Alternatives
) -> list[list[tuple[ScalerConfig, float]]]:
    """Pairs that differ in an idle timeout alone and meet the same jobs, which may share replications; longest first.

    The shorter timeout comes first in a group. A group that takes long is not left to run alone at the end.
    """
    groups: dict[tuple[ScalerConfig, int], list[tuple[ScalerConfig, float]]] = {}
    for scaling, idle_timeout_s in sorted(alternatives.pairs(), key=lambda pair: pair[1]):
        setting = WorkerConfig(0, alternatives.max_workers, scaling, idle_timeout_s)
        jobs = jobs_for_steady_state(question.workload, setting, rate_per_s, question.look.jobs)
        groups.setdefault((scaling, jobs), []).append((scaling, idle_timeout_s))
    return [group for _, group in sorted(groups.items(), key=lambda item: -item[0][1] * len(item[1]))]


def _in_order(
    pairs: Iterable[tuple[ScalerConfig, float]],
    groups: Iterable[list[tuple[ScalerConfig, float]]],
    found: Iterable[list[EvaluatedSetting | None]],
) -> Iterator[EvaluatedSetting | None]:
    known = dict(zip(chain.from_iterable(groups), chain.from_iterable(found), strict=True))
    yield from (known[pair] for pair in pairs)


def _options_of(
    question: Problem, rate_per_s: float, max_workers: int, group: Iterable[tuple[ScalerConfig, float]]
) -> list[EvaluatedSetting | None]:
    return [flexible_option(question, rate_per_s, max_workers, pair) for pair in group]


def flexible_option(
    question: Problem, rate_per_s: float, max_workers: int, pair: tuple[ScalerConfig, float]
) -> EvaluatedSetting | None:
    """The least workers for one scaler and idle timeout, at a glance; None where up to `most` do not do."""
    setting = min_flex_workers(question, rate_per_s, *pair, max_workers)
    glance = msgspec.structs.replace(question, confirm=question.look)
    return None if setting is None else glance.judged(setting, rate_per_s)


def highest_rate(question: Problem, setting: WorkerConfig) -> float | None:
    """The highest rate per second at which a setting meets the objective; None where it does so at none.

    From what the workers can do at all, down by a tenth each time until it is met, then up by halving the last step,
    to within 0.4 %. Downward, since flex workers may miss at low rates, too, where each job meets a cold start.
    """
    limit_per_s = question.limit_per_s(setting)
    rate_per_s = above_per_s = limit_per_s
    while rate_per_s > _MIN_SHARE * limit_per_s:
        above_per_s, rate_per_s = rate_per_s, rate_per_s * _FINER
        if question.meets(setting, rate_per_s):
            break
    else:
        return None
    for _ in range(_HALVINGS):
        middle = (rate_per_s + above_per_s) / 2
        if question.meets(setting, middle):
            rate_per_s = middle
        else:
            above_per_s = middle
    return rate_per_s
