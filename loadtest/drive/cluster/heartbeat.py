"""The heartbeat of the master: it finds lost generators, admits late ones, and sends assignments and leases."""

from __future__ import annotations

from collections.abc import Callable
from socket import gethostname

import psutil

from loadtest.drive.cluster.clock_sync import ClockSync
from loadtest.drive.cluster.link import MasterLink
from loadtest.drive.cluster.membership import GeneratorState, Membership
from loadtest.drive.cluster.messages import Lease
from loadtest.traffic.limit_shares import Share


class Heartbeat:
    """The master's heartbeat. `start` sends a late generator its run, `on_lost` is called with each lost one."""

    def __init__(
        self,
        link: MasterLink,
        membership: Membership,
        sync: ClockSync,
        start: Callable[[str, Share], None],
        on_lost: Callable[[str], None],
    ) -> None:
        self._link = link
        self._membership = membership
        self._sync = sync
        self._start = start
        self._on_lost = on_lost

    def tick(self, now: float) -> None:
        """Find lost generators, admit late ones, and send what each is to do until the next heartbeat."""
        self.detect_losses(now)
        for name, generator in self._membership.generators.items():
            if not generator.started and self._sync.probe(name):
                self._start(name, self._membership.start_late(name, now))
        for name, assignment in self._membership.pending_assignments(now).items():
            self._link.send(assignment, name)
        for name in self._membership.running():
            self._link.send(Lease(self._membership.lease_expires_at(name)), name)

    def detect_losses(self, now: float) -> None:
        """Report each generator that is lost since the last call."""
        for name in self._membership.newly_lost(now, _has_died):
            self._on_lost(name)


def _has_died(generator: GeneratorState) -> bool:
    """Return whether a generator of this machine does not run any more."""
    return generator.host == gethostname() and not is_running(generator.pid)


def is_running(pid: int) -> bool:
    """Return whether a process of this machine runs; one that has ended but is not reaped does not."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
