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

from loadtest.capacity.arrivals import peak
from loadtest.capacity.formulas import offered_load
from loadtest.capacity.memory import Memory
from loadtest.capacity.objective import Judged, judged, meets
from loadtest.capacity.predict import Effort
from loadtest.capacity.setting import Scaling, Setting, Workload, fixed, mean_s
from loadtest.capacity.simulate import jobs_to_settle
from loadtest.capacity.values import Each
from loadtest.scenario.gates import Gate

MOST_WORKERS = 10_000
LOOK, CONFIRM = Effort(5, 4000), Effort(10, 10_000)
"""How much is simulated for each setting that is looked at, and for those that are told."""
_FINER = 0.9
_LEAST_SHARE = 0.05
"""A rate is looked for down to this share of what the workers can do at all."""
_HALVINGS = 5


class Question(msgspec.Struct, frozen=True):
    """What is searched under: the objective, the work, how much is simulated to look and how much to confirm."""

    slo: Gate
    workload: Workload
    price: float | None = None
    look: Effort = LOOK
    confirm: Effort = CONFIRM
    memory: Memory = msgspec.field(default_factory=Memory)

    def meets(self, setting: Setting, rate_per_s: float) -> bool:
        """Whether a setting meets the objective, at a glance."""
        return meets(self.slo, self.workload, setting, rate_per_s, self.look, self.memory.replication)

    def judged(self, setting: Setting, rate_per_s: float) -> Judged:
        """A setting's whole prediction."""
        return judged(self.slo, self.workload, setting, rate_per_s, self.confirm, self.price, self.memory.replication)

    def load(self, rate_per_s: float) -> float:
        """The offered load in Erlangs, on average over a profile."""
        return offered_load(rate_per_s, mean_s(self.workload.occupied))

    def settling(self, rate_per_s: float) -> int:
        """The least workers whose queue settles, at the peak of a profile."""
        return math.floor(self.load(rate_per_s * peak(self.workload.arrivals))) + 1

    def limit_per_s(self, setting: Setting) -> float:
        """The rate at which all workers would always be occupied, at the peak of a profile."""
        return setting.most / mean_s(self.workload.occupied) / peak(self.workload.arrivals)


def least(holds: Callable[[int], bool], low: int, high: int) -> int | None:
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


def least_active(question: Question, rate_per_s: float) -> int | None:
    """The least workers that meet the objective if all of them always run; None where MOST_WORKERS do not."""
    settling = question.settling(rate_per_s)
    return least(lambda workers: question.meets(fixed(workers), rate_per_s), settling, MOST_WORKERS)


def least_flexible(
    question: Question, rate_per_s: float, scaling: Scaling, idle_timeout_s: float, most: int
) -> Setting | None:
    """The least active workers where up to `most` may come on demand, and then the least that these may be.

    None where even as many active workers as `most` do not meet the objective.
    """

    def setting(active: int, at_most: int) -> Setting:
        return Setting(active, at_most, scaling, idle_timeout_s)

    active = least(lambda each: question.meets(setting(each, most), rate_per_s), 0, most)
    if active is None:
        return None
    settling = max(active, 1, question.settling(rate_per_s))
    at_most = least(lambda each: question.meets(setting(active, each), rate_per_s), settling, most)
    return setting(active, most if at_most is None else at_most)


class Alternatives(msgspec.Struct, frozen=True):
    """Scalers and idle timeouts to look for flex workers in, up to so many workers."""

    scalings: tuple[Scaling, ...] = ()
    idle_timeouts_s: tuple[float, ...] = ()
    most: int = 64

    def pairs(self) -> list[tuple[Scaling, float]]:
        """Each scaler with each idle timeout, in the order given."""
        return list(product(self.scalings, self.idle_timeouts_s))


def flexible_options(
    question: Question, rate_per_s: float, alternatives: Alternatives, each: Each = map
) -> Iterable[Judged | None]:
    """For each scaler and idle timeout the least workers that meet the objective, at a glance; None where none do."""
    groups = _groups(question, rate_per_s, alternatives)
    # Asked for before the first is waited for, since other processes, where `each` has them, begin then.
    found = each(partial(_options_of, question, rate_per_s, alternatives.most), groups)
    return _in_order(alternatives.pairs(), groups, found)


def _groups(question: Question, rate_per_s: float, alternatives: Alternatives) -> list[list[tuple[Scaling, float]]]:
    """Pairs that differ in an idle timeout alone and meet the same jobs, which may share replications; longest first.

    The shorter timeout comes first in a group. A group that takes long is not left to run alone at the end.
    """
    groups: dict[tuple[Scaling, int], list[tuple[Scaling, float]]] = {}
    for scaling, idle_timeout_s in sorted(alternatives.pairs(), key=lambda pair: pair[1]):
        setting = Setting(0, alternatives.most, scaling, idle_timeout_s)
        jobs = jobs_to_settle(question.workload, setting, rate_per_s, question.look.jobs)
        groups.setdefault((scaling, jobs), []).append((scaling, idle_timeout_s))
    return [group for _, group in sorted(groups.items(), key=lambda item: -item[0][1] * len(item[1]))]


def _in_order(
    pairs: Iterable[tuple[Scaling, float]],
    groups: Iterable[list[tuple[Scaling, float]]],
    found: Iterable[list[Judged | None]],
) -> Iterator[Judged | None]:
    known = dict(zip(chain.from_iterable(groups), chain.from_iterable(found), strict=True))
    yield from (known[pair] for pair in pairs)


def _options_of(
    question: Question, rate_per_s: float, most: int, group: Iterable[tuple[Scaling, float]]
) -> list[Judged | None]:
    return [flexible_option(question, rate_per_s, most, pair) for pair in group]


def flexible_option(question: Question, rate_per_s: float, most: int, pair: tuple[Scaling, float]) -> Judged | None:
    """The least workers for one scaler and idle timeout, at a glance; None where up to `most` do not do."""
    setting = least_flexible(question, rate_per_s, *pair, most)
    glance = msgspec.structs.replace(question, confirm=question.look)
    return None if setting is None else glance.judged(setting, rate_per_s)


def highest_rate(question: Question, setting: Setting) -> float | None:
    """The highest rate per second at which a setting meets the objective; None where it does so at none.

    From what the workers can do at all, down by a tenth each time until it is met, then up by halving the last step,
    to within 0.4 %. Downward, since flex workers may miss at low rates, too, where each job meets a cold start.
    """
    limit_per_s = question.limit_per_s(setting)
    rate_per_s = above_per_s = limit_per_s
    while rate_per_s > _LEAST_SHARE * limit_per_s:
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
