"""The shards of a generator that shares no disk with the master, copied to the master's disk as they grow."""

from __future__ import annotations

import os
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

from loadtest.drive.cluster.messages import Link, ShardAck, ShardBytes
from loadtest.record.directory import SHARDS, RunDirectory

CHUNK_BYTES = 256 * 1024
RESEND_AFTER_CALLS = 6
"""After this many calls of `send` without an answer, all bytes that are not confirmed are sent again."""


@dataclass
class _Shard:
    sent: int = 0
    confirmed: int = 0
    calls_without_ack: int = 0
    file: FileIO | None = None

    def read(self, path: Path, offset: int, max_bytes: int) -> bytes:
        """Return bytes of the shard from an offset on; none before its first row.

        The file is kept open, since later the process may be short of file descriptors.
        """
        if self.file is None:
            try:
                self.file = path.open("rb", buffering=0)
            except FileNotFoundError:
                return b""
        return os.pread(self.file.fileno(), max_bytes, offset)


class ShardUploader:
    """The copies of one generator's shards; a chunk that is lost or repeated does no harm, since it has an offset."""

    def __init__(self, directory: RunDirectory, process: int, link: Link) -> None:
        self._link = link
        self._token = directory.token
        self._paths = {path.name: path for path in (directory.shard_path(table, process) for table in SHARDS)}
        self._shards = {name: _Shard() for name in self._paths}
        self._refused = False

    def send(self) -> None:
        """Send the next chunk of every shard that has one, unless the master's disk is full."""
        if self._refused:
            return
        for name, shard in self._shards.items():
            if shard.sent > shard.confirmed:
                shard.calls_without_ack += 1
            if shard.calls_without_ack > RESEND_AFTER_CALLS:
                shard.sent, shard.calls_without_ack = shard.confirmed, 0
            content = shard.read(self._paths[name], shard.sent, CHUNK_BYTES)
            if content:
                self._link.send(ShardBytes(self._token, name, shard.sent, content))
                shard.sent += len(content)

    def on_ack(self, ack: ShardAck) -> None:
        """Note what the master has of a shard; once its disk is full, the rest stays on this one."""
        if ack.size is None:
            self._refused = True
            return
        shard = self._shards[ack.shard]
        shard.confirmed, shard.calls_without_ack = ack.size, 0
        shard.sent = max(shard.sent, ack.size)

    def is_complete(self) -> bool:
        """Return whether the master has all bytes, or all that its disk accepts."""
        return self._refused or all(
            not shard.read(self._paths[name], shard.confirmed, 1) for name, shard in self._shards.items()
        )
