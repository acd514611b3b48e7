"""The worker's side of a server as a whole: the processes, what they ask for, and whether the first are there."""

from __future__ import annotations

from collections.abc import Callable

import typer

from loadtest.serve.crew import WorkerProcesses
from loadtest.serve.live import LiveEndpoint
from loadtest.serve.worker_side import WorkerApi


class WorkerService:
    """`begin` once the server listens, `stop` before it stops listening, `close` when it has."""

    def __init__(self, processes: WorkerProcesses, side: WorkerApi, live: LiveEndpoint, awaited: int) -> None:
        self._processes = processes
        self._side = side
        self._live = live
        self._awaited = awaited
        self._complete = False

    def begin(self, give_up: Callable[[], None]) -> None:
        """Start the active workers, and say so when all have asked for a job; `give_up` where that is in vain."""
        self._processes.give_up = give_up
        self._live.on_settled = self._settled
        self._live.process_due()

    def stop(self) -> None:
        """Tell every worker to end, before what it has open is answered."""
        self._processes.terminate_all()
        self._side.stop()

    async def close(self) -> None:
        """Return when every worker is gone; ScenarioError where the handler could not be started at all."""
        await self._processes.close()
        if self._processes.error is not None:
            raise self._processes.error

    def _settled(self) -> None:
        self._processes.apply_commands()
        self._side.notify_waiters()
        if not self._complete and self._live.endpoint.health(self._live.clock.now()).workers.ready >= self._awaited:
            self._complete = True
            typer.echo(f"ready: {self._awaited} active workers")
