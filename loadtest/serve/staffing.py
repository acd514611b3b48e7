"""The worker's side of a server as a whole: the processes, what they ask for, and whether the first are there."""

from __future__ import annotations

from collections.abc import Callable

import typer

from loadtest.serve.crew import Crew
from loadtest.serve.live import LiveEndpoint
from loadtest.serve.worker_side import WorkerSide


class Staffing:
    """`begin` once the server listens, `stop` before it stops listening, `close` when it has."""

    def __init__(self, crew: Crew, side: WorkerSide, live: LiveEndpoint, awaited: int) -> None:
        self._crew = crew
        self._side = side
        self._live = live
        self._awaited = awaited
        self._complete = False

    def begin(self, give_up: Callable[[], None]) -> None:
        """Start the active workers, and say so when all have asked for a job; `give_up` where that is in vain."""
        self._crew.give_up = give_up
        self._live.after = self._settled
        self._live.settle()

    def stop(self) -> None:
        """Tell every worker to end, before what it has open is answered."""
        self._crew.dissolve()
        self._side.stop()

    async def close(self) -> None:
        """Return when every worker is gone; ScenarioError where the handler could not be started at all."""
        await self._crew.close()
        if self._crew.fault is not None:
            raise self._crew.fault

    def _settled(self) -> None:
        self._crew.settled()
        self._side.settled()
        if not self._complete and self._live.endpoint.health(self._live.clock.now()).workers.ready >= self._awaited:
            self._complete = True
            typer.echo(f"ready: {self._awaited} active workers")
