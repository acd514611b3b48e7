"""The books of a run while it goes on: `run.json`, and on the lead's disk what its hands told and sent."""

from __future__ import annotations

import os
from collections.abc import Callable
from socket import gethostname
from typing import Any

import msgspec
import psutil

from loadtest.drive.crew import Crew, Member
from loadtest.drive.messages import Copy
from loadtest.errors import RecordingError
from loadtest.record.directory import RunDirectory
from loadtest.record.replica import append_at
from loadtest.record.run import ProcessInfo, Run
from loadtest.record.tally import write_count


class Books:
    """Opened with the first record of a run; RecordingError where there is no room for it.

    What the disk refuses later is told to `refused`, which is to end the run. `unrecorded` says why the books could
    not be closed.
    """

    def __init__(self, directory: RunDirectory, run: Run, refused: Callable[[RecordingError], None]) -> None:
        directory.begin(run)
        self.directory = directory
        self.run = run
        self.unrecorded: RecordingError | None = None
        self._refused = refused

    def amend(self, **changes: Any) -> None:
        """Change the record and put it down; RecordingError where the disk refuses."""
        self.run = msgspec.structs.replace(self.run, **changes)
        self.directory.write_run(self.run)

    def lost(self, process: int) -> None:
        """A hand has fallen silent."""
        try:
            self.amend(lost=[*self.run.lost, process])
        except RecordingError as fault:
            self._refused(fault)

    def told(self, process: int, sent: int) -> None:
        """A hand has told how many jobs it has sent."""
        try:
            write_count(self.directory.told_path(process), sent)
        except RecordingError as fault:
            self._refused(fault)

    def copied(self, process: int, copy: Copy) -> int | None:
        """A hand has sent a part of a shard; how much of it is there now, None where the disk refuses."""
        try:
            return append_at(self.directory.shard_named(copy.shard, process), copy.offset, copy.content)
        except RecordingError as fault:
            self._refused(fault)
            return None

    def close(self, **changes: Any) -> None:
        """Put down how the run ended."""
        try:
            self.amend(**changes)
        except RecordingError as fault:
            self.unrecorded = fault


def process_info(member: Member) -> ProcessInfo:
    """A hand as the record names it; one that was never asked for its time is this process itself."""
    return ProcessInfo(
        process=member.process,
        pid=member.pid or os.getpid(),
        host=member.host or gethostname(),
        clock_offset_s=member.clock_offset_s,
        clock_error_s=member.round_trip_s / 2 if member.met else None,
        cpu_share=member.report.cpu_share if member.report is not None else None,
    )


def outcome(crew: Crew) -> dict[str, Any]:
    """What the hands said at the end, as changes to the record."""
    done = [member.done for member in crew.members.values() if member.done is not None]
    return {
        "processes": [process_info(member) for member in crew.members.values() if member.begun],
        "cancelled": sum(each.cancelled for each in done),
        "left_over": sum(each.left_over for each in done),
    }


def is_running(pid: int) -> bool:
    """Whether a process of this machine runs; one that has ended and is not reaped does not."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
