"""The two ends of the connection between the master and its generators, and Locust's connection as both."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import msgspec
from locust.runners import MasterRunner, Runner

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


class LocustLink:
    """Locust's connection, for either end; the messages of a process without others stay within it."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self.alone = not isinstance(runner, MasterRunner)

    def generators(self) -> list[str]:
        """Return the names of all connected generators."""
        if not isinstance(self._runner, MasterRunner):
            return [LOCAL]
        return sorted(client.id for client in self._runner.clients.ready)

    def send(self, message: msgspec.Struct, to: str | None = None) -> None:
        """Send a message to one generator, or to the master."""
        self._runner.send_message(_name(type(message)), msgspec.msgpack.encode(message), to)

    def subscribe(self, kinds: tuple[type[msgspec.Struct], ...], handler: Callable[[str, Any], None]) -> None:
        """Call `handler` with the sender's name and the message, for each message of these kinds."""
        for kind in kinds:
            decoder = msgspec.msgpack.Decoder(kind)

            def on_message(msg: Any, decoder: Any = decoder, **_: Any) -> None:
                handler(msg.node_id, decoder.decode(msg.data))

            self._runner.register_message(_name(kind), on_message)


def _name(kind: type[msgspec.Struct]) -> str:
    return f"loadtest {kind.__name__.lower()}"
