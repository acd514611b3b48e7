"""The heartbeat of the master: it finds lost generators, admits late ones, and sends assignments and leases.

Before, it finds how far each generator's clock is ahead of the master's, from pings and their pongs; then, with each
heartbeat, how far it moves.
"""

from __future__ import annotations

from collections.abc import Callable
from socket import gethostname

import psutil

from loadtest.clock import SleepingClock
from loadtest.drive.cluster.ceilings import RunCeilings
from loadtest.drive.cluster.membership import GeneratorState, Membership
from loadtest.drive.cluster.messages import Lease, MasterLink, Ping
from loadtest.errors import RunAborted
from loadtest.traffic.limit_shares import Share

CLOCK_PROBES = 8
"""The offset is taken from the ping with the shortest round trip of this many."""
PING_EVERY_S = 0.03
CLOCK_SYNC_TIMEOUT_S = 10.0


class Heartbeat:
    """The master's heartbeat. `start` sends a late generator its run, `on_lost` is called with each lost one."""

    def __init__(
        self,
        link: MasterLink,
        membership: Membership,
        ceilings: RunCeilings,
        clock: SleepingClock,
        start: Callable[[str, Share], None],
        on_lost: Callable[[str], None],
    ) -> None:
        self._link = link
        self._membership = membership
        self._ceilings = ceilings
        self._clock = clock
        self._start = start
        self._on_lost = on_lost

    def sync_clocks(self, names: list[str]) -> None:
        """Ping these generators until each has answered. Raises RunAborted if one does not."""
        for _ in range(CLOCK_PROBES):
            self._ping(names)
        by = self._clock.now() + CLOCK_SYNC_TIMEOUT_S
        while missing := [name for name in names if not self._membership.generators[name].pongs]:
            if self._clock.now() > by:
                raise RunAborted(f"{len(missing)} of {len(names)} workers connected but do not answer")
            self._ping(missing)

    def _ping(self, names: list[str]) -> None:
        for name in names:
            self._link.send(Ping(self._clock.now()), name)
        self._clock.sleep(PING_EVERY_S)

    def _clock_is_known(self, name: str) -> bool:
        """Return whether a late generator has answered often enough; ping it if not."""
        if self._membership.generators[name].pongs >= CLOCK_PROBES:
            return True
        for _ in range(CLOCK_PROBES):
            self._link.send(Ping(self._clock.now()), name)
        return False

    def tick(self, now: float, load_ended: bool = False) -> None:
        """Find lost generators, admit late ones, and send what each is to do until the next heartbeat."""
        self.detect_losses(now)
        for name, generator in list(self._membership.generators.items()):
            if not load_ended and not generator.started and self._clock_is_known(name):
                self._start(name, self._membership.start_late(name, now))
        for name, assignment in self._membership.pending_assignments(now).items():
            self._link.send(assignment, name)
        self.send_leases(load_ended)
        if not self._link.alone:
            for name in self._membership.running():
                self._link.send(Ping(self._clock.now()), name)

    def send_leases(self, load_ended: bool) -> None:
        """Send each generator that runs until when it may send, and how many jobs."""
        running = self._membership.running()
        for name in running:
            jobs = self._ceilings.allowance(name, running)
            self._link.send(Lease(self._membership.lease_expires_at(name), jobs, load_ended), name)

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
