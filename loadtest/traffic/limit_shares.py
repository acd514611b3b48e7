"""One limit shared by many processes: each holds a share that it may use without asking.

When a process joins, the others first give up a part of their shares. The newcomer begins when a whole window has
passed since the last of them did. When a process is lost, its share is free only when a whole window has passed since
the last moment at which it can have sent. So no interval ever holds more than the limit.
"""

from __future__ import annotations

from typing import NamedTuple

from loadtest.traffic.rate_limit import MARGIN_S


class Share(NamedTuple):
    """A process's share: the `rank`-th, counted from 0, of `of` equal ones; with `of` 0 it may send nothing."""

    rank: int = 0
    of: int = 1


WHOLE = Share(0, 1)
NO_SHARE = Share(0, 0)


def share_of(whole: int, share: Share) -> int:
    """Return the part of a whole that belongs to a share; the first shares get the remainder."""
    if share.of == 0:
        return 0
    quotient, remainder = divmod(whole, share.of)
    return quotient + 1 if share.rank < remainder else quotient


def cancel_share(share: Share, started: int) -> Share:
    """Return the share of the limit of cancels, of `started` processes that have sent, lost ones included.

    A process that is out of reach sends nothing else, but cancels the jobs that it gives up: no other gets its
    part.
    """
    return share if share.of == 0 or started <= share.of else Share(started - 1, started)


class ShareAllocator:
    """The share of all limits that each process holds, and from when. Times are seconds in one clock.

    `window_s` is the longest window of any limit. A process confirms that it keeps to a smaller share.
    """

    def __init__(self, window_s: float) -> None:
        self._window_s = window_s + MARGIN_S
        self.allocated: dict[str, Share] = {}
        self._unconfirmed: set[str] = set()
        self._free_at = float("-inf")

    def join(self, process: str) -> None:
        """Add a process without a share."""
        self.allocated[process] = NO_SHARE

    def rejoin(self, process: str) -> None:
        """Add a process that was lost, without a share; until it confirms that, it may still use its former share."""
        self.allocated[process] = NO_SHARE
        self._unconfirmed.add(process)

    def remove(self, process: str, silent_at: float) -> None:
        """Remove a process; it can have sent until `silent_at`."""
        if self.allocated.pop(process, NO_SHARE) != NO_SHARE:
            self._free_at = max(self._free_at, silent_at + self._window_s)
        self._unconfirmed.discard(process)

    def confirmed(self, process: str, share: Share, now: float) -> None:
        """Note that a process keeps to this share, since now at the latest."""
        if process in self._unconfirmed and self.allocated[process] == share:
            self._unconfirmed.discard(process)
            self._free_at = max(self._free_at, now + self._window_s)

    def pending_changes(self, now: float) -> dict[str, Share]:
        """Return the shares to send to processes now: smaller ones at once, larger ones when they are free."""
        wanted = {name: Share(rank, len(self.allocated)) for rank, name in enumerate(self.allocated)}
        lower = {name: wanted[name] for name, share in self.allocated.items() if 0 < share.of < wanted[name].of}
        self._unconfirmed |= lower.keys()
        self.allocated |= lower
        if self._unconfirmed or now < self._free_at:
            return lower
        higher = {name: wanted[name] for name, share in self.allocated.items() if share != wanted[name]}
        self.allocated |= higher
        return higher
