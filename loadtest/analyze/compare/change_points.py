"""The places at which a series of figures changed: E-divisive, with a permutation test."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from loadtest.arrays import Floats

SIGNIFICANCE = 0.01
"""At most this share of series without a change get one."""
MIN_SIDE = 3
"""The fewest values before and after a change."""
_PERMUTATIONS = 399
_MAX_VALUES = 200


class ChangePoint(NamedTuple):
    """A change between the value at `place` and the one before, and the probability of one as clear by chance."""

    place: int
    p: float


def change_points(values: Floats) -> list[ChangePoint]:
    """Return where the distribution of the last 200 values changed, in their order.

    The values are divided where the energy distance of both sides is largest, and each part again, for as long as
    permuting the values within the parts gives one as large in at most SIGNIFICANCE of the cases (Matteson and James
    2014, Journal of the American Statistical Association 109, p. 334, sections 2 and 3, with exponent 1).
    """
    skipped = max(0, len(values) - _MAX_VALUES)
    distances = np.abs(np.subtract.outer(values[skipped:], values[skipped:]))
    rng = np.random.default_rng(len(values))
    parts, found = [(0, len(distances))], list[ChangePoint]()
    while True:
        height, at = max(_best_split(distances, *part) for part in parts)
        if height <= 0.0:
            break
        larger = sum(
            max(_best_split(_permuted(distances, part, rng), 0, part[1] - part[0])[0] for part in parts) >= height
            for _ in range(_PERMUTATIONS)
        )
        p = (larger + 1) / (_PERMUTATIONS + 1)
        if p > SIGNIFICANCE:
            break
        found.append(ChangePoint(at + skipped, p))
        [whole] = [part for part in parts if part[0] < at < part[1]]
        parts.remove(whole)
        parts += [(whole[0], at), (at, whole[1])]
    return sorted(found)


def _permuted(distances: Floats, part: tuple[int, int], rng: np.random.Generator) -> Floats:
    order = rng.permutation(np.arange(*part))
    permuted: Floats = distances[np.ix_(order, order)]
    return permuted


def _best_split(distances: Floats, start: int, end: int) -> tuple[float, int]:
    """Return the largest scaled energy distance of both sides of a split of this part, and its place; 0 if none."""
    n = end - start
    if n < 2 * MIN_SIDE:
        return 0.0, start
    sums = distances[start:end, start:end].cumsum(0).cumsum(1)
    left = np.arange(MIN_SIDE, n - MIN_SIDE + 1)
    right, last = n - left, left - 1
    within_left, upto = sums[last, last], sums[last, -1]
    across = upto - within_left
    within_right = sums[-1, -1] - 2 * upto + within_left
    energy = 2 * across / (left * right) - within_left / (left * (left - 1)) - within_right / (right * (right - 1))
    scaled = energy * left * right / n
    best = int(scaled.argmax())
    return float(scaled[best]), start + int(left[best])
