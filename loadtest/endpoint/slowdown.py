"""How much slower a job is by the number of jobs that its worker has: points, and the straight lines between them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import numpy as np
from pydantic import AfterValidator, Field


def _increasing_from_one(points: dict[int, float]) -> dict[int, float]:
    if points.get(1, 1.0) != 1.0:
        raise ValueError(
            f"a job alone takes 1 time as long as it takes, not {points[1]:g}; divide all factors by that"
        )
    return dict(sorted(points.items()))


Slowdown = Annotated[
    dict[Annotated[int, Field(ge=1, le=1000)], Annotated[float, Field(gt=0, le=1000, allow_inf_nan=False)]],
    AfterValidator(_increasing_from_one),
]
"""How many times as long a job takes by the number of jobs that its worker has; straight lines between the points."""


def slowdown_factors(slowdown: Mapping[int, float], concurrency: int) -> list[float]:
    """Return how many times as long a job takes while its worker has 0, 1, 2 … `concurrency` jobs."""
    points = {1: 1.0, **slowdown}
    return [float(np.interp(each, list(points), list(points.values()))) for each in range(concurrency + 1)]
