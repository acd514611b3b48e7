"""The simulated workers that have room for a job, and which of them takes the next."""

from __future__ import annotations

from loadtest.endpoint.fleet import Worker


class FreeSlots:
    """Workers that are up, by how many of their `concurrency` slots are occupied.

    An active worker with a free slot takes the next job; of several, the one with the fewest jobs; of these, the one
    that came to that number last, so that flex workers that are not needed can stop.
    """

    def __init__(self, concurrency: int) -> None:
        self._concurrency = concurrency
        self._occupied: dict[Worker, int] = {}
        self._active: list[dict[Worker, None]] = [{} for _ in range(concurrency)]
        self._flex: list[dict[Worker, None]] = [{} for _ in range(concurrency)]

    def __repr__(self) -> str:
        return f"<FreeSlots {sorted(self._occupied.values())} of {self._concurrency} occupied by worker>"

    def __contains__(self, worker: Worker) -> bool:
        """Return whether the worker is up."""
        return worker in self._occupied

    def first(self) -> Worker | None:
        """Return the worker that takes the next job; None if no worker has room."""
        for workers in self._active:
            if workers:
                return next(reversed(workers))
        for workers in self._flex:
            if workers:
                return next(reversed(workers))
        return None

    def add(self, worker: Worker) -> None:
        """Add a worker without jobs."""
        self._occupied[worker] = 0
        (self._active if worker.active else self._flex)[0][worker] = None

    def occupy(self, worker: Worker) -> None:
        """Occupy one slot of a worker that has a free one."""
        occupied = self._occupied[worker]
        self._occupied[worker] = occupied + 1
        by_occupied = self._active if worker.active else self._flex
        del by_occupied[occupied][worker]
        if occupied + 1 < self._concurrency:
            by_occupied[occupied + 1][worker] = None

    def release(self, worker: Worker) -> None:
        """Free one slot of a worker."""
        occupied = self._occupied[worker]
        self._occupied[worker] = occupied - 1
        by_occupied = self._active if worker.active else self._flex
        if occupied < self._concurrency:
            del by_occupied[occupied][worker]
        by_occupied[occupied - 1][worker] = None

    def remove(self, worker: Worker) -> None:
        """Remove a worker that stops or is lost."""
        occupied = self._occupied.pop(worker)
        if occupied < self._concurrency:
            del (self._active if worker.active else self._flex)[occupied][worker]
