"""The grant of one generator: until when it may send, its share of the limits, its part of the schedule."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from loadtest.drive.cluster.messages import Assignment, Lease, ShareConfirmed
from loadtest.traffic.limit_shares import NO_SHARE, Share


class GeneratorLease:
    """The grant of one generator. Times are in the master's clock.

    What follows it is given as functions: `set_share` and `extend` are called at once and at every change, `reassign`
    with each new part of the schedule and the time from which it holds.
    """

    def __init__(
        self,
        until: float,
        share: Share,
        set_share: Sequence[Callable[[Share], None]],
        extend: Sequence[Callable[[float], None]],
        reassign: Callable[[float, Share], None],
    ) -> None:
        self._set_share = set_share
        self._extend = extend
        self._reassign = reassign
        self.apply(Assignment(share))
        self.apply(Lease(until))

    def apply(self, message: Lease | Assignment) -> ShareConfirmed | None:
        """Follow a message of the master; return what the generator is to answer."""
        if isinstance(message, Lease):
            self.until = message.until
            for extend in self._extend:
                extend(message.until)
            return None
        if message.share is not None:
            self.share = message.share
            for set_share in self._set_share:
                set_share(message.share)
        if message.part is not None:
            self._reassign(message.from_at, message.part)
        return ShareConfirmed(self.share)

    def may_send(self, now: float) -> bool:
        """Return whether a request may go out now, as far as the master is concerned."""
        return now < self.until and self.share != NO_SHARE

    def __repr__(self) -> str:
        return f"<GeneratorLease: share {self.share.rank} of {self.share.of}, until {self.until:.3f}>"
