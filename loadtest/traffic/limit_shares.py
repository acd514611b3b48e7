"""One limit over many processes: each holds a share that needs no asking to be safe.

When a process joins, the others give up a part of theirs first, and the newcomer begins when a whole window
has passed since the last of them did. When one is lost, what it held is free only when a whole window has
passed since it can have sent anything for the last time. So no interval ever holds more than the limit.
"""

from __future__ import annotations

from typing import NamedTuple

from loadtest.traffic.rate_limit import MARGIN_S


class Share(NamedTuple):
    """A process's place among those that share: the `rank`-th of `of`; of none, it may send nothing."""

    rank: int = 0
    of: int = 1


WHOLE = Share(0, 1)
NO_SHARE = Share(0, 0)


def share_of(whole: int, share: Share) -> int:
    """The part of a whole that belongs to a place; the first ones get what does not divide evenly."""
    return 0 if share.of == 0 else whole // share.of + (share.rank < whole % share.of)


class ShareAllocator:
    """Who may send which part of all limits, and from when. Times are seconds in one clock.

    `window_s` is the longest window of any limit. A process that is told to send less confirms it.
    """

    def __init__(self, window_s: float) -> None:
        self._window_s = window_s + MARGIN_S
        self.allocated: dict[str, Share] = {}
        self._unconfirmed: set[str] = set()
        self._free_at = float("-inf")

    def join(self, process: str) -> None:
        """A process wants to send; it may not yet."""
        self.allocated[process] = NO_SHARE

    def rejoin(self, process: str) -> None:
        """A process that was lost is back; until it confirms that it has nothing, it may keep to what it held."""
        self.allocated[process] = NO_SHARE
        self._unconfirmed.add(process)

    def remove(self, process: str, silent_at: float) -> None:
        """A process is gone; it can have sent until `silent_at`."""
        if self.allocated.pop(process, NO_SHARE) != NO_SHARE:
            self._free_at = max(self._free_at, silent_at + self._window_s)
        self._unconfirmed.discard(process)

    def confirmed(self, process: str, share: Share, now: float) -> None:
        """A process that was told this place keeps to it, since now at the latest."""
        if process in self._unconfirmed and self.allocated[process] == share:
            self._unconfirmed.discard(process)
            self._free_at = max(self._free_at, now + self._window_s)

    def pending_changes(self, now: float) -> dict[str, Share]:
        """The processes that are to be told another place now: lower ones at once, higher ones when it is free."""
        wanted = {name: Share(rank, len(self.allocated)) for rank, name in enumerate(self.allocated)}
        lower = {name: wanted[name] for name, share in self.allocated.items() if 0 < share.of < wanted[name].of}
        self._unconfirmed |= lower.keys()
        self.allocated |= lower
        if self._unconfirmed or now < self._free_at:
            return lower
        higher = {name: wanted[name] for name, share in self.allocated.items() if share != wanted[name]}
        self.allocated |= higher
        return higher
