"""How far each generator's clock is ahead of the master's, from pings and their pongs."""

from __future__ import annotations

from loadtest.clock import SleepingClock
from loadtest.drive.cluster.link import MasterLink
from loadtest.drive.cluster.membership import Membership
from loadtest.drive.cluster.messages import Ping
from loadtest.errors import RunAborted

CLOCK_PROBES = 8
"""The offset is taken from the ping with the shortest round trip of this many."""
PING_EVERY_S = 0.03
CLOCK_SYNC_TIMEOUT_S = 10.0


class ClockSync:
    """Pings to generators, whose pongs the membership receives."""

    def __init__(self, link: MasterLink, membership: Membership, clock: SleepingClock) -> None:
        self._link = link
        self._membership = membership
        self._clock = clock

    def sync(self, names: list[str]) -> None:
        """Ping these generators until each has answered. Raises RunAborted if one does not."""
        for _ in range(CLOCK_PROBES):
            self._ping(names)
        by = self._clock.now() + CLOCK_SYNC_TIMEOUT_S
        while missing := [name for name in names if not self._membership.generators[name].clock_synced]:
            if self._clock.now() > by:
                raise RunAborted(f"{len(missing)} of {len(names)} workers connected but do not answer")
            self._ping(missing)

    def probe(self, name: str) -> bool:
        """Return whether a late generator has answered often enough; ping it if not."""
        if self._membership.generators[name].pongs >= CLOCK_PROBES:
            return True
        for _ in range(CLOCK_PROBES):
            self._link.send(Ping(self._clock.now()), name)
        return False

    def _ping(self, names: list[str]) -> None:
        for name in names:
            self._link.send(Ping(self._clock.now()), name)
        self._clock.sleep(PING_EVERY_S)
