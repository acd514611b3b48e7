"""When a worker looks for its next job: at once, or after a pause, like the vendor's SDK."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated

from pydantic import BeforeValidator

from loadtest.units import Seconds, StrictModel

_FLOAT_TOLERANCE = 1e-9
"""An execution time is a difference of floats; this much over a whole number of pauses is rounding error."""


class TakePause(StrictModel):
    """The pause of a worker between two takes: it looks for the next job when the pause is over, later if it still
    works.

    The vendor's SDK does so at a concurrency of 1: it sleeps one second after each take, and again for as long as the
    job is not done (`JobScaler.get_jobs` of `runpod` 1.12). A handler that is not a coroutine blocks the event loop,
    so that a sleep that ends meanwhile is followed by another that begins when the job is done.
    """

    duration: Seconds = 0.0
    """From a take until the worker looks for the next job; 0 for at once."""
    blocking_handler: bool = False
    """Whether a worker still at work when a pause ends looks one pause after the job, not at the next multiple."""

    def occupancy_s(self, execution_s: float) -> float:
        """Return how many seconds after a take the worker looks for the next job, if the job takes `execution_s`."""
        pause_s = self.duration
        if pause_s <= 0:
            return execution_s
        pauses = max(1, math.ceil(execution_s / pause_s - _FLOAT_TOLERANCE))
        return execution_s + pause_s if self.blocking_handler and pauses > 1 else pauses * pause_s


NO_PAUSE = TakePause()


def _take_pause(value: object) -> object:
    return value if isinstance(value, (Mapping, TakePause)) else {"duration": value}


TakePauseText = Annotated[TakePause, BeforeValidator(_take_pause, json_schema_input_type=Seconds | TakePause)]
"""A pause as a time, "1s", or as its mapping."""
