"""The books of a run while it goes on: `run.json`, and on the lead's disk what its hands told and sent."""

from __future__ import annotations

import os
from collections.abc import Callable
from socket import gethostname
from typing import Any

import msgspec
import psutil

from loadtest.drive.crew import GeneratorState, Membership
from loadtest.drive.messages import ShardBytes
from loadtest.errors import RecordingError
from loadtest.record.directory import RunDirectory
from loadtest.record.replica import append_at
from loadtest.record.run import ProcessInfo, RunRecord
from loadtest.record.tally import write_count


class RunLog:
    """Opened with the first record of a run; RecordingError where there is no room for it.

    What the disk refuses later is told to `refused`, which is to end the run. `unrecorded` says why the books could
    not be closed.
    """

    def __init__(self, directory: RunDirectory, run: RunRecord, refused: Callable[[RecordingError], None]) -> None:
        directory.write_first_record(run)
        self.directory = directory
        self.run = run
        self.close_error: RecordingError | None = None
        self._on_write_error = refused

    def update(self, **changes: Any) -> None:
        """Change the record and put it down; RecordingError where the disk refuses."""
        self.run = msgspec.structs.replace(self.run, **changes)
        self.directory.write_run(self.run)

    def record_lost_generator(self, process: int) -> None:
        """A hand has fallen silent."""
        try:
            self.update(lost=[*self.run.lost, process])
        except RecordingError as error:
            self._on_write_error(error)

    def record_reported_count(self, process: int, sent: int) -> None:
        """A hand has told how many jobs it has sent."""
        try:
            write_count(self.directory.reported_count_path(process), sent)
        except RecordingError as error:
            self._on_write_error(error)

    def append_shard_bytes(self, process: int, copy: ShardBytes) -> int | None:
        """A hand has sent a part of a shard; how much of it is there now, None where the disk refuses."""
        try:
            return append_at(self.directory.shard_named(copy.shard, process), copy.offset, copy.content)
        except RecordingError as error:
            self._on_write_error(error)
            return None

    def close(self, **changes: Any) -> None:
        """Put down how the run ended."""
        try:
            self.update(**changes)
        except RecordingError as error:
            self.close_error = error


def process_info(generator: GeneratorState) -> ProcessInfo:
    """A hand as the record names it; one that was never asked for its time is this process itself."""
    return ProcessInfo(
        process=generator.process,
        pid=generator.pid or os.getpid(),
        host=generator.host or gethostname(),
        clock_offset_s=generator.clock_offset_s,
        clock_error_s=generator.round_trip_s / 2 if generator.clock_synced else None,
        cpu_share=generator.report.cpu_share if generator.report is not None else None,
    )


def final_fields(membership: Membership) -> dict[str, Any]:
    """What the hands said at the end, as changes to the record."""
    done = [generator.done for generator in membership.generators.values() if generator.done is not None]
    return {
        "processes": [process_info(generator) for generator in membership.generators.values() if generator.started],
        "cancelled": sum(each.cancelled for each in done),
        "left_over": sum(each.left_over for each in done),
    }


def is_running(pid: int) -> bool:
    """Whether a process of this machine runs; one that has ended and is not reaped does not."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
