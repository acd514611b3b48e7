"""The ids of jobs."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from loadtest.endpoint.distributions import BLOCK

_HYPHEN, _VERSION = b"-4"
_VARIANTS = np.frombuffer(b"89ab", dtype=np.uint8)


def uuids(rng: np.random.Generator) -> Iterator[str]:
    """Yield random UUIDs (version 4) as text."""
    text = np.full((BLOCK, 36), _HYPHEN, dtype=np.uint8)
    while True:
        drawn = rng.bytes(16 * BLOCK)
        digits = np.frombuffer(drawn.hex().encode(), dtype=np.uint8).reshape(BLOCK, 32)
        for first, last, hyphens in ((0, 8, 0), (8, 12, 1), (12, 16, 2), (16, 20, 3), (20, 32, 4)):
            text[:, first + hyphens : last + hyphens] = digits[:, first:last]
        text[:, 14] = _VERSION
        text[:, 19] = _VARIANTS[(np.frombuffer(drawn, dtype=np.uint8)[8::16] >> 4) % 4]
        yield from text.view("S36").ravel().astype(str).tolist()
