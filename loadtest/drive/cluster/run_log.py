"""The record of a run while it goes on: `run.json`, and what generators without a shared disk report and send."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from socket import gethostname
from typing import Any

import msgspec

from loadtest.drive.cluster.membership import GeneratorState, Membership
from loadtest.drive.cluster.messages import ShardBytes
from loadtest.errors import LoadtestError, RecordingError, RunDirectoryError
from loadtest.record.audit import write_count
from loadtest.record.directory import RunDirectory
from loadtest.record.run import ProcessInfo
from loadtest.record.shards import append_at


class RunLog:
    """The record of a run that goes on.

    `on_write_error` is called if the disk is full, and is to end the run. `close_error` says why the last record
    could not be written.
    """

    def __init__(self, directory: RunDirectory, on_write_error: Callable[[LoadtestError], None]) -> None:
        self.directory = directory
        self.run = directory.read_run()
        self.close_error: LoadtestError | None = None
        self._on_write_error = on_write_error

    def update(self, **changes: Any) -> None:
        """Change fields of the record and write it. Raises RecordingError if the disk is full."""
        self.run = msgspec.structs.replace(self.run, **changes)
        self.directory.write_run(self.run)

    @contextmanager
    def _report_errors(self) -> Iterator[None]:
        try:
            yield
        except (RecordingError, RunDirectoryError) as error:
            self._on_write_error(error)

    def record_lost_generator(self, process: int) -> None:
        """Write that a generator is lost."""
        with self._report_errors():
            self.update(lost=[*self.run.lost, process])

    def record_reported_count(self, process: int, sent: int) -> None:
        """Write how many jobs a generator reports to have sent."""
        with self._report_errors():
            write_count(self.directory.reported_count_path(process), sent)

    def append_shard_bytes(self, process: int, copy: ShardBytes) -> int | None:
        """Write a part of a generator's shard; return the size of the copy now, None if the disk is full."""
        with self._report_errors():
            return append_at(self.directory.shard_named(copy.shard, process), copy.offset, copy.content)
        return None

    def close(self, **changes: Any) -> None:
        """Write how the run ended."""
        try:
            self.update(**changes)
        except (RecordingError, RunDirectoryError) as error:
            self.close_error = error


def process_info(generator: GeneratorState) -> ProcessInfo:
    """Return a generator as `run.json` names it; without a pong, it is this process itself."""
    return ProcessInfo(
        process=generator.process,
        pid=generator.pid or os.getpid(),
        host=generator.host or gethostname(),
        clock_offset_s=generator.clock_offset_s,
        clock_error_s=generator.round_trip_s / 2 if generator.pongs else None,
        clock_drift_s=generator.clock_drift_s if generator.pongs else None,
        cpu_share=generator.report.cpu_share if generator.report is not None else None,
    )


def final_fields(membership: Membership) -> dict[str, Any]:
    """Return the fields of `run.json` that the generators' last messages give."""
    generators = membership.generators.values()
    finished = [generator.finished for generator in generators if generator.finished is not None]
    shortages: Counter[str] = sum((Counter(each.shortages) for each in finished), Counter())
    task_errors: Counter[str] = sum((Counter(each.task_errors) for each in finished), Counter())
    return {
        "processes": [process_info(generator) for generator in generators if generator.started],
        "cancelled": sum(each.cancelled for each in finished),
        "left_over": sum(each.left_over for each in finished),
        "shortages": dict(shortages),
        "task_errors": dict(task_errors),
    }
