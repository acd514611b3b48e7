"""Jobs that send the input of an earlier job again, to find out whether a cache answers them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

_STREAM = 2**33
"""A part of the seed that no other draw of a run has."""

Numbers = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class RepeatPlan:
    """Which jobs of a flow repeat: one of each `every` jobs, drawn from the seed, has the input of an earlier job.

    That one has an input of its own. How far back it lies is drawn on a logarithmic scale, farther ones more often: a
    cache forgets, so some repeats follow closely, and one of whole answers has nothing before the first answer.
    `seqs` are the numbers of the flow's jobs in order; None if they are 0, 1, 2 and so on.
    """

    every: int
    seed: int
    flow: int
    seqs: Numbers | None = None

    def source_of(self, seq: int) -> int:
        """Return the number of the job whose input the job with this number sends: its own, unless it repeats."""
        index = seq if self.seqs is None else int(np.searchsorted(self.seqs, seq))
        block, offset = divmod(index, self.every)
        if block == 0 or offset != _repeat_index(self.every, self.seed, self.flow, block):
            return seq
        source = _source_index(self.every, self.seed, self.flow, block)
        return source if self.seqs is None else int(self.seqs[source])

    def pairs(self, count: int) -> tuple[Numbers, Numbers]:
        """Return the numbers of the repeats among the first `count` jobs of the flow, and of the jobs they repeat."""
        blocks = range(1, -(-count // self.every))
        repeats = [block * self.every + _repeat_index(self.every, self.seed, self.flow, block) for block in blocks]
        sources = [_source_index(self.every, self.seed, self.flow, block) for block in blocks]
        found, of = np.array(repeats, np.int64), np.array(sources, np.int64)
        sent = found < count
        found, of = found[sent], of[sent]
        return (found, of) if self.seqs is None else (self.seqs[found], self.seqs[of])


@lru_cache(maxsize=4096)
def _repeat_index(every: int, seed: int, flow: int, block: int) -> int:
    """Return which job of a block repeats."""
    return int(np.random.default_rng([seed, _STREAM, flow, block]).integers(every))


def _source_index(every: int, seed: int, flow: int, block: int) -> int:
    """Return the index of the job that a block's repeat repeats: any but the repeat of an earlier block."""
    rng = np.random.default_rng([seed, _STREAM + 1, flow, block])
    earlier = block - min(block, int(block ** float(np.sqrt(rng.random()))))
    offset = int(rng.integers(every - 1)) if earlier else int(rng.integers(every))
    if earlier and offset >= _repeat_index(every, seed, flow, earlier):
        offset += 1
    return earlier * every + offset
