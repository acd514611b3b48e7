"""Systems to compare `loadtest capacity` with: each as observed at some workers and rate, and as to be predicted."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace

from tests.independent.endpoint import System

REVIVAL = (60.0, 0.5)  # seconds after a stop, seconds that it takes


@dataclass(frozen=True)
class LogNormal:
    """A log-normal time in seconds."""

    median_s: float
    sigma: float

    @property
    def mean_s(self) -> float:
        """Return the mean in seconds."""
        return self.median_s * math.exp(self.sigma**2 / 2)

    def __call__(self, rng: random.Random) -> float:
        """Draw a time."""
        return self.median_s * math.exp(rng.gauss(0.0, self.sigma))


@dataclass(frozen=True)
class Constant:
    """A time in seconds that is always the same."""

    value_s: float

    def __call__(self, rng: random.Random) -> float:
        """Return the time."""
        return self.value_s


@dataclass(frozen=True)
class Linear:
    """A slowdown that grows by the same share with each further job."""

    share: float

    def __call__(self, jobs: int) -> float:
        """Return how many times as long each of `jobs` jobs takes as one alone."""
        return 1 + self.share * (jobs - 1)


@dataclass(frozen=True)
class Cell:
    """One system as observed at one rate, and as to be predicted at another."""

    name: str
    calibrated: System
    calibrated_per_s: float
    predicted: System
    predicted_per_s: float


SERVICE = LogNormal(0.8, 0.6)
PLAIN = System(SERVICE, slowdown=Linear(0.0), start=LogNormal(8.0, 0.3))
FLEX = replace(PLAIN, active=0, most=3)


def capacity_per_s(system: System, mean_s: float) -> float:
    """Return the rate at which all slots are always taken, without crashes."""
    held_s = mean_s * system.slowdown(system.concurrency) + system.gap_s
    return system.most * system.concurrency / held_s


def cell(name: str, system: System, load: float, to_load: float, **changes: object) -> Cell:
    """Return a cell whose loads are shares of the workers' capacity before and after the `changes`."""
    predicted = replace(system, **changes)  # type: ignore[arg-type]
    rate, to_rate = capacity_per_s(system, SERVICE.mean_s), capacity_per_s(predicted, SERVICE.mean_s)
    return Cell(name, system, load * rate, predicted, to_load * to_rate)


def grid() -> list[Cell]:
    """Return the cells of the table."""
    always = replace(PLAIN, active=2, most=2)
    cells = [
        cell(f"always on, gap {gap_s * 1000:.0f} ms, {to_load:.0%}", replace(always, gap_s=gap_s), load, to_load,
             active=4, most=4)
        for gap_s in (0.0, 0.1)
        for load, to_load in ((0.6, 0.4), (0.5, 0.7), (0.7, 0.9))
    ]  # fmt: skip
    for jobs, share in ((4, 0.2), (30, 0.05)):
        for gap_s in (0.0, 0.1):
            several = replace(PLAIN, active=1, most=1, concurrency=jobs, slowdown=Linear(share), gap_s=gap_s)
            name = f"always on, {jobs} at once, gap {gap_s * 1000:.0f} ms"
            cells.append(cell(name, several, 0.8, 0.75, active=3, most=3))
    cells += flex_cells()
    for name, system in {"always on": always, "queue delay": FLEX, "request count": requests_of(FLEX, 1)}.items():
        more = {"most": 5, "active": 4 if system is always else system.active}
        crashing = replace(system, start=LogNormal(2.0, 0.3), crashes=0.05)
        cells.append(cell(f"{name}, crashes 5 %", crashing, 0.5, 0.6, **more))
    four = replace(PLAIN, active=1, most=1, concurrency=4, slowdown=Linear(0.2), start=Constant(2.0), crashes=0.05)
    cells.append(cell("always on, 4 at once, crashes 5 %", four, 0.4, 0.4, active=3, most=3))
    return cells


def flex_cells() -> Iterator[Cell]:
    """Yield the cells of workers that start on demand."""
    for scaled in (FLEX, requests_of(FLEX, 1)):
        for start in (LogNormal(8.0, 0.3), Constant(8.0)):
            for revival in (None, REVIVAL):
                words = (scaled.scaler[0], type(start).__name__.lower(), "revived" if revival else "all cold")
                yield cell(", ".join(words), replace(scaled, start=start, revival=revival), 0.5, 0.6, most=6)
        yield cell(f"{scaled.scaler[0]}, longer idle timeout", scaled, 0.4, 0.4, idle_s=20.0)
        yield cell(
            f"{scaled.scaler[0]}, 1 active", replace(scaled, active=1), 0.6, 0.7, active=2, most=6, idle_s=10.0
        )
        gap = replace(scaled, gap_s=0.1, revival=REVIVAL)
        yield cell(f"{scaled.scaler[0]}, gap 100 ms", gap, 0.6, 0.6, most=5)
    for jobs, share in ((4, 0.2), (30, 0.05)):
        several = replace(FLEX, concurrency=jobs, slowdown=Linear(share), most=2)
        yield cell(f"queue delay, {jobs} at once", several, 0.6, 0.6, most=4)
        yield cell(f"request count, {jobs} at once", requests_of(several, jobs), 0.6, 0.6, most=4)


def requests_of(system: System, jobs: int) -> System:
    """Return the system with a request count in place of its scaler."""
    return replace(system, scaler=("request count", float(jobs)))


def random_cells(count: int, seed: int) -> Iterator[Cell]:
    """Yield random systems, each observed at 30 to 80 % load and predicted at 40 to 90 %."""
    rng = random.Random(seed)
    for number in range(count):
        jobs = rng.choice([1, 1, 4, 30])
        most, flex = rng.randint(1, 4), rng.random() < 0.6
        system = System(
            service=SERVICE,
            active=rng.randint(0, most - 1) if flex else most,
            most=most,
            concurrency=jobs,
            slowdown=Linear(rng.uniform(0.0, 0.3) if jobs == 4 else rng.uniform(0.0, 0.06)),
            gap_s=rng.choice([0.0, 0.1]),
            start=LogNormal(rng.uniform(2, 20), 0.4) if rng.random() < 0.5 else Constant(rng.uniform(2, 20)),
            revival=rng.choice([None, REVIVAL]),
            scaler=rng.choice([("queue delay", 4.0), ("queue delay", 1.0), ("request count", float(jobs))]),
            idle_s=rng.choice([2.0, 5.0, 15.0]),
            crashes=rng.choice([0.0, 0.0, 0.02]),
        )
        more = rng.randint(most, 2 * most)
        changes = {"most": more, "active": min(more - 1, system.active) if flex else more}
        yield cell(f"random {number}", system, rng.uniform(0.3, 0.8), rng.uniform(0.4, 0.9), **changes)
