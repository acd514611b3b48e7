"""How workers pace their takes: at once, or as the vendor's SDK does, which sleeps after each take."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated

from pydantic import BeforeValidator

from loadtest.units import Seconds, StrictModel

_EXACT = 1e-9
"""An execution is a difference of floats: one that is a whole number of pauses but for their error stays one."""


class TakePause(StrictModel):
    """After a take a worker looks for the next job once so long is over, and where it is still at work, later.

    So does the vendor's SDK at a concurrency of 1: it sleeps a second after each take, and again for as long as the
    job is not done (`JobScaler.get_jobs` of `runpod` 1.12). A handler that is no coroutine keeps its event loop, so
    that a sleep that ends meanwhile is followed by another one that begins when the job is done.
    """

    duration: Seconds = 0.0
    """From a take until the worker looks for the next job; 0 for at once."""
    blocking_handler: bool = False
    """Whether a worker that is still at work then looks so long after the job's end, and not at the next multiple."""

    def occupancy_s(self, execution_s: float) -> float:
        """How long after a take the worker looks for the next job, where this one took so long."""
        lasts = self.duration
        if lasts <= 0:
            return execution_s
        pauses = max(1, math.ceil(execution_s / lasts - _EXACT))
        return execution_s + lasts if self.blocking_handler and pauses > 1 else pauses * lasts


NO_PAUSE = TakePause()


def _take_pause(value: object) -> object:
    return value if isinstance(value, (Mapping, TakePause)) else {"duration": value}


TakePauseText = Annotated[TakePause, BeforeValidator(_take_pause, json_schema_input_type=Seconds | TakePause)]
"""A pause as one time, "1s", or as its mapping."""
