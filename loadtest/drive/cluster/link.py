"""The two ends of the connection between the master and its generators."""

from __future__ import annotations

from typing import Protocol

import msgspec

LOCAL = "local"
"""The name of the only process of a run, which is master and generator; Locust calls it so."""


class Link(Protocol):
    """The generator's end of the connection: what it sends goes to the master."""

    def send(self, message: msgspec.Struct) -> None:
        """Send a message to the master."""
        ...


class MasterLink(Protocol):
    """The master's end of the connection. `alone` if the master is the only generator as well."""

    @property
    def alone(self) -> bool:
        """Return whether master and generator are one process, which can neither lose nor miss itself."""
        ...

    def generators(self) -> list[str]:
        """Return the names of all connected generators."""
        ...

    def send(self, message: msgspec.Struct, to: str) -> None:
        """Send a message to one generator."""
        ...
