"""The grant of one generator: until when it may send, its share of the limits, its part of the schedule."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from loadtest.drive.cluster.messages import Assignment, Lease, ShareConfirmed
from loadtest.protocol.operations import Op
from loadtest.traffic.limit_shares import NO_SHARE, Share


class AssignedJobs(Protocol):
    """The jobs of a generator, which follow its assignment."""

    def set_share(self, share: Share) -> None:
        """Take another share of the limits, the ceilings and the users."""
        ...

    def reassign(self, from_at: float, share: Share) -> None:
        """Take another part of the schedule, from a time on."""
        ...


class LeasedLimiter(Protocol):
    """The limiter of one operation, which follows the lease."""

    def set_share(self, share: Share) -> None:
        """Take another share of the limit."""
        ...

    def extend_lease(self, until: float) -> None:
        """Let requests go out until this time, and none after it."""
        ...


class GeneratorLease:
    """The grant of one generator. Times are in the master's clock.

    After the lease only cancelling goes on, since it leaves less for others to wait for.
    """

    def __init__(self, until: float, share: Share, jobs: AssignedJobs, limiters: Mapping[Op, LeasedLimiter]) -> None:
        self._jobs = jobs
        self._limiters = limiters
        self._set_share(share)
        self._extend(until)

    def apply(self, message: Lease | Assignment) -> ShareConfirmed | None:
        """Follow a message of the master; return what the generator is to answer."""
        if isinstance(message, Lease):
            self._extend(message.until)
            return None
        if message.share is not None:
            self._set_share(message.share)
        if message.part is not None:
            self._jobs.reassign(message.from_at, message.part)
        return ShareConfirmed(self.share)

    def may_send(self, now: float) -> bool:
        """Return whether a request may go out now, as far as the master is concerned."""
        return now < self.until and self.share != NO_SHARE

    def _set_share(self, share: Share) -> None:
        self.share = share
        self._jobs.set_share(share)
        for limiter in self._limiters.values():
            limiter.set_share(share)

    def _extend(self, until: float) -> None:
        self.until = until
        for op, limiter in self._limiters.items():
            if op is not Op.CANCEL:
                limiter.extend_lease(until)

    def __repr__(self) -> str:
        return f"<GeneratorLease: share {self.share.rank} of {self.share.of}, until {self.until:.3f}>"
