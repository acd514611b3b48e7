"""Recently simulated replications, so that a search does not simulate them again."""

from __future__ import annotations

import msgspec

from loadtest.capacity.simulation.simulate import Replication, jobs_for_steady_state, replication
from loadtest.capacity.simulation.workload import WorkerConfig, Workload

_MAX_JOBS = 2_000_000
"""The number of jobs that is kept, in about 70 MB; the oldest replications are dropped first."""
_Key = tuple[Workload, WorkerConfig, float, int, int]


class ReplicationCache:
    """Replications, keyed by everything that they depend on."""

    def __init__(self) -> None:
        self._known: dict[_Key, tuple[float, Replication]] = {}
        self._jobs = 0

    def replication(
        self, workload: Workload, setting: WorkerConfig, rate_per_s: float, jobs: int, seed: int
    ) -> Replication:
        """Return the same as `simulate.replication`, from the cache or simulated now.

        If no worker stopped, none stops with a longer idle timeout either: with as many jobs, all is equal.
        """
        jobs = jobs_for_steady_state(workload, setting, rate_per_s, jobs)
        idle_s = setting.idle_timeout_s
        key = workload, msgspec.structs.replace(setting, idle_timeout_s=0.0), rate_per_s, jobs, seed
        if key in self._known:
            known_idle_s, known = self._known[key]
            if idle_s == known_idle_s or (idle_s > known_idle_s and not known.stops):
                return known
        run = replication(workload, setting, rate_per_s, jobs, seed)
        self._keep(key, idle_s, run)
        return run

    def _keep(self, key: _Key, idle_s: float, run: Replication) -> None:
        if key in self._known:
            self._jobs -= len(self._known.pop(key)[1])
        self._known[key] = idle_s, run
        self._jobs += len(run)
        while self._jobs > _MAX_JOBS:
            self._jobs -= len(self._known.pop(next(iter(self._known)))[1])
