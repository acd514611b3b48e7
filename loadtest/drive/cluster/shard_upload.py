"""A hand's shards, copied to the lead's disk as they grow, where the two share none."""

from __future__ import annotations

from dataclasses import dataclass

from locust.runners import Runner

from loadtest.drive.cluster.messages import ShardAck, ShardBytes, send
from loadtest.record.directory import SHARDS, RunDirectory
from loadtest.record.shard_copy import read_from

CHUNK_BYTES = 256 * 1024
RESEND_AFTER_CALLS = 6
"""So many calls of `send` without an answer, and everything that is not confirmed is sent again."""


@dataclass
class _Shard:
    sent: int = 0
    confirmed: int = 0
    calls_without_ack: int = 0


class ShardUploader:
    """Sends what the lead has not confirmed; a lost or repeated piece does no harm: each says where it belongs."""

    def __init__(self, directory: RunDirectory, process: int, runner: Runner) -> None:
        self._runner = runner
        self._paths = {path.name: path for path in (directory.shard_path(table, process) for table in SHARDS)}
        self._shards = {name: _Shard() for name in self._paths}
        self._refused = False

    def send(self) -> None:
        """Send the next piece of every shard that has one, as long as the lead takes any."""
        if self._refused:
            return
        for name, shard in self._shards.items():
            shard.calls_without_ack += shard.sent > shard.confirmed
            if shard.calls_without_ack > RESEND_AFTER_CALLS:
                shard.sent, shard.calls_without_ack = shard.confirmed, 0
            content = read_from(self._paths[name], shard.sent, CHUNK_BYTES)
            if content:
                send(self._runner, ShardBytes(name, shard.sent, content))
                shard.sent += len(content)

    def on_ack(self, copied: ShardAck) -> None:
        """The lead has so much of a shard; once its disk is full, what is here is kept here."""
        if copied.size is None:
            self._refused = True
            return
        shard = self._shards[copied.shard]
        shard.confirmed, shard.calls_without_ack = copied.size, 0
        shard.sent = max(shard.sent, copied.size)

    def is_complete(self) -> bool:
        """Whether the lead has all there is, or all that it will take."""
        return self._refused or all(
            not read_from(self._paths[name], shard.confirmed, 1) for name, shard in self._shards.items()
        )
