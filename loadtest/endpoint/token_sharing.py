"""The jobs of one simulated LLM: first in prefill, then decoding, at speeds that depend on how many it has in hand.

Each phase has a clock of attained work, as in `processor_sharing`: with n jobs in hand, in either phase, it runs at
1 / slowdown(n). A token comes when the clock of decoding has moved on by its work.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from loadtest.endpoint.completion import Completion
from loadtest.endpoint.job import Job

_PREFILL, _DECODE = 0, 1
_TOLERANCE_S = 1e-6  # a float of epoch seconds is exact to a quarter of a microsecond
_MIN_HISTORY = 1024


class _Entry(NamedTuple):
    """A job in a phase: the phase's clock at its end, its number, its later work, the phase's clock at its start."""

    ends_s: float
    order: int
    rest_s: float
    started_s: float
    job: Job


class TokenSharing:
    """The jobs of one worker; each of n jobs takes `prefill[n]` and `decode[n]` times as long as one alone."""

    __slots__ = (
        "_at",
        "_attained_s",
        "_clock_points",
        "_order",
        "_phases",
        "_prune_at",
        "_slowdowns",
        "_time_points",
    )

    def __init__(self, prefill: Sequence[float], decode: Sequence[float]) -> None:
        self._slowdowns = (prefill, decode)
        self._phases: tuple[list[_Entry], list[_Entry]] = ([], [])
        self._attained_s = [0.0, 0.0]
        self._at = 0.0
        self._order = 0
        # The clock of decoding and the time of each change of speed, for as long as a decoding job needs them.
        self._clock_points, self._time_points = [0.0], [0.0]
        self._prune_at = _MIN_HISTORY

    def __repr__(self) -> str:
        return f"<TokenSharing {len(self._phases[0])} in prefill, {len(self._phases[1])} decoding at {self._at:.3f}>"

    def __len__(self) -> int:
        return len(self._phases[_PREFILL]) + len(self._phases[_DECODE])

    def add(self, job: Job, work_s: float, now: float) -> None:
        """Begin a job that takes `work_s` seconds alone."""
        self._advance(now)
        prefill_s = min(_completion(job).prefill_s, work_s)
        self._push(_PREFILL, job, prefill_s, work_s - prefill_s)

    def next_end_at(self) -> float:
        """Return when the next phase of a job ends if the jobs stay the same; there must be one."""
        return min(self._end_at(phase) for phase in (_PREFILL, _DECODE) if self._phases[phase])

    def pop(self, now: float) -> Job | None:
        """End the phase that ends now, as `next_end_at` said; return the job if it has ended, and remove it."""
        phase = min((each for each in (_DECODE, _PREFILL) if self._phases[each]), key=self._end_at)
        self._advance(now)
        ends_s, _, rest_s, _, job = heapq.heappop(self._phases[phase])
        self._attained_s[phase] = ends_s
        if phase == _DECODE:
            self._clock_points[-1] = ends_s
        else:
            self._start_tokens(job)
            if rest_s > 0:
                self._push(_DECODE, job, rest_s, 0.0)
                return None
        self._settle(job, now)
        return job

    def remove(self, job: Job, now: float) -> None:
        """Remove a job before its end."""
        self._advance(now)
        for entries in self._phases:
            entries[:] = [each for each in entries if each.job is not job]
            heapq.heapify(entries)
        self._settle(job, now)

    def stop(self, now: float) -> None:
        """Fix the times of the tokens that have come, since the worker is lost with all its jobs."""
        self._advance(now)
        for entries in self._phases:
            for entry in entries:
                self._settle(entry.job, now)
            entries.clear()

    def clock_at(self, now: float) -> float:
        """Return the clock of decoding at a time since the last change."""
        return self._attained_s[_DECODE] + (now - self._at) / self._slowdowns[_DECODE][len(self)]

    def time_of(self, clock_s: float) -> float:
        """Return when the clock of decoding shows, or showed, a value, if the jobs stay the same."""
        left_s = clock_s - self._attained_s[_DECODE]
        if left_s >= 0:
            return self._at + left_s * self._slowdowns[_DECODE][len(self)]
        clocks, times = self._clock_points, self._time_points
        after = bisect_left(clocks, clock_s)  # numpy would copy both lists for one value
        if after == 0:
            return times[0]
        before_s, span_s = clocks[after - 1], clocks[after] - clocks[after - 1]
        return times[after - 1] + (clock_s - before_s) / span_s * (times[after] - times[after - 1])

    def times_of(self, clocks_s: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return when the clock of decoding showed values until now."""
        return np.interp(clocks_s, self._clock_points, self._time_points)

    def _start_tokens(self, job: Job) -> None:
        completion = _completion(job)
        if completion.stream and job.crashes_after_s >= completion.prefill_s:
            started_s = self._attained_s[_DECODE]
            job.tokens = TokenTimes(self, started_s, completion.token_s, completion.output_tokens)

    def _settle(self, job: Job, now: float) -> None:
        """Fix the times of the tokens that have come, since the job leaves the worker."""
        if job.tokens is not None:
            job.chunk_at = job.tokens.until(now)
            job.tokens = None

    def _push(self, phase: int, job: Job, work_s: float, rest_s: float) -> None:
        self._order += 1
        started_s = self._attained_s[phase]
        heapq.heappush(self._phases[phase], _Entry(started_s + work_s, self._order, rest_s, started_s, job))

    def _end_at(self, phase: int) -> float:
        left_s = self._phases[phase][0].ends_s - self._attained_s[phase]
        return self._at + left_s * self._slowdowns[phase][len(self)] if left_s > 0 else self._at

    def _advance(self, now: float) -> None:
        """Move the clocks on, and remember the change of speed if a decoding job may need it."""
        jobs, elapsed_s = len(self), now - self._at
        self._at = now
        if jobs:
            for phase in (_PREFILL, _DECODE):
                self._attained_s[phase] += elapsed_s / self._slowdowns[phase][jobs]
        else:
            self._attained_s = [0.0, 0.0]
        if not self._phases[_DECODE]:
            self._clock_points, self._time_points = [], []
        self._clock_points.append(self._attained_s[_DECODE])
        self._time_points.append(now)
        if len(self._clock_points) > self._prune_at:
            self._prune()

    def _prune(self) -> None:
        """Forget the changes before the start of all decoding jobs."""
        oldest_s = min(entry.started_s for entry in self._phases[_DECODE])
        first = max(0, int(np.searchsorted(self._clock_points, oldest_s, side="right")) - 1)
        del self._clock_points[:first], self._time_points[:first]
        self._prune_at = max(_MIN_HISTORY, 2 * len(self._clock_points))


class TokenTimes:
    """When the tokens of a job come that is decoding: the first at once, each other one `token_s` of work later."""

    __slots__ = ("_count", "_sharing", "_started_s", "_token_s")

    def __init__(self, sharing: TokenSharing, started_s: float, token_s: float, count: int) -> None:
        self._sharing = sharing
        self._started_s = started_s
        self._token_s = token_s
        self._count = count

    def __repr__(self) -> str:
        return f"<TokenTimes {self._count} from {self._started_s:.3f} s of the clock>"

    def due(self, now: float) -> int:
        """Return how many tokens have come."""
        attained_s = self._sharing.clock_at(now) - self._started_s + _TOLERANCE_S
        return min(self._count, int(attained_s / self._token_s) + 1)

    def at(self, index: int) -> float | None:
        """Return when a token comes, counted from 0, if the worker's jobs stay the same; None if it never does."""
        if index >= self._count:
            return None
        return self._sharing.time_of(self._started_s + index * self._token_s)

    def until(self, now: float) -> NDArray[np.float64]:
        """Return when the tokens came that have come."""
        clocks_s = self._started_s + np.arange(self.due(now), dtype=np.float64) * self._token_s
        return np.minimum(self._sharing.times_of(clocks_s), now)


def _completion(job: Job) -> Completion:
    if job.completion is None:
        raise ValueError("a job of a simulated LLM needs what it is asked for")
    return job.completion
